//! The `portsplit` program: hands its arguments to `portsplit::cli` and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    portsplit::cli::main()
}
