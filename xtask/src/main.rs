//! Developer commands of Daypass: `cargo xtask <command>`. Each command is one module; nothing here is shipped.

mod generate;

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
    /// Write crds/, deploy/ and charts/ anew from the Rust source.
    Generate(generate::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
    }
}
