//! Signals by name, and sending them to a process by its number.

use std::str::FromStr;

use rustix::process::{Pid, kill_process};

/// A signal that people may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(rustix::process::Signal);

const NAMES: [(&str, Signal); 9] = [
    ("HUP", Signal::HUP),
    ("INT", Signal(rustix::process::Signal::INT)),
    ("QUIT", Signal(rustix::process::Signal::QUIT)),
    ("TERM", Signal::TERM),
    ("USR1", Signal(rustix::process::Signal::USR1)),
    ("USR2", Signal(rustix::process::Signal::USR2)),
    ("WINCH", Signal(rustix::process::Signal::WINCH)),
    ("ALARM", Signal(rustix::process::Signal::ALARM)),
    ("CONT", Signal(rustix::process::Signal::CONT)),
];

impl Signal {
    /// Read your configuration again.
    pub const HUP: Self = Self(rustix::process::Signal::HUP);
    /// End.
    pub const TERM: Self = Self(rustix::process::Signal::TERM);

    /// Every signal that may be named, which are also those that a wrapped command is passed.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(_, signal)| signal)
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }

    /// Whether it asks a process to end.
    pub fn ends(self) -> bool {
        ["HUP", "INT", "QUIT", "TERM"].contains(&self.name())
    }

    /// Whether a terminal sends it to everything in its foreground.
    pub(super) fn is_from_terminal(self) -> bool {
        ["INT", "QUIT", "WINCH"].contains(&self.name())
    }

    fn name(self) -> &'static str {
        NAMES.into_iter().find(|(_, signal)| *signal == self).map_or("", |(name, _)| name)
    }

    /// Sends it.
    pub fn send(self, pid: Pid) -> Result<(), String> {
        kill_process(pid, self.0).map_err(|error| format!("cannot signal process {}: {error}", pid.as_raw_nonzero()))
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, signal)| signal);
        found.ok_or_else(|| format!("one of {}", NAMES.map(|(name, _)| name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_as_people_name_it() {
        for text in ["HUP", "SIGHUP", "hup", "sighup"] {
            assert_eq!(text.parse(), Ok(Signal::HUP), "{text}");
        }
        assert!("KILL".parse::<Signal>().unwrap_err().contains("USR1"), "a process that is killed learns nothing");
    }
}
