//! What may follow the words of an unfinished command line, read off the command line's own definition. Pure.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Command, ValueHint};

/// What may come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// One of these, each with what it is for; empty where nothing fits.
    OneOf(Vec<Candidate>),
    /// The value of an argument of this name, which the definition does not list.
    ValueOf {
        /// Name of the argument.
        argument: String,
        /// What was typed of it.
        typed: String,
    },
    /// A path.
    File,
    /// A directory.
    Directory,
}

/// Something that may be typed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What.
    pub text: String,
    /// What for, in a line.
    pub about: String,
}

/// What may follow, and the values that were given on the way there, by name of argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What may come next.
    pub next: Next,
    /// What was said already.
    pub given: BTreeMap<String, String>,
}

/// Reads the words after the program's name; the last one is being typed, and may be empty.
pub fn read(command: &Command, words: &[String]) -> Read {
    let Some((typed, before)) = words.split_last() else { return Read { next: Next::OneOf(vec![]), given: BTreeMap::new() } };
    let mut at = Position::start(command);
    before.iter().for_each(|word| at.pass(word));
    Read { next: at.next(typed), given: at.given }
}

/// How far a command line has been read.
struct Position<'c> {
    command: &'c Command,
    /// An option whose value comes next.
    waiting: Option<&'c Arg>,
    /// How many positional values there were.
    positions: usize,
    /// `--` was passed: no options follow.
    options_over: bool,
    given: BTreeMap<String, String>,
}

impl<'c> Position<'c> {
    fn start(command: &'c Command) -> Self {
        Self { command, waiting: None, positions: 0, options_over: false, given: BTreeMap::new() }
    }

    fn pass(&mut self, word: &str) {
        if let Some(waiting) = self.waiting.take() {
            self.give(waiting, word);
        } else if self.options_over {
            self.positions += 1;
        } else if word == "--" {
            self.options_over = true;
        } else if let Some(option) = word.strip_prefix("--") {
            self.pass_long(option);
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            self.pass_short(letters);
        } else if let Some(command) = self.command.find_subcommand(word) {
            (self.command, self.positions) = (command, 0);
        } else {
            if let Some(arg) = self.positional() {
                self.give(arg, word);
            }
            self.positions += 1;
        }
    }

    fn pass_long(&mut self, option: &str) {
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let Some(arg) = self.long(name) else { return };
        match value {
            Some(value) => self.give(arg, value),
            None if takes_value(arg) => self.waiting = Some(arg),
            None => self.give(arg, ""),
        }
    }

    /// `-A`, `-n`, `-nshop`, `-An`.
    fn pass_short(&mut self, letters: &str) {
        for (at, letter) in letters.char_indices() {
            let Some(arg) = self.command.get_arguments().find(|arg| arg.get_short() == Some(letter)) else { return };
            if !takes_value(arg) {
                self.give(arg, "");
                continue;
            }
            match &letters[at + letter.len_utf8()..] {
                "" => self.waiting = Some(arg),
                value => self.give(arg, value.trim_start_matches('=')),
            }
            return;
        }
    }

    fn next(&self, typed: &str) -> Next {
        if let Some(waiting) = self.waiting {
            return value_of(waiting, typed);
        }
        if self.options_over || !typed.starts_with('-') {
            return self.word(typed);
        }
        if let Some((name, value)) = typed.strip_prefix("--").and_then(|option| option.split_once('=')) {
            // Shells complete what is behind the equals sign.
            return self.long(name).map_or(Next::OneOf(vec![]), |arg| value_of(arg, value));
        }
        let options = self.command.get_arguments().filter(|arg| !arg.is_hide_set() && self.may_be_given(arg));
        let candidates =
            options.filter_map(|arg| Some(Candidate { text: format!("--{}", arg.get_long()?), about: first_line(arg.get_help()) }));
        Next::OneOf(fitting(candidates, typed))
    }

    /// A subcommand, or a positional value.
    fn word(&self, typed: &str) -> Next {
        let commands = self.command.get_subcommands().filter(|command| !command.is_hide_set());
        let candidates: Vec<Candidate> =
            commands.map(|command| Candidate { text: command.get_name().to_owned(), about: first_line(command.get_about()) }).collect();
        match self.positional() {
            Some(arg) if candidates.is_empty() => value_of(arg, typed),
            _ => Next::OneOf(fitting(candidates, typed)),
        }
    }

