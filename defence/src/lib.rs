//! From a confirmed violation to alerts and a pause.
//!
//! [`Defence::confirmed`] makes one incident of an invariant and an attack, and stores in the same transaction of the database what is
//! to be done about it (the outbox); tasks do it, the pause before everything else. What always holds: an action fires once for an
//! incident, over restarts too; what was promised to somebody stands in the database first; a secret is never logged.
//!
//! The rules are pure and each in a file of its own: [`incident`], [`ladder`], [`retry`], [`limit`], [`outcome`], [`escape`].

mod alerts;
mod channel;
pub mod clock;
pub mod config;
mod defence;
pub mod escape;
pub mod incident;
pub mod ladder;
pub mod limit;
pub mod notice;
pub mod outcome;
pub mod pause;
pub mod retry;
mod sample;
pub mod signature;
mod store;
pub mod template;
pub mod trial;
pub mod violation;

pub use channel::ChannelError;
pub use defence::{Defence, DefenceError, IncidentId};
pub use pause::{PauseError, PauseOutcome, PauseProgress, PauseRequest, PauseTarget, Pauser};
pub use store::{Delivery, DeliveryState, Incident, StoreError, TimelineEntry};
