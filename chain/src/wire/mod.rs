//! The ledger's types as messages of `portcullis.v1`, there and back, and its errors as gRPC statuses, there and back.
//!
//! Whatever comes from the wire is checked: lengths, ranges of 16-bit numbers, order of uids. An error names the field.

mod calls;
mod field;
mod history;
mod metagraph;
mod parameters;
mod status;

pub use history::{read_weight_row, weight_row};
pub use status::{from_status, to_status};

/// The service's full name.
pub const SERVICE: &str = "portcullis.v1.Ledger";

#[cfg(test)]
mod tests;
