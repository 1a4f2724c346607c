//! Developer commands of Daypass: `cargo xtask <command>`. Each command is one module; nothing here is shipped.
#![allow(clippy::disallowed_methods, reason = "plays platform teams and pods, who write, and tells people how long things took")]

mod bench;
mod beside;
mod binary;
mod cluster;
mod demo;
mod frequency;
mod generate;
mod image;
mod krew;
mod lent;
mod listed;
mod soak;
mod tour;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Daypass.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the main job on a control plane of its own, step by step.
    Demo(demo::DemoArgs),
    /// Run a control plane with Daypass on it in the foreground.
    Cluster(cluster::ClusterArgs),
    /// Measure on control planes of its own.
    Bench(bench::BenchArgs),
    /// Judge the frequency detector on a log.
    Frequency(frequency::FrequencyArgs),
    /// Renew for half an hour under an application that connects all the time, while the operator is restarted.
    Soak(soak::SoakArgs),
    /// Write crds/, deploy/ and charts/ anew from the Rust source.
    Generate(generate::Args),
    /// Build the static binary and pack it as an OCI image, without a container engine.
    Image(image::ImageArgs),
    /// Pack the plugin of kubectl for krew, and write its manifest.
    Krew(krew::KrewArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
        Command::Krew(args) => report(krew::run(&args)),
        Command::Image(args) => report(image::run(&args)),
        Command::Frequency(args) => frequency::run(&args).unwrap_or_else(|problem| report(Err(problem))),
        Command::Demo(args) => {
            block_on(async { demo::run(args).await.map(|passed| if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }) })
        }
        Command::Bench(args) => block_on(async { bench::run(args).await.map(|()| ExitCode::SUCCESS) }),
        Command::Soak(args) => {
            block_on(async { soak::run(args).await.map(|passed| if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }) })
        }
        Command::Cluster(args) => block_on(async { cluster::run(args).await.map(|()| ExitCode::SUCCESS) }),
    }
}

fn report(result: Result<(), impl std::fmt::Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(work));
    result.unwrap_or_else(|problem| {
        eprintln!("xtask: {problem}");
        ExitCode::FAILURE
    })
}
