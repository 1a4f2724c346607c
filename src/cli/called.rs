//! What this program was started as: by its own name, as a plugin of kubectl, or to complete that plugin's command line.

use std::{ffi::OsString, path::Path};

use clap::{Command, CommandFactory};

use super::Cli;

/// The commands that a person runs from where they work. The others run in a cluster.
const OF_PEOPLE: [&str; 6] = ["get", "explain", "request", "revoke", "lock", "unlock"];

/// What the plugin is for.
const ABOUT: &str = "Shows, explains, makes and ends requests for the short-lived credentials that Daypass issues";

/// The names that this program goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// `daypass`, or whatever else somebody named it.
    Daypass,
    /// `kubectl-daypass`: what kubectl starts for `kubectl daypass`.
    Plugin,
    /// `kubectl_complete-daypass`: what kubectl starts to complete `kubectl daypass`.
    Completer,
}

impl Called {
    /// By this first word.
    pub fn by(word: Option<&OsString>) -> Self {
        match word.and_then(|word| Path::new(word).file_name()?.to_str()) {
            Some("kubectl-daypass") => Self::Plugin,
            Some("kubectl_complete-daypass") => Self::Completer,
            _ => Self::Daypass,
        }
    }

    /// What a person types to start it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Daypass => "daypass",
            Self::Plugin | Self::Completer => "kubectl daypass",
        }
    }

    /// The command line that it understands. As a plugin it shows people's commands alone, and still knows all.
    pub fn command(self) -> Command {
        let command = Cli::command().bin_name(self.program());
        match self {
            Self::Daypass => command,
            Self::Plugin | Self::Completer => command.about(ABOUT).mut_subcommands(|command| {
                let elsewhere = !OF_PEOPLE.contains(&command.get_name());
                command.hide(elsewhere)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(word: &str, args: &[&str]) -> String {
        let words = std::iter::once(word).chain(args.iter().copied());
        Called::by(Some(&word.into())).command().try_get_matches_from(words).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        Called::Daypass.command().debug_assert();
        Called::Plugin.command().debug_assert();
    }

    #[test]
    fn usage_says_what_a_person_typed() {
        for (word, program) in [("/opt/krew/bin/kubectl-daypass", "kubectl daypass"), ("/usr/bin/daypass", "daypass"), ("d", "daypass")] {
            assert!(usage(word, &["--help"]).contains(&format!("Usage: {program} <COMMAND>")), "{}", usage(word, &["--help"]));
            for command in OF_PEOPLE {
                assert!(usage(word, &[command, "--help"]).contains(&format!("Usage: {program} {command}")), "{word} {command}");
            }
            assert!(usage(word, &["explain"]).contains(&format!("Usage: {program} explain")), "errors too");
        }
    }

    #[test]
    fn whoever_asks_a_command_for_help_learns_its_exit_codes() {
        for command in ["get", "explain", "request", "revoke", "lock", "unlock", "drain", "exec"] {
            assert!(usage("daypass", &[command, "--help"]).contains("Exit codes"), "{command}");
        }
    }

    #[test]
    fn the_plugin_shows_people_s_commands_and_still_knows_the_others() {
        let help = usage("kubectl-daypass", &["--help"]);
        assert!(OF_PEOPLE.iter().all(|command| help.contains(&format!("\n  {command} "))), "{help}");
        assert!(
            ["controller", "drain", "agent", "exec", "install", "crds"].iter().all(|command| !help.contains(&format!("\n  {command} "))),
            "{help}"
        );
        assert!(Called::Plugin.command().try_get_matches_from(["kubectl-daypass", "crds"]).is_ok());
    }

    #[test]
    fn the_flags_that_people_know_from_kubectl_are_the_same_everywhere() {
        for words in [
            &["get"][..],
            &["explain", "x"],
            &["request", "--class", "c", "--dir", "d", "--pod", "p"],
            &["revoke", "--reason", "r"],
            &["lock", "--reason", "r", "--for", "2h"],
        ] {
            let words = [&["daypass"][..], words, &["-n", "shop", "--context", "day", "--kubeconfig", "/f"]].concat();
            assert!(Called::Daypass.command().try_get_matches_from(&words).is_ok(), "{words:?}");
        }
        for flag in ["--namespace", "--context", "--kubeconfig"] {
            let words = ["daypass", "request", "--class", "c", "--dir", "d", flag, "x"];
            let refused = Called::Daypass.command().try_get_matches_from(words).unwrap_err().to_string();
            assert!(refused.contains("--pod"), "{refused}");
        }
    }
}