    fn positional(&self) -> Option<&'c Arg> {
        let mut known = self.command.get_positionals();
        known.nth(self.positions)
    }

    fn long(&self, name: &str) -> Option<&'c Arg> {
        self.command.get_arguments().find(|arg| arg.get_long() == Some(name))
    }

    fn may_be_given(&self, arg: &Arg) -> bool {
        let again = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        again || !self.given.contains_key(arg.get_id().as_str())
    }

    fn give(&mut self, arg: &Arg, value: &str) {
        self.given.insert(arg.get_id().to_string(), value.to_owned());
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn value_of(arg: &Arg, typed: &str) -> Next {
    let listed = arg.get_possible_values();
    if !listed.is_empty() {
        let shown = listed.iter().filter(|value| !value.is_hide_set());
        let candidates = shown.map(|value| Candidate { text: value.get_name().to_owned(), about: first_line(value.get_help()) });
        return Next::OneOf(fitting(candidates, typed));
    }
    match arg.get_value_hint() {
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => Next::File,
        ValueHint::DirPath => Next::Directory,
        _ => Next::ValueOf { argument: arg.get_id().to_string(), typed: typed.to_owned() },
    }
}

fn fitting(candidates: impl IntoIterator<Item = Candidate>, typed: &str) -> Vec<Candidate> {
    candidates.into_iter().filter(|candidate| candidate.text.starts_with(typed)).collect()
}

/// Help in a line, without what would end the line or the field.
fn first_line(help: Option<&clap::builder::StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().replace('\t', " ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::super::called::Called, *};

    fn next(words: &[&str]) -> Next {
        let mut command = Called::Plugin.command();
        command.build();
        read(&command, &words.iter().map(|word| word.to_string()).collect::<Vec<_>>()).next
    }

    fn offered(words: &[&str]) -> Vec<String> {
        match next(words) {
            Next::OneOf(candidates) => candidates.into_iter().map(|candidate| candidate.text).collect(),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn value_of(argument: &str, typed: &str) -> Next {
        Next::ValueOf { argument: argument.into(), typed: typed.into() }
    }

    #[test]
    fn commands_come_first_and_only_those_of_people() {
        assert_eq!(offered(&[""]), ["request", "get", "explain", "revoke", "lock", "unlock", "help"]);
        assert_eq!(offered(&["e"]), ["explain"]);
        assert_eq!(offered(&["zzz"]), [""; 0]);
        let Next::OneOf(candidates) = next(&["get"]) else { panic!() };
        assert_eq!(candidates[0].about, "List requests and what became of them, or show one");
    }

    #[test]
    fn options_are_offered_until_they_are_given() {
        let options = offered(&["get", "--"]);
        for option in ["--output", "--namespace", "--all-namespaces", "--context", "--kubeconfig", "--help"] {
            assert!(options.iter().any(|offered| offered == option), "{option} in {options:?}");
        }
        assert_eq!(offered(&["get", "--co"]), ["--context"]);
        let after = offered(&["get", "-n", "shop", "--output=wide", "-"]);
        assert!(!after.iter().any(|offered| offered == "--namespace" || offered == "--output"), "{after:?}");
        assert_eq!(next(&["get", "--", "--"]), value_of("request", "--"), "behind -- there are none");
    }

    #[test]
    fn values_that_are_listed_are_offered_however_the_option_is_written() {
        for words in [&["get", "-o", ""][..], &["get", "--output", ""], &["get", "--output="], &["get", "-Ao", ""]] {
            assert_eq!(offered(words), ["text", "wide", "json"], "{words:?}");
        }
        assert_eq!(offered(&["get", "-o", "w"]), ["wide"]);
        assert_eq!(offered(&["get", "--state", "De"]), ["Denied"]);
    }

    #[test]
    fn what_names_something_is_asked_for_by_its_argument() {
        assert_eq!(next(&["get", "ord"]), value_of("request", "ord"));
        assert_eq!(next(&["explain", "-n", "shop", ""]), value_of("request", ""));
        assert_eq!(next(&["request", "--class", "or"]), value_of("class", "or"));
        assert_eq!(next(&["get", "--namespace=sh"]), value_of("namespace", "sh"));
        assert_eq!(offered(&["get", "orders-db-1", ""]), [""; 0], "there is one name");
        assert_eq!(next(&["lock", "--node", "a", "--node", "no"]), value_of("node", "no"));
        assert_eq!(next(&["lock", "--pod", "shop/"]), value_of("holder", "shop/"));
        assert_eq!(next(&["unlock", "inc"]), value_of("lock", "inc"));
    }

    #[test]
    fn paths_are_left_to_the_shell() {
        assert_eq!(next(&["get", "--kubeconfig", ""]), Next::File);
        assert_eq!(next(&["request", "--csr", "x"]), Next::File);
    }

    #[test]
    fn what_was_said_is_remembered_for_the_lookup() {
        let mut command = Called::Plugin.command();
        command.build();
        let words = ["get", "-nshop", "--context=day", "--kubeconfig", "/f", ""].map(str::to_owned);
        let given = read(&command, &words).given;
        let said = |name: &str| given.get(name).map(String::as_str);
        assert_eq!((said("namespace"), said("context"), said("kubeconfig")), (Some("shop"), Some("day"), Some("/f")));
    }

    #[test]
    fn no_line_is_too_odd_to_be_read() {
        for words in [&["get", "-"][..], &["get", "--nope", "x"], &["get", "-ü", ""], &["--", "get", ""], &["get", "--=", ""], &[]] {
            next(words);
        }
    }
}
