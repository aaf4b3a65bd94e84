//! What a validator sends where a subnet takes weights only after they were committed to.
//!
//! Pure rules over plain values: [`hash`] is the promise by hash (version 2), [`timelock`] seals weights to a round of a
//! randomness beacon (version 4), [`round`] tells which round that must be. Everything here is Subtensor's, byte for byte.

pub mod hash;
pub mod round;
pub mod timelock;
