//! The binary `neurosurgeon`.

use std::process::ExitCode;

/// A mask step is a third faster with this allocator: it keeps the pages of freed tensors, and new pages cost more than
/// the arithmetic on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    xtask::main()
}
