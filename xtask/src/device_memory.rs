//! Turns Burn's panic about a device that is out of memory into an error of the command.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};

/// Phrases in the out-of-memory messages of the backends, in lower case.
const PHRASES: [&str; 3] = ["out of device memory", "can't allocate buffer of size", "out of memory"];
/// Maximum number of characters of the driver's message that are shown, because a backtrace may follow it.
const REASON_LENGTH: usize = 160;

/// Runs a command and converts a panic about device memory into an error that suggests a remedy. Other panics continue.
///
/// # Errors
/// Returns the error of the command, or an error that says that the device is out of memory.
pub(crate) fn catch_out_of_memory(command: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if reason(panic.payload()).is_none() {
            default_hook(panic);
        }
    }));
    match catch_unwind(AssertUnwindSafe(command)) {
        Ok(result) => result,
        Err(payload) => match reason(&*payload) {
            Some(reason) => anyhow::bail!(
                "the device is out of memory: {reason}\n\
                 Use a smaller batch size. A run that has checkpoints continues from the last one if the same command \
                 is repeated."
            ),
            None => resume_unwind(payload),
        },
    }
}

/// Returns the part of a panic message that reports a lack of memory, or `None` for other panics.
fn reason(payload: &(dyn Any + Send)) -> Option<String> {
    let message = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied())?;
    let lower = message.to_lowercase();
    let start = PHRASES.iter().filter_map(|phrase| lower.find(phrase)).min()?;
    // Lower case can change byte lengths. If `start` is not valid in the original message, use the whole message.
    let from = message.get(start..).unwrap_or(message);
    let line = from.split(['\n', '"', '\\']).next().unwrap_or_default();
    Some(line.chars().take(REASON_LENGTH).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_an_error_and_says_what_helps() {
        let read_error =
            "Error while reading data: Generic { reason: \"out of device memory allocating 64 bytes\\n0: x\" }";
        for message in [read_error, "wgpu error: Out of Memory", "can't allocate buffer of size: 9"] {
            let error = catch_out_of_memory(|| panic!("{message}")).expect_err("an error, not a panic").to_string();
            assert!(error.contains("the device is out of memory") && error.contains("checkpoints"), "{error}");
        }
        let error = catch_out_of_memory(|| panic!("{read_error}")).expect_err("an error, not a panic").to_string();
        assert!(error.contains("memory: out of device memory allocating 64 bytes\n"), "{error}");
    }

    #[test]
    fn other_panics_go_on() {
        let caught = catch_unwind(|| catch_out_of_memory(|| panic!("index out of bounds")));
        assert!(caught.is_err());
    }
}
