//! `cargo xtask bench frequency`: every row of the detector's table on seeded traffic, beside the rules that people use instead and ours without
//! one of its parts. Needs no cluster. docs/benchmarks.md says how to read it.
//!
//! `exact` is B1 and B2 (against the theory), `learned` B3, `patterns` B4, B5 and B14, `hard` B6, B7 and B15, `parts` one row for each defence,
//! `nab` B10, `cost` B12 and B13, `plot` the pictures.

mod cost;
mod exact;
mod hard;
mod learned;
mod nab;
mod parts;
mod patterns;
mod plot;

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use clap::Args;

use super::{
    machine::{self, Machine},
    report::Report,
};

/// Arguments of `cargo xtask bench frequency`.
#[derive(Args, Debug)]
pub struct FrequencyArgs {
    /// Write machine and figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots as SVG into this directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// A fraction of everything, in about a minute: shows that nothing broke, its figures are rough.
    #[arg(long)]
    quick: bool,
    /// Only the parts whose name holds this, such as B12 or NAB.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Of all random traffic.
    #[arg(long, default_value_t = 20_261_128)]
    seed: u64,
}

/// How much of everything.
pub struct Size {
    /// Of all random traffic.
    pub seed: u64,
    /// Identities of each pattern.
    pub identities: usize,
    /// Days after the 28 that are learned.
    pub days: f64,
    /// Attacks of each strength.
    pub attacks: usize,
    /// Runs of single buckets and banks.
    pub runs: usize,
    /// Identities of which the cost is measured at once.
    pub many: usize,
    /// Whether it is the whole.
    pub full: bool,
}

/// Measures everything and prints one table. A missed goal is printed as missed; only what cannot be measured is an error.
pub fn run(args: &FrequencyArgs) -> Result<(), String> {
    let full = Size { seed: args.seed, identities: 100, days: 90.0, attacks: 200, runs: 20_000, many: 100_000, full: true };
    let quick = Size { seed: args.seed, identities: 16, days: 60.0, attacks: 60, runs: 4_000, many: 20_000, full: false };
    let size = if args.quick { quick } else { full };
    let begun = Instant::now();
    let mut report = Report::new(Machine::here("not used".to_owned()));
    report.note(format!(
        "seed {}; {} identities of each pattern, {} days each after 28 that are learned; delays are ratios to the exact optimum or hours; \
         FA is false alarms of the review tier",
        size.seed, size.identities, size.days
    ));
    let mut plots = plot::Plots::default();
    for (what, part) in PARTS {
        if args.only.as_ref().is_some_and(|only| !what.contains(only.as_str())) {
            continue;
        }
        eprintln!("{what} ({:.0} s)", begun.elapsed().as_secs_f64());
        part(&size, &mut report, &mut plots)?;
    }
    report.machine().load_after = machine::load();
    println!("{}", report.text("bench frequency"));
    println!("(took {:.0} s)", begun.elapsed().as_secs_f64());
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    if let Some(directory) = &args.plots {
        plots.write(directory)?;
    }
    Ok(())
}

type Part = fn(&Size, &mut Report, &mut plot::Plots) -> Result<(), String>;

const PARTS: [(&str, Part); 9] = [
    ("B12, B13: cost, restarts", cost::measure),
    ("B1: one bucket against the theory", exact::buckets),
    ("B2: the bank that knows the rate", exact::bank),
    ("B3: the whole detector", learned::measure),
    ("B4, B5, B14: ten ways to ask", patterns::measure),
    ("B6, B7, B15: hard cases", hard::measure),
    ("parts left out", parts::measure),
    ("B10: NAB, the Numenta Anomaly Benchmark", nab::measure),
    ("plots", plot::measure),
];

/// Computes something for each number below `count` on all processors, in order.
pub fn parallel<T: Send>(count: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = each(number);
                    if let Ok(mut results) = results.lock() {
                        results.push((number, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
