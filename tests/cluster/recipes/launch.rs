//! One container's command on this machine, and the paths that differ between the two.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use devcluster::supervisor::{Process, Spec};

use crate::{pods::Said, scene::SOON};

/// What a container's paths are on this machine.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Mount paths and where they are here.
    pub mounts: Vec<(String, PathBuf)>,
    /// More texts to replace.
    pub more: Vec<(String, String)>,
}

impl Paths {
    /// The same text with the paths of this machine.
    pub fn here(&self, text: &str) -> String {
        let more = self.more.iter().fold(text.to_owned(), |text, (this, that)| text.replace(this, that));
        self.mounts.iter().fold(more, |text, (path, here)| replace_path(&text, path, here.to_str().unwrap()))
    }
}

/// Replaces a path and what is below it, not what merely contains its letters.
fn replace_path(text: &str, path: &str, by: &str) -> String {
    let continues = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let (mut done, mut rest, mut last) = (String::new(), text, None);
    while let Some(at) = rest.find(path) {
        let (before, after) = (&rest[..at], &rest[at + path.len()..]);
        let begins = !before.chars().next_back().or(last).is_some_and(|c| continues(c) || c == '/');
        let whole = begins && !after.chars().next().is_some_and(continues);
        done += before;
        done += if whole { by } else { path };
        (rest, last) = (after, path.chars().next_back());
    }
    done + rest
}

/// A command with its environment.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// The container's paths.
    pub paths: Paths,
    /// Where a started one writes.
    pub log: PathBuf,
}

impl Launch {
    /// With the test's application, written with the container's paths, in the place of that of the manifest: behind the `--` of `exec`, or
    /// as the whole command.
    pub fn instead(mut self, application: &[&str]) -> Self {
        let kept = self.words.iter().position(|word| word == "--").map_or(0, |at| at + 1);
        self.words.truncate(kept);
        self.words.extend(application.iter().map(|word| self.paths.here(word)));
        self
    }

    /// Through another program, as `setpriv` or `chroot`.
    pub fn through(mut self, program: &[&str]) -> Self {
        self.words = program.iter().map(|word| (*word).to_owned()).chain(self.words).collect();
        self
    }

    /// With this variable as well, or in the place of the manifest's.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// The command.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).envs(self.env.iter().cloned()).env_remove("KUBECONFIG");
        command
    }

    /// Starts it.
    pub fn start(&self) -> Process {
        let mut spec = Spec::new(&self.words[0], &self.log).args(&self.words[1..]);
        for (name, value) in &self.env {
            spec = spec.env(name, value);
        }
        spec.grace = SOON;
        Process::start(spec).unwrap()
    }

    /// Runs it to its end.
    pub async fn run(&self) -> Said {
        let mut command = tokio::process::Command::from(self.command());
        let output = tokio::time::timeout(2 * SOON, command.kill_on_drop(true).stdin(Stdio::null()).output()).await;
        let output =
            output.unwrap_or_else(|_| panic!("{:?} does not end", self.words)).unwrap_or_else(|error| panic!("{:?}: {error}", self.words));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

#[test]
fn a_path_is_replaced_where_it_is_one() {
    for (text, becomes) in [
        ("/daypass/daypass", "/x/daypass"),
        ("/run/daypass/tls.crt", "/run/daypass/tls.crt"),
        ("--dir=/daypass \"/daypass\" /daypass-too /daypass", "--dir=/x \"/x\" /daypass-too /x"),
    ] {
        assert_eq!(replace_path(text, "/daypass", "/x"), becomes);
    }
}
