//! The compiled Agent, executed, against the pure rules: PA-01 to PA-18 in numbers, twice; the defence lane; hostile jobs; gas; and
//! any sequence of calls.

mod contained;
mod defence;
mod draw;
mod failures;
mod gas;
mod jobs;
mod keepers;
mod release;
mod rules;
mod sequences;
mod slashing;
mod world;
