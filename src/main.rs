//! Arguments, crypto provider, exit codes.

use std::process::ExitCode;

use daypass::cli::run;

fn main() -> ExitCode {
    // Before anything opens a TLS connection: two providers in one process would make rustls refuse to choose.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("daypass: a TLS provider was installed before the program began");
        return ExitCode::FAILURE;
    }
    run(std::env::args_os().collect())
}
