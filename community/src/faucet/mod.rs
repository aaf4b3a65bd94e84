//! Where fees come from: [`rule`] says who gets how much, [`service`] says it over HTTP, [`client`] asks.

pub mod client;
pub mod rule;
pub mod service;
