//! The smallest program that can serve as a probe worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    inference_probe::worker_main()
}
