//! The command line's bad inputs: one line, exit code 2.
#![allow(clippy::unwrap_used, missing_docs)]

use testkit::cli::{Binary, a_neuron_is_told_who_it_is};

fn validator(base: &[&str]) -> Binary {
    Binary::new(env!("CARGO_BIN_EXE_validator"), base)
}

#[test]
fn a_validator_is_told_who_it_is() {
    a_neuron_is_told_who_it_is(&validator(&["run", "--platform", "http://127.0.0.1:1"]));
}

#[test]
fn a_validator_without_a_platform_does_not_start() {
    validator(&["run"]).refuses(&["--hotkey", "k.json", "--ledger", "http://127.0.0.1:1"], &["platform"]);
}

#[test]
fn a_score_that_makes_no_sense_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = "hotkey = \"k\"\nledger = \"http://127.0.0.1:1\"\nplatform = \"http://127.0.0.1:1\"\n";
    std::fs::write(file.path(), format!("{keys}[score]\nsmoothing = 2.0\n")).unwrap();
    let config = ["--config", file.path().to_str().unwrap()];
    validator(&["run"]).refuses(&config, &["score.smoothing", "2"]);
}
