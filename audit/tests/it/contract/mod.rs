//! The compiled AuditManager, executed, against the pure rules: every call is played to both, and both give the same answer, refusal and
//! state. SK-01 to SK-20 as far as they are the contract's; hostile callers and tokens; gas; any sequence of calls.

mod contained;
mod gas;
mod groups;
mod sequences;
mod settlement;
mod verdicts;
pub(crate) mod world;
