//! Messages of errors, and printing to stdout. The program ends quietly if the reader closes the pipe, as in `inspect MODEL | head`.

use std::{fmt, io::Write};

/// Exit status with which shells report a program that was ended by SIGPIPE (128 + 13).
const BROKEN_PIPE: i32 = 141;

/// Joins the messages of an error and its causes. Skips a cause that the text already contains, because many messages
/// include their cause.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        _ if text.contains(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

/// Prints a line to stdout. Exits with the status [`BROKEN_PIPE`] if the line cannot be written.
pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(BROKEN_PIPE);
    }
}

/// Like `println!`, but prints with [`print_line`].
macro_rules! say {
    () => { $crate::output::print_line(format_args!("")) };
    ($($format:tt)*) => { $crate::output::print_line(format_args!($($format)*)) };
}

pub(crate) use say;
