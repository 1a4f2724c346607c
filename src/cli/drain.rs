//! `daypass drain`: how it ends, for people and for the Job that runs it.

use std::process::ExitCode;

use kube::ResourceExt;

use super::exit;
use crate::{
    app::{self, AppError, Drained},
    config::DrainArgs,
    telemetry,
};

/// Runs it.
pub async fn run(args: DrainArgs) -> ExitCode {
    if let Err(problem) = telemetry::init(args.log_format, &args.log) {
        return exit::with(exit::USAGE, "drain", format_args!("--log: {problem}"));
    }
    match app::drain(args, |line| println!("{line}")).await {
        Ok(Drained::Done { namespace, left }) => {
            for lease in &left {
                let (spec, name) = (&lease.spec, lease.name_any());
                println!(
                    "left to itself: {name}, of {}/{}: accepted until {:.0}",
                    spec.request_namespace,
                    spec.request_name,
                    spec.not_after()
                );
            }
            let state = match left.len() {
                0 => "every credential is proven dead".to_owned(),
                1 => "1 credential lives until its own time is over, and every other credential is proven dead".to_owned(),
                many => format!("{many} credentials live until their own time is over, and every other credential is proven dead"),
            };
            println!("drained: {state}; namespace {namespace} and the definitions may be deleted");
            ExitCode::SUCCESS
        }
        Ok(Drained::TimedOut) => {
            exit::with(exit::TRY_AGAIN, "drain", "the time is over; what was begun stays begun: run it again to go on")
        }
        Ok(Drained::Stopped(signal)) => {
            exit::with(exit::SIGNALLED + signal, "drain", "stopped; what was begun stays begun: run it again to go on")
        }
        Err(error @ AppError::Identity(_)) => exit::with(exit::NO_POD, "drain", error),
        Err(error) => exit::with(exit::FAILED, "drain", error),
    }
}
