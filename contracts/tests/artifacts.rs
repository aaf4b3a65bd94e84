//! The checked-in artifacts are what the sources compile to, and the bindings are made from them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contracts::{Contract, Vault};

fn room() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Node and the pinned solc, or why not.
fn compiler() -> Result<(), String> {
    match Command::new("node").arg("--version").output() {
        Ok(output) if output.status.success() => {}
        _ => return Err("node is not installed".to_owned()),
    }
    if room().join("node_modules/solc/package.json").is_file() {
        Ok(())
    } else {
        Err("solc is not installed (npm install --prefix contracts)".to_owned())
    }
}

/// Compiles the sources and compares with the artifacts of a folder, writing nothing.
fn check(artifacts: &Path) -> Output {
    let script = room().join("compile.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg("--check").arg("--out").arg(artifacts);
    command.output().unwrap()
}

#[test]
fn the_artifacts_are_what_the_sources_compile_to() {
    if let Err(reason) = compiler() {
        eprintln!("SKIPPED: the_artifacts_are_what_the_sources_compile_to because {reason}");
        return;
    }
    let checked = check(&room().join("artifacts"));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The check that people run reports a stale artifact instead of passing over it, and no other.
#[test]
fn a_changed_artifact_is_noticed() {
    if let Err(reason) = compiler() {
        eprintln!("SKIPPED: a_changed_artifact_is_noticed because {reason}");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    for contract in Contract::ALL {
        std::fs::write(
            out.path().join(format!("{}.json", contract.name())),
            contract.artifact(),
        )
        .unwrap();
    }
    std::fs::write(out.path().join("Vault.json"), "{}").unwrap();
    let differing = check(out.path());
    assert_eq!(differing.status.code(), Some(1));
    let told = String::from_utf8_lossy(&differing.stderr).into_owned();
    assert!(told.starts_with("compile.mjs: Vault.json in "), "{told}");
}

#[test]
fn the_bindings_carry_the_artifacts_bytecode() {
    for contract in Contract::ALL {
        let artifact: serde_json::Value = serde_json::from_str(contract.artifact()).unwrap();
        assert_eq!(artifact["contractName"], contract.name());
        assert_eq!(artifact["bytecode"], contract.bytecode().to_string());
    }
}

#[test]
fn creation_input_is_bytecode_then_arguments() {
    let input = Contract::Vault.creation(&Vault::constructorCall { flashFeeBps_: 9 });
    let (code, arguments) = input.split_at(Contract::Vault.bytecode().len());
    assert_eq!(code, Contract::Vault.bytecode());
    assert_eq!(arguments.len(), 32);
    assert_eq!(arguments[31], 9);
}
