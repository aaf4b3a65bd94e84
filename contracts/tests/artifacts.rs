//! The checked-in artifacts are what the sources compile to, and the bindings are made from them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::{Path, PathBuf};
use std::process::Command;

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

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn compiling_again_gives_no_difference() {
    if let Err(reason) = compiler() {
        eprintln!("SKIPPED: compiling_again_gives_no_difference because {reason}");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = Command::new("node")
        .arg(room().join("compile.mjs"))
        .arg("--out")
        .arg(out.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let mut compiled: Vec<_> = std::fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let mut checked_in: Vec<_> = std::fs::read_dir(room().join("artifacts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    compiled.sort();
    checked_in.sort();
    assert_eq!(compiled, checked_in);
    for name in compiled {
        let (new, old) = (
            read(&out.path().join(&name)),
            read(&room().join("artifacts").join(&name)),
        );
        assert!(
            new == old,
            "artifacts/{} is not what its source compiles to; run: node compile.mjs",
            name.display()
        );
    }
}

/// The check that people run reports a stale artifact instead of passing over it.
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
    let check = || {
        let mut command = Command::new("node");
        command
            .arg(room().join("compile.mjs"))
            .arg("--check")
            .arg("--out")
            .arg(out.path());
        command.output().unwrap()
    };
    assert_eq!(check().status.code(), Some(0));

    std::fs::write(out.path().join("Vault.json"), "{}").unwrap();
    let differing = check();
    assert_eq!(differing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&differing.stderr).contains("Vault.json"));
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
