//! Reads a log line by line into records of constant size. Names what it cannot read and counts it; drops nothing silently.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufRead, Write},
};

use daypass_frequency::{LineError, PodKey, parse_line};

use super::runs::{Record, Runs};

/// Bad lines that are named one by one; more are counted.
const NAMED: u64 = 20;
/// Pods whose UID is kept to be printed: past that, alarms name them by their key.
const PODS: usize = 1_000_000;
/// A line longer than this is no line of ours.
const LONGEST: u64 = 64 * 1024;

/// What a log held.
#[derive(Debug, Default)]
pub struct Input {
    /// By number.
    pub identities: Vec<String>,
    /// UIDs by key.
    pub pods: HashMap<u32, String>,
    /// Its requests.
    pub runs: Runs,
    /// Lines that are requests.
    pub good: u64,
    /// Lines that are none, by what is wrong with them.
    bad: BTreeMap<&'static str, u64>,
    empty: u64,
    header: bool,
    numbers: HashMap<String, u32>,
}

impl Input {
    /// Reads all lines; bad ones are named on `complaints`.
    pub fn read(mut lines: impl BufRead, complaints: &mut impl Write) -> io::Result<Self> {
        let mut input = Self::default();
        let mut line = Vec::with_capacity(256);
        let mut number = 0_u64;
        loop {
            line.clear();
            let length = io::Read::take(&mut lines, LONGEST).read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            number += 1;
            if length as u64 == LONGEST && line.last() != Some(&b'\n') {
                skip_line(&mut lines)?;
                input.complain(number, "longer than 64 KiB", "a line has at most 64 KiB", complaints)?;
                continue;
            }
            input.line(number, &line, complaints)?;
        }
        Ok(input)
    }

    fn line(&mut self, number: u64, line: &[u8], complaints: &mut impl Write) -> io::Result<()> {
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let Ok(text) = std::str::from_utf8(line) else {
            return self.complain(number, "not UTF-8", "it is not UTF-8: convert the log, or remove what is binary", complaints);
        };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            self.empty += 1;
            return Ok(());
        }
        match parse_line(text) {
            Ok(line) => {
                let identity = self.number(line.identity);
                let pod = PodKey::of(line.pod).map_or(0, PodKey::get);
                if pod != 0 && self.pods.len() < PODS && !self.pods.contains_key(&pod) {
                    self.pods.insert(pod, line.pod.to_owned());
                }
                self.good += 1;
                self.runs.push(Record { millis: line.at.millis(), identity, pod })
            }
            Err(LineError::NoNumber(name)) if self.good == 0 && !self.header && !name.is_empty() && is_name(&name) => {
                self.header = true;
                Ok(())
            }
            Err(error) => self.complain(number, kind(&error), &error.to_string(), complaints),
        }
    }

    fn number(&mut self, identity: &str) -> u32 {
        if let Some(number) = self.numbers.get(identity) {
            return *number;
        }
        let number = u32::try_from(self.identities.len()).unwrap_or(u32::MAX);
        self.identities.push(identity.to_owned());
        self.numbers.insert(identity.to_owned(), number);
        number
    }

    fn complain(&mut self, number: u64, kind: &'static str, problem: &str, complaints: &mut impl Write) -> io::Result<()> {
        *self.bad.entry(kind).or_default() += 1;
        match self.bad.values().sum::<u64>() {
            ..=NAMED => writeln!(complaints, "line {number}: {problem}"),
            more if more == NAMED + 1 => writeln!(complaints, "line {number}: {problem}; further bad lines are counted, not named"),
            _ => Ok(()),
        }
    }

    /// What was read and what was not, in a sentence.
    pub fn summary(&self) -> String {
        let bad: u64 = self.bad.values().sum();
        let kinds: Vec<String> = self.bad.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let bad = if bad == 0 { "no bad lines".to_owned() } else { format!("{bad} bad lines ({})", kinds.join(", ")) };
        let header = if self.header { ", a header" } else { "" };
        format!(
            "read {} requests of {} identities; {bad}, {} empty lines or comments{header}",
            self.good,
            self.identities.len(),
            self.empty
        )
    }
}

fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (used, found) = {
            let buffer = lines.fill_buf()?;
            match buffer.iter().position(|byte| *byte == b'\n') {
                _ if buffer.is_empty() => return Ok(()),
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            }
        };
        lines.consume(used);
        if found {
            return Ok(());
        }
    }
}

/// "unix_seconds", "time", "@timestamp": what a header says where a line has its time.
fn is_name(text: &str) -> bool {
    let mut letters = text.trim_start_matches(['@', '_', '#']).chars();
    letters.next().is_some_and(char::is_alphabetic) && !text.contains(':')
}

fn kind(error: &LineError) -> &'static str {
    match error {
        LineError::Fields(_) => "with a wrong number of fields",
        LineError::Identity | LineError::IdentityLength(_) => "without a usable identity",
        LineError::NoNumber(_) => "whose time is no number",
        LineError::Unit(..) => "whose time is not in seconds",
        LineError::Range(_) => "whose time is out of range",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &[u8]) -> (Input, String) {
        let mut complaints = vec![];
        let input = Input::read(log, &mut complaints).unwrap();
        (input, String::from_utf8(complaints).unwrap())
    }

    #[test]
    fn logs_are_read_as_they_come() {
        let log = b"\xef\xbb\xbfidentity,unix_seconds,pod_uid\r\na/b,1767571200,p1\r\n\r\n# a comment\na/b,1767571200.5,\nc,1767571201";
        let (input, complaints) = read(log);
        assert_eq!((input.good, input.identities.len(), complaints.as_str()), (3, 2, ""));
        assert_eq!(input.summary(), "read 3 requests of 2 identities; no bad lines, 2 empty lines or comments, a header");
    }

    #[test]
    fn bad_lines_are_named_and_counted() {
        let mut log = b"a/b,1767571200\na/b,1767571200123\nnonsense\na/b,2026-01-05T00:00:00Z\n\xff\xfe,1\n".to_vec();
        log.extend(b"x".repeat(70_000));
        log.extend(b"\na/b,1767571201\n");
        let (input, complaints) = read(&log);
        assert_eq!(input.good, 2, "and what follows them is read: {complaints}");
        for part in [
            "line 2: field unix_seconds is 1767571200123: that looks like milliseconds",
            "line 3: 1 field(s)",
            "line 4:",
            "line 5: it is not UTF-8",
            "line 6: a line has at most",
        ] {
            assert!(complaints.contains(part), "{part} is not in {complaints}");
        }
        assert!(input.summary().contains("5 bad lines ("), "{}", input.summary());
    }

    #[test]
    fn a_second_header_is_a_bad_line_and_so_is_one_after_requests() {
        let (input, complaints) = read(b"identity,time\nidentity,time\na,1767571200\nidentity,time\n");
        assert_eq!((input.good, complaints.lines().count()), (1, 2), "{complaints}");
    }

    #[test]
    fn many_bad_lines_are_not_all_named() {
        let (input, complaints) = read("a,b:c\n".repeat(1000).as_bytes());
        assert_eq!((input.good, complaints.lines().count()), (0, 21));
        assert!(input.summary().contains("1000 bad lines"));
    }
}
