//! The Agent contract's rules as functions over plain values.
