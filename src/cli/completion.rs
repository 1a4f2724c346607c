//! `daypass completion SHELL`: a script that completes commands, flags and values in that shell.

use std::{io::Write, process::ExitCode};

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

/// Prints a script that completes commands, flags and values. For the session: `source <(daypass completion bash)`; for good: write it to
/// where the shell looks, for instance ~/.local/share/bash-completion/completions/daypass, a directory of zsh's $fpath under the name
/// _daypass, or ~/.config/fish/completions/daypass.fish.
///
/// kubectl completes `kubectl daypass` by itself once this program is on PATH under the name kubectl_complete-daypass too.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: For,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// Prints it, for this command line.
pub fn print(args: &CompletionArgs, mut command: Command) -> ExitCode {
    let shell = match args.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command, "daypass", &mut script);
    // A reader that closed the pipe has seen what it wanted.
    let _ = std::io::stdout().lock().write_all(&script);
    ExitCode::SUCCESS
}
