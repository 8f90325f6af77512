//! A device that runs out of memory: Burn panics with its driver's words, a command ends with an error.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};

/// How the backends begin to say it, in lower case.
const WORDS: [&str; 3] = ["out of device memory", "can't allocate buffer of size", "out of memory"];
/// Only so much of the driver's message is the reason; backtraces follow.
const REASON: usize = 160;

/// Runs a command. When the device runs out of memory in it, the error says so and what helps; other panics go on.
///
/// # Errors
/// The command's own, and that one.
pub(crate) fn or_say_so(command: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if reason(panic.payload()).is_none() {
            usual(panic);
        }
    }));
    match catch_unwind(AssertUnwindSafe(command)) {
        Ok(result) => result,
        Err(payload) => match reason(&*payload) {
            Some(reason) => anyhow::bail!(
                "the device is out of memory: {reason}\n\
                 Smaller batches need less. A run that leaves checkpoints goes on from the last one when the same \
                 command is given again."
            ),
            None => resume_unwind(payload),
        },
    }
}

/// What a panic says about memory, if that is what it is about.
fn reason(payload: &(dyn Any + Send)) -> Option<String> {
    let message = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied())?;
    let lower = message.to_lowercase();
    let start = WORDS.iter().filter_map(|words| lower.find(words)).min()?;
    // Lower case may be longer than what it is of; then the reason begins with the message.
    let from = message.get(start..).unwrap_or(message);
    let line = from.split(['\n', '"', '\\']).next().unwrap_or_default();
    Some(line.chars().take(REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_an_error_and_says_what_helps() {
        let reading =
            "Error while reading data: Generic { reason: \"out of device memory allocating 64 bytes\\n0: x\" }";
        for message in [reading, "wgpu error: Out of Memory", "can't allocate buffer of size: 9"] {
            let error = or_say_so(|| panic!("{message}")).expect_err("it panicked").to_string();
            assert!(error.contains("the device is out of memory") && error.contains("checkpoints"), "{error}");
        }
        let error = or_say_so(|| panic!("{reading}")).expect_err("it panicked").to_string();
        assert!(error.contains("memory: out of device memory allocating 64 bytes\n"), "{error}");
    }

    #[test]
    fn other_panics_go_on() {
        let caught = catch_unwind(|| or_say_so(|| panic!("index out of bounds")));
        assert!(caught.is_err());
    }
}
