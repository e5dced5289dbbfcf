//! What the examples share: one clear line for every failure, and output that survives a closed pipe.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

/// Parses the arguments and runs: prints what comes back and exits with 0, or with 1 after one line on standard
/// error.
pub(crate) fn main<A: Parser>(run: impl FnOnce(A) -> anyhow::Result<String>) -> ExitCode {
    let name = A::command().get_name().to_owned();
    let args = match A::try_parse() {
        Ok(args) => args,
        // Help and version are printed, not failures.
        Err(message) if !message.use_stderr() => {
            let _ = message.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            eprintln!("{name}: {first} (see --help)");
            return ExitCode::FAILURE;
        }
    };
    let printed = run(args).and_then(|output| match std::io::stdout().write_all(output.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
