//! Protection paid by the second.
//!
//! A protocol pays in advance into its own contract (`ServicePayment`); the payees share every payment equally; the service
//! is paid while the sum of all payments covers the time since the start. The rule stands in [`rule`], once, over plain
//! numbers; the contract is held to it. [`reader`] reads a service from a node, [`monitor`] acts when it is not paid. What
//! sends does it as an [`account`]: [`deploy`], [`pay`], [`withdraw`]. [`payees`] proposes who shares the payments.

pub mod account;
pub mod cli;
pub mod deploy;
pub mod monitor;
pub mod pay;
pub mod payees;
pub mod reader;
pub mod rule;
pub mod status;
pub mod withdraw;
