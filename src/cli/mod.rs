//! The command line: one file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use; those of the pod's side are in [`exit`].

mod agent;
mod called;
mod complete;
mod completion;
mod crds;
mod drain;
mod exec;
mod exit;
mod explain;
mod get;
mod install;
mod kube_args;
mod lock;
mod open;
mod pod_args;
mod request;
mod revoke;

use std::{ffi::OsString, process::ExitCode};

use called::Called;
use clap::{FromArgMatches, Parser, Subcommand};

use crate::{
    app,
    config::{ControllerArgs, DrainArgs},
    telemetry,
};

/// Issues just-in-time credentials to Kubernetes workloads and takes them back.
#[derive(Parser, Debug)]
#[command(name = "daypass", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// `about` is a command's line in the list of all; what --help says beside it is told where its arguments are. (A doc comment here would
// replace that.)
#[derive(Subcommand, Debug)]
enum Command {
    /// Run the operator.
    Controller(Box<ControllerArgs>),
    #[command(about = "End every credential and stop the operator, before Daypass is taken down")]
    Drain(DrainArgs),
    #[command(about = "Keep credentials fresh in a directory, beside an application")]
    Agent(Box<agent::AgentArgs>),
    #[command(about = "Run a command while holding credentials for it")]
    Exec(Box<exec::ExecArgs>),
    #[command(about = "Ask for one credential")]
    Request(Box<request::RequestArgs>),
    #[command(about = "Copy this program into a directory, for containers whose image does not have it")]
    Install(install::InstallArgs),
    /// Print the CustomResourceDefinitions of this version as YAML.
    Crds,
    #[command(about = "List requests and what became of them, or show one")]
    Get(get::GetArgs),
    #[command(about = "Explain how a request was decided, and how it would be now")]
    Explain(explain::ExplainArgs),
    #[command(about = "Open a credential that was sealed to a key, or make such a key")]
    Open(open::OpenArgs),
    #[command(about = "End credentials, and wait until they are proven dead")]
    Revoke(Box<revoke::RevokeArgs>),
    #[command(about = "Lock out an identity, a node, an image, … until a time, and end what it holds")]
    Lock(Box<lock::LockArgs>),
    #[command(about = "Lift a lock before its end")]
    Unlock(lock::UnlockArgs),
    #[command(about = "Print a script that completes this command line in a shell")]
    Completion(completion::CompletionArgs),
}

/// Runs one command line, its first word being what this program was started as.
pub fn run(words: Vec<OsString>) -> ExitCode {
    let called = Called::by(words.first());
    if called == Called::Completer {
        return complete::answer(called.command(), &words);
    }
    let matches = called.command().get_matches_from(words);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.command {
        Command::Controller(args) => controller(*args),
        Command::Drain(args) => block_on(drain::run(args)),
        Command::Agent(args) => alone(agent::run(*args)),
        Command::Exec(args) => alone(exec::run(*args)),
        Command::Request(args) => alone(request::run(*args)),
        Command::Install(args) => install::run(&args),
        Command::Crds => crds::print(),
        Command::Get(args) => alone(get::run(args, called.program())),
        Command::Explain(args) => block_on(explain::run(args)),
        Command::Open(args) => alone(open::run(args)),
        Command::Revoke(args) => alone(revoke::run(*args)),
        Command::Lock(args) => alone(lock::lock(*args)),
        Command::Unlock(args) => alone(lock::unlock(args)),
        Command::Completion(args) => completion::print(&args, Called::Daypass.command()),
    }
}

fn controller(args: ControllerArgs) -> ExitCode {
    if let Err(problem) = telemetry::init(args.log_format, &args.log) {
        eprintln!("daypass: --log: {problem}");
        return ExitCode::from(2);
    }
    block_on(async {
        match app::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "the operator cannot run");
                eprintln!("daypass: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    run_on(tokio::runtime::Builder::new_multi_thread(), work)
}

/// On one thread: beside an application there is little to do, and each thread costs memory.
fn alone(work: impl Future<Output = ExitCode>) -> ExitCode {
    run_on(tokio::runtime::Builder::new_current_thread(), work)
}

fn run_on(mut runtime: tokio::runtime::Builder, work: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("daypass: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
