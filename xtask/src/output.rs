//! Printing to a reader that may go away, as in `inspect MODEL | head`.

use std::{fmt, io::Write};

/// Exit status of a program whose reader is gone, as shells report SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// Prints a line; ends the program quietly when nobody reads any more.
pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(BROKEN_PIPE);
    }
}

/// `println!` through [`print_line`].
macro_rules! say {
    () => { $crate::output::print_line(format_args!("")) };
    ($($format:tt)*) => { $crate::output::print_line(format_args!($($format)*)) };
}

pub(crate) use say;
