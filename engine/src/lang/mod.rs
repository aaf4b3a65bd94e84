//! The language that invariants are written in.
//!
//! ```text
//! post(vault.totalDebt) * 100 <= post(vault.totalCollateral) * 80
//! delta(token.balanceOf(vault)) >= -5% of pre
//! count(Transfer from 0x0) == 0 unless sender in {0x00000000000000000000000000000000000000aa}
//! ```
//!
//! From text to verdict: `token` -> `parser` (a tree with places, `ast`) -> `resolve` (names through `names`, `layout` and `abi`;
//! types) -> `node`, `code` and [`Program`] (flat, without names) -> [`Evaluator`] over a [`Reader`] (`evaluate`, and the machine in
//! `run`). `print` writes a program as text that needs no names; `set` reads a whole file of invariants; `plain` takes other forms. docs/invariants.md describes the language.
//!
//! What always holds:
//! - Numbers are exact: 256-bit terms, 512-bit results, percentages by cross multiplication. What does not fit, or divides by zero,
//!   is a [`Fault`]; nothing wraps and nothing panics.
//! - What was accepted is typed: an address is never compared with a number.
//! - Text of any size is answered in bounded time, memory and stack ([`MAX_TEXT`]).
//! - Pure: the only file that is read is read by the caller ([`InvariantSet::parse`]).
//!
//! ```
//! use engine::{Reason, U256, lang};
//!
//! /// Balances before and after.
//! struct Balances(u64, u64);
//!
//! impl lang::Reader for Balances {
//!     fn read(&mut self, moment: lang::Moment, source: &lang::Source) -> Result<U256, Reason> {
//!         match (source, moment) {
//!             (lang::Source::Balance(_), lang::Moment::Pre) => Ok(U256::from(self.0)),
//!             (lang::Source::Balance(_), lang::Moment::Post) => Ok(U256::from(self.1)),
//!             _ => Err(Reason::Unsupported(format!("{source} is not known here"))),
//!         }
//!     }
//!     fn logs(&mut self, _: &mut dyn FnMut(lang::LogRef<'_>)) -> Result<(), Reason> {
//!         Ok(())
//!     }
//! }
//!
//! let text = "delta(balance(0x00000000000000000000000000000000000000aa)) >= -5% of pre";
//! let program = lang::parse(text, &lang::Names::default())?;
//! let drained = lang::evaluate(&program, &mut Balances(1_000, 900));
//! assert_eq!(drained.violated(), Ok(true));
//! assert_eq!(drained.after.margin, Some("-50".parse()?));
//! assert_eq!(lang::parse(&program.to_string(), &lang::Names::default())?, program);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod abi;
mod ast;
mod code;
mod diagnostic;
mod evaluate;
mod input;
mod layout;
mod names;
mod node;
mod number;
mod parser;
mod plain;
mod print;
mod program;
mod resolve;
mod run;
mod set;
mod token;
mod wide;

#[cfg(test)]
mod tests;

pub(crate) use self::plain::compared;
pub use self::{
    diagnostic::LangError,
    evaluate::{Evaluation, Evaluator, Fault, Judged, LogRef, Observed, Reader, evaluate},
    names::{Contract, NameError, Names},
    plain::{CaseInvariant, FieldError, from_case_invariant, from_invariant, from_wire_form, invariant_text, network},
    program::{Aggregate, Arithmetic, LogField, LogQuery, Moment, Program, Read, Relation, Source, View},
    resolve::parse,
    set::{Format, InvariantSet, MAX_INVARIANTS, MAX_SET_TEXT, NamedProgram, Problem, SetError, Severity},
    token::MAX_TEXT,
    wide::{Wide, WideError},
};
