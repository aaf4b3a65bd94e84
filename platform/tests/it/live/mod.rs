//! The live feed against real nodes and against bad ones.

mod binary;
mod chain;
mod faults;
mod flood;
mod person;
mod predecessors;
mod restart;
mod world;
