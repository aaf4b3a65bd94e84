//! revm, behind one module: the only place of this crate that names its types.
//!
//! revm changes its interface about monthly; it is pinned, and what an update touches stays in here. [`Machine`] executes one
//! transaction and leaves the result on the journal, uncommitted: digest, slots and changes are read off it, nothing is cloned.

mod changes;
mod codes;
mod database;
#[cfg(test)]
mod differential;
mod environment;
mod handler;
mod journal;
mod machine;
mod moment;
mod parts;
mod post_state;
mod rewind;
mod settle;
mod trace;
mod tx;
mod view;

pub(crate) use self::{
    changes::Changes,
    machine::{Fault, MOST_GAS, Machine},
    moment::Moment,
    post_state::Written,
    rewind::{Rewind, Undone},
    tx::TxFields,
    view::{ViewCalls, ViewFault},
};
