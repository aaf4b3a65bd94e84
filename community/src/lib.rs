//! Bot communities: a network of accounts that grows by rules, misbehaves by roles, and measures itself.
//!
//! The counterpart of Encointer's bot communities on our subnet. A ceremony is an epoch: in REGISTERING bots claim, endorse, fund and
//! register; in ASSIGNING they learn whom they meet; in ATTESTING all miners are challenged at the same moment, peers attest each other,
//! and validators set weights. The rules are pure ([`growth`], [`assignment`], [`meetup`], [`role`], [`traffic`], [`arena`],
//! [`driver`], [`book`], [`faucet::rule`]); around them stand a database ([`store`]), a ledger ([`subnet`]) and what bots do with both
//! ([`duties`], [`mod@drive`], [`simulate`]). Same seed, same history.

pub mod account;
pub mod arena;
pub mod assignment;
pub mod book;
pub mod community;
pub mod drive;
pub mod driver;
pub mod duties;
pub mod error;
pub mod faucet;
pub mod growth;
pub mod meetup;
pub mod mix;
pub mod phase;
pub mod picture;
pub mod place;
pub mod refusal;
pub mod report;
pub mod role;
pub mod row;
pub mod scoring;
pub mod screen;
pub mod seed;
pub mod simulate;
pub mod spec;
pub mod store;
pub mod subnet;
pub mod traffic;

pub use community::{Community, Faucet, Founding, Home, Means};
pub use error::CommunityError;
