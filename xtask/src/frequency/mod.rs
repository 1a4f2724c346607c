//! `cargo xtask frequency score FILE`: judges the frequency detector on anybody's traffic. Reads a log, learns from its first part, and prints
//! one line for each alarm in the rest. docs/frequency.md says how to read them.

mod input;
mod judge;
mod runs;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use self::{input::Input, judge::Judge};

/// Arguments of `cargo xtask frequency`.
#[derive(Args, Debug)]
pub struct FrequencyArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Score a log of lines `identity,unix_seconds[,pod_uid]`.
    Score(ScoreArgs),
}

/// Arguments of `cargo xtask frequency score`.
#[derive(Args, Clone, Debug)]
pub struct ScoreArgs {
    /// The log, in any order; `-` reads it from standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Days at the beginning that are taken for normal: learned from, not scored.
    #[arg(long, value_name = "DAYS", default_value_t = 28.0, value_parser = days, conflicts_with = "cold")]
    learn: f64,
    /// Learn from nothing beforehand: score from the first line, as in a cluster that has just been given Daypass.
    #[arg(long)]
    cold: bool,
    /// One JSON object an alarm.
    #[arg(long)]
    json: bool,
    /// False revocations a year that are accepted over all identities of the log.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = above_zero)]
    false_revocations_per_year: f64,
    /// A pod UID that is new excuses nothing. Otherwise it counts as the legitimate start of a pod, which a log cannot prove; in a cluster it can.
    #[arg(long)]
    no_pod_starts: bool,
    /// Take lines that are the same in every field for one request.
    #[arg(long)]
    dedup: bool,
}

fn days(text: &str) -> Result<f64, String> {
    let days = text.parse::<f64>().ok().filter(|days| (1.0..=3660.0).contains(days));
    days.ok_or_else(|| "write a number of days from 1 to 3660, or --cold to learn from nothing".to_owned())
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "write a number above 0, such as 1 or 0.1".to_owned())
}

/// Scores a log. Fails only if it cannot be read or holds no line that says anything.
pub fn run(args: &FrequencyArgs) -> Result<ExitCode, String> {
    let What::Score(args) = &args.what;
    let input = if args.file == Path::new("-") {
        read(io::stdin().lock(), "standard input")?
    } else {
        let file = File::open(&args.file).map_err(|error| format!("FILE {}: {error}", args.file.display()))?;
        read(BufReader::with_capacity(1 << 20, file), &args.file.display().to_string())?
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match score(input, args, &mut out) {
        // Whoever reads the alarms has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Failure::Output(error)) => Err(format!("cannot write alarms: {error}")),
        Err(Failure::Temporary(error)) => Err(format!("cannot sort the log in {}: {error}; set TMPDIR", std::env::temp_dir().display())),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn read(lines: impl BufRead, name: &str) -> Result<Input, String> {
    let input = Input::read(lines, &mut io::stderr().lock()).map_err(|error| format!("{name}: {error}; nothing was scored"))?;
    if input.good == 0 {
        return Err(format!("{name} holds no line identity,unix_seconds[,pod_uid]: {}", input.summary()));
    }
    Ok(input)
}

/// What went wrong while alarms were written.
#[derive(Debug)]
pub enum Failure {
    /// The alarms could not be written.
    Output(io::Error),
    /// The sorted log could not be written or read again.
    Temporary(io::Error),
}

fn score(input: Input, args: &ScoreArgs, out: &mut impl Write) -> Result<(), Failure> {
    eprintln!("{}", input.summary());
    let Input { identities, pods, runs, .. } = input;
    let mut judge = Judge::new(identities, pods, args);
    let mut last = None;
    let mut same = 0_u64;
    for record in runs.sorted().map_err(Failure::Temporary)? {
        let record = record.map_err(Failure::Temporary)?;
        let key = (record.millis, record.identity, record.pod);
        if last.replace(key) == Some(key) {
            same += 1;
            if args.dedup {
                continue;
            }
        }
        if let Some(alarm) = judge.request(&record) {
            let line = if args.json { serde_json::to_string(&alarm).unwrap_or_default() } else { alarm.to_string() };
            writeln!(out, "{line}").map_err(Failure::Output)?;
        }
    }
    out.flush().map_err(Failure::Output)?;
    if same > 0 {
        let counted = if args.dedup { "left out (--dedup)" } else { "counted as requests of their own; --dedup leaves them out" };
        eprintln!("{same} lines are the same as another in every field: {counted}");
    }
    eprintln!("{}", judge.summary());
    Ok(())
}
