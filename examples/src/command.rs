//! An example as a command: arguments, help, exit status.

use crate::output;
use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

/// What an example's parts return: any error, which is told in one line.
pub type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// What a command line was that asks for what there is not, as most commands tell it.
const USAGE: u8 = 2;

/// Reads the arguments, where `None` asks for help, and acts. The status is 0, or 1 for what failed, or 2 for arguments that
/// are none.
pub fn run<T>(
    name: &str,
    help: &str,
    options: impl FnOnce(&mut lexopt::Parser) -> Result<Option<T>, lexopt::Error>,
    act: impl FnOnce(T) -> Result,
) -> ExitCode {
    let (result, failed) = match options(&mut lexopt::Parser::from_env()) {
        Ok(Some(options)) => (act(options), ExitCode::FAILURE),
        Ok(None) => (output::print(help).map_err(Into::into), ExitCode::FAILURE),
        Err(e) => (
            Err(format!("{e} (see {name} --help)").into()),
            ExitCode::from(USAGE),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Where this cannot be told either, the status tells it.
            let _ = writeln!(io::stderr(), "{name}: {e:#}");
            failed
        }
    }
}

/// Parses a number of seconds, which may be a fraction.
///
/// # Errors
///
/// It is no number, or none that a time can have.
pub fn seconds(text: &str) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

/// The options of an example that has none but `--help`.
///
/// # Errors
///
/// There is another argument.
pub fn nothing(parser: &mut lexopt::Parser) -> Result<Option<()>, lexopt::Error> {
    use lexopt::prelude::*;
    match parser.next()? {
        None => Ok(Some(())),
        Some(Long("help") | Short('h')) => Ok(None),
        Some(other) => Err(other.unexpected()),
    }
}
