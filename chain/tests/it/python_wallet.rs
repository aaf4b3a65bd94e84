//! Wallets shared with the Python package `bittensor-wallet`: each side reads the files that the other made, plain and encrypted,
//! and verifies the other's signatures. The package is installed once, into a virtual environment under the target folder;
//! where there is no Python or no registry, the test says that it is skipped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chain::keyfile::password::Password;
use chain::wallets::WalletArgs;
use chain::{AccountId, Keypair, keyfile, wallet};
use serde_json::{Value, json};

use crate::world::ledger;

const VERSION: &str = "4.1.1";
const MESSAGE: &str = "signed on one side, verified on the other";
const PASSWORD: &str = "correct horse, battery";

/// A Python that has the package; `None` after saying why there is none.
fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bittensor-wallet-{VERSION}"));
    let (python, complete) = (home.join("bin/python"), home.join("complete"));
    let skip = |why: String| {
        println!("SKIPPED: the exchange of wallets with the package bittensor-wallet, because {why}");
        None
    };
    if complete.exists() {
        return Some(python);
    }
    let steps: [(&Path, Vec<&str>); 2] = [
        (Path::new("python3"), vec!["-m", "venv", "--clear", home.to_str()?]),
        (
            &python,
            vec![
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--retries",
                "1",
                "--timeout",
                "20",
            ],
        ),
    ];
    let package = format!("bittensor-wallet=={VERSION}");
    for (program, mut args) in steps {
        if args.contains(&"pip") {
            args.push(&package);
        }
        match Command::new(program).args(args).stdin(Stdio::null()).output() {
            Err(error) => return skip(format!("{}: {error}", program.display())),
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                return skip(said.trim().lines().last().unwrap_or("it failed in silence").to_owned());
            }
            Ok(_) => {}
        }
    }
    std::fs::write(complete, "").unwrap();
    Some(python)
}

fn ask(python: &Path, args: &[&str], given: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python_wallet.py");
    let mut child = Command::new(python)
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(given.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let answer = said
        .trim()
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    answer.unwrap_or_else(|| panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)))
}

fn ledger_wallet(args: &[&str], folder: &Path) -> String {
    let output: Output = ledger()
        .arg("wallet")
        .args(args)
        .args(["--wallet.name", "ours", "--wallet.hotkey", "first", "--wallet.path"])
        .arg(folder)
        .env("WALLET_TEST_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn signature(pair: &Keypair) -> String {
    hex::encode(pair.sign(MESSAGE.as_bytes()))
}

#[test]
fn wallets_go_both_ways_plain_and_encrypted() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let (ours, theirs) = (home.path().join("ours"), home.path().join("theirs"));

    // Made here, by the commands that a user has.
    let password = ["--wallet.password", "env:WALLET_TEST_PASSWORD"];
    let cold = ledger_wallet(&["new", "--coldkey", password[0], password[1]], &ours);
    let hot = ledger_wallet(&["new"], &ours);
    let args = |folder: &Path, name: &str, hotkey: &str| WalletArgs {
        name: Some(name.to_owned()),
        hotkey: Some(hotkey.to_owned()),
        path: Some(folder.to_owned()),
        password: None,
    };
    let secret = Password::new(PASSWORD);
    let mine = args(&ours, "ours", "first");
    let coldkey = keyfile::read_with(&mine.coldkey_file().unwrap(), Some(&secret)).unwrap();
    let hotkey = mine.read_hotkey(None).unwrap();
    assert_eq!(
        (coldkey.account().to_string(), hotkey.account().to_string()),
        (cold.clone(), hot.clone())
    );

    // Read there.
    let signatures = json!({"coldkey": signature(&coldkey), "hotkey": signature(&hotkey)});
    let given = json!({"message": MESSAGE, "signatures": signatures});
    let folders = [ours.to_str().unwrap(), theirs.to_str().unwrap()];
    let answer = ask(&python, &["read", folders[0], folders[1], PASSWORD], &given);
    let same = json!({"coldkey": cold, "hotkey": hot});
    assert_eq!((&answer["read"], &answer["public"]), (&same, &same));
    assert_eq!(answer["verified"], json!({"coldkey": true, "hotkey": true}));

    // Made there, read here.
    let first = args(&theirs, "theirs", "first");
    let read = [
        (
            "coldkey",
            keyfile::read_with(&first.coldkey_file().unwrap(), Some(&secret)).unwrap(),
        ),
        ("first", first.read_hotkey(None).unwrap()),
        ("derived", args(&theirs, "theirs", "derived").read_hotkey(None).unwrap()),
    ];
    let mut ours_now = serde_json::Map::new();
    for (name, pair) in &read {
        let made = &answer["made"][name];
        assert_eq!(made["address"], json!(pair.account().to_string()), "{name}");
        let theirs: [u8; 64] = hex::decode(made["signature"].as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap();
        assert!(wallet::verify(&pair.account(), MESSAGE.as_bytes(), &theirs), "{name}");
        assert!(!wallet::verify(&pair.account(), b"something else", &theirs), "{name}");
        assert!(
            !wallet::verify(&AccountId::new([7; 32]), MESSAGE.as_bytes(), &theirs),
            "{name}"
        );
        ours_now.insert(pair.account().to_string(), json!(signature(pair)));
    }
    let verified = ask(
        &python,
        &["verify"],
        &json!({"message": MESSAGE, "signatures": ours_now}),
    );
    assert!(
        verified.as_object().unwrap().len() == 3
            && verified.as_object().unwrap().values().all(|yes| *yes == json!(true))
    );
    let altered = json!({cold: signature(&hotkey)});
    let verified = ask(
        &python,
        &["verify"],
        &json!({"message": MESSAGE, "signatures": altered}),
    );
    assert!(
        verified.as_object().unwrap().values().all(|yes| *yes == json!(false)),
        "{verified}"
    );
}
