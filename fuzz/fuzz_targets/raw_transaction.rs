//! EIP-2718 bytes, as [`fuzz::raw_transaction`] takes them apart: under libFuzzer, or over the files given.
#![cfg_attr(feature = "libfuzzer", no_main)]
#![cfg_attr(feature = "libfuzzer", allow(unsafe_code, reason = "libFuzzer calls its entry points by name"))]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::raw_transaction(bytes));

#[cfg(not(feature = "libfuzzer"))]
use libfuzzer_sys as _;

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    fuzz::replay_files(fuzz::raw_transaction)
}
