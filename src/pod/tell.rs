//! Telling the application that its files were renewed: a signal to a process, or a command.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::Pid;
use tokio::process::Command;

use super::signal::Signal;

/// A command that takes longer is ended.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// Who is told, and how.
#[derive(Clone, Debug)]
pub enum Tell {
    /// Nobody: the application looks at its files itself.
    Nobody,
    /// The process whose number is in this file at that moment.
    PidFile(Signal, PathBuf),
    /// This process.
    Process(Signal, Pid),
    /// A program with its arguments, run without a shell.
    Command(Vec<String>),
}

impl Tell {
    /// Tells that the files of a class were renewed.
    pub async fn renewed(&self, class: &str, directory: &Path) -> Result<(), String> {
        match self {
            Self::Nobody => Ok(()),
            Self::Process(signal, pid) => signal.send(*pid),
            Self::PidFile(signal, file) => signal.send(pid_in(file)?),
            Self::Command(words) => run(words, class, directory).await,
        }
    }
}

fn pid_in(file: &Path) -> Result<Pid, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read the pid file {}: {error}", file.display()))?;
    let pid = text.trim().parse().ok().filter(|number| *number > 0).and_then(Pid::from_raw);
    pid.ok_or_else(|| format!("the pid file {} holds no process number", file.display()))
}

async fn run(words: &[String], class: &str, directory: &Path) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).env("DAYPASS_CLASS", class).env("DAYPASS_DIR", directory).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
    match tokio::time::timeout(COMMAND_WITHIN, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program} ended with {status}")),
        Ok(Err(error)) => Err(format!("cannot wait for {program}: {error}")),
        Err(_) => Err(format!("{program} took longer than {} s and was ended", COMMAND_WITHIN.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("daypass-tell-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_pid_file_that_names_no_process_is_said() {
        // 0 and negative numbers would signal whole groups.
        for (name, text) in [("empty", ""), ("zero", "0\n"), ("group", "-1"), ("words", "nginx")] {
            let path = file(name, text);
            assert!(pid_in(&path).unwrap_err().contains("holds no process number"), "{name}");
            std::fs::remove_file(path).ok();
        }
        assert!(pid_in(Path::new("/no/such/file")).unwrap_err().contains("/no/such/file"));
    }

    #[tokio::test]
    async fn a_command_is_told_what_was_renewed_and_its_failure_is_said() {
        let seen = file("seen", "");
        let script = format!("echo \"$DAYPASS_CLASS $DAYPASS_DIR\" > {}", seen.display());
        let tell = Tell::Command(["sh", "-c", &script].map(String::from).to_vec());
        tell.renewed("orders-db", Path::new("/run/creds")).await.unwrap();
        assert_eq!(std::fs::read_to_string(&seen).unwrap(), "orders-db /run/creds\n");
        std::fs::remove_file(seen).ok();
        let tell = Tell::Command(vec!["false".into()]);
        assert!(tell.renewed("c", Path::new("/")).await.unwrap_err().contains("exit status: 1"));
        let tell = Tell::Command(vec!["/no/such/program".into()]);
        assert!(tell.renewed("c", Path::new("/")).await.unwrap_err().contains("/no/such/program"));
    }
}
