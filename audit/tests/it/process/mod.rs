//! Real `audit` processes on a real anvil, whose blocks and time the tests make by hand: nothing is reported twice, nothing is lost, and
//! the reason stands in the log.

mod claims;
mod commands;
mod crash;
mod epoch;
mod trouble;
mod world;
