//! `ledger wallet` as a user meets it: keys are made once, taken over, listed and shown, and what is wrong is said in one line that
//! holds no secret.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use chain::keyfile;
use serde_json::Value;

use crate::world::ledger;

const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
const ADDRESS: &str = "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH";

/// `ledger wallet ARGS` with the wallet `mine` in `home`.
fn wallet(home: &Path, args: &[&str]) -> Output {
    ledger()
        .arg("wallet")
        .args(args)
        .args(["--wallet.name", "mine", "--wallet.path"])
        .arg(home)
        .env("WALLET_TEST_PASSWORD", "correct horse")
        .env("WALLET_TEST_WRONG", "wrong horse")
        .env("WALLET_TEST_WORDS", WORDS)
        .env("WALLET_TEST_BAD_WORDS", WORDS.replace("about", "zebra"))
        .output()
        .unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

/// The one line of a command that was refused.
#[track_caller]
fn refused(output: &Output) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.trim().lines().count(), 1, "{line}");
    for secret in ["abandon", "correct horse", "wrong horse"] {
        assert!(!line.contains(secret), "{line}");
    }
    line
}

#[test]
fn a_hotkey_is_made_in_its_wallet_with_its_words_kept_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let words = home.path().join("words");
    let made = said(&wallet(
        home.path(),
        &["new", "--wallet.hotkey", "first", "--words-to", words.to_str().unwrap()],
    ));
    let file = home.path().join("mine/hotkeys/first");
    assert_eq!(keyfile::read(&file).unwrap().account().to_string(), made);
    assert_eq!(
        keyfile::parse(&std::fs::read_to_string(&words).unwrap())
            .unwrap()
            .account()
            .to_string(),
        made
    );
    for private in [&words, &file] {
        assert_eq!(std::fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(said(&wallet(home.path(), &["show", "--wallet.hotkey", "first"])), made);
    let again = refused(&wallet(home.path(), &["new", "--wallet.hotkey", "first"]));
    assert!(again.contains("never overwritten"), "{again}");
}

#[test]
fn a_coldkey_is_taken_over_under_a_password_and_opens_with_no_other() {
    let home = tempfile::tempdir().unwrap();
    let import = ["import", "--coldkey", "--from", "env:WALLET_TEST_WORDS"];
    let bare = refused(&wallet(home.path(), &import));
    assert!(bare.contains("--wallet.password"), "{bare}");
    let with = |args: &[&str], place: &str| wallet(home.path(), &[args, &["--wallet.password", place]].concat());
    assert_eq!(said(&with(&import, "env:WALLET_TEST_PASSWORD")), ADDRESS);
    let file = home.path().join("mine/coldkey");
    assert!(keyfile::is_encrypted(&file).unwrap());

    let wrong = refused(&with(&["show", "--coldkey"], "env:WALLET_TEST_WRONG"));
    assert!(
        wrong.contains("the password is wrong") && wrong.contains("mine/coldkey"),
        "{wrong}"
    );
    // Without a password the public part says whose it is.
    assert_eq!(said(&wallet(home.path(), &["show", "--coldkey"])), ADDRESS);

    let content = std::fs::read(&file).unwrap();
    std::fs::write(&file, &content[..40]).unwrap();
    let cut = refused(&with(&["show", "--coldkey"], "env:WALLET_TEST_PASSWORD"));
    assert!(cut.contains("cut off"), "{cut}");
}

#[test]
fn wallets_are_listed_as_a_table_and_as_json() {
    let home = tempfile::tempdir().unwrap();
    let import = [
        "import",
        "--coldkey",
        "--no-password",
        "--from",
        "env:WALLET_TEST_WORDS",
    ];
    assert_eq!(said(&wallet(home.path(), &import)), ADDRESS);
    let hotkey = said(&wallet(home.path(), &["new", "--wallet.hotkey", "first"]));
    let table = said(&wallet(home.path(), &["list"]));
    assert!(
        table.contains(ADDRESS) && table.contains(&hotkey) && table.contains("hotkeys/first"),
        "{table}"
    );
    let json: Value = serde_json::from_str(&said(&wallet(home.path(), &["list", "--json"]))).unwrap();
    assert_eq!(json[0]["name"], "mine");
    assert_eq!(
        (&json[0]["coldkey"]["address"], &json[0]["coldkey"]["form"]),
        (&ADDRESS.into(), &"plain".into())
    );
    assert_eq!(json[0]["hotkeys"][0]["address"], Value::from(hotkey));
}

#[test]
fn bad_input_is_named_and_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| refused(&wallet(home.path(), args));
    let new = ["new", "--wallet.hotkey", "first"];
    let place = |place: &'static str| run(&[&new[..], &["--wallet.password", place]].concat());
    assert!(place("correct horse").contains("env:NAME or file:PATH"));
    assert!(place("env:NO_SUCH_PASSWORD").contains("NO_SUCH_PASSWORD"));
    assert!(place("file:/no/such/password").contains("/no/such/password"));
    assert!(run(&["import", "--wallet.hotkey", "a", "--from", WORDS]).contains("env:NAME or file:PATH"));
    assert!(run(&["import", "--wallet.hotkey", "a", "--from", "env:WALLET_TEST_BAD_WORDS"]).contains("mnemonic"));
    assert!(run(&["new", "--wallet.hotkey", "../../first"]).contains("--wallet.hotkey"));
    assert!(run(&["show", "--wallet.hotkey", "nobody"]).contains("mine/hotkeys/nobody"));
    assert!(run(&["new", "--coldkey"]).contains("--no-password"));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing was made");
}
