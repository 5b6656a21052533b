//! The `weighhouse` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The probe's child confines itself before anything else in this process exists.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == api::worker::PROBE_VERB) {
        return inference_probe::worker_main();
    }
    api::cli::main()
}
