//! Randomness of the operating system.

/// Random bytes. Without them nothing here would be safe: the process ends, as the standard library's
/// own maps do.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}

/// Random bytes as hexadecimal digits.
#[must_use]
pub fn hex<const N: usize>() -> String {
    crate::digest::hex(&bytes::<N>())
}
