//! A stable hash of the content of an example.

/// FNV-1a over 64 bits: the same on every machine and in every version.
#[derive(Clone, Copy)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes and their number.
    pub(super) fn add(self, bytes: impl IntoIterator<Item = u8>) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let mut count: u64 = 0;
        let hash = bytes.into_iter().inspect(|_| count += 1).fold(self.0, step);
        Self(count.to_le_bytes().into_iter().fold(hash, step))
    }

    pub(super) fn finish(self) -> u64 {
        self.0
    }
}
