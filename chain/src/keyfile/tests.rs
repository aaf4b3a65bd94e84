use super::*;
use crate::mnemonic::{self, InvalidMnemonic};
use proptest::prelude::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_key_file_is_private_and_reads_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("wallets/default/hotkeys/miner");
    let pair = Keypair::generate();
    write(&path, &pair).unwrap();

    assert_eq!(read(&path).unwrap().account(), pair.account());
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "only the key and its public part: {names:?}");
    let public = path.with_file_name("minerpub.txt");
    let reason = read(&public).unwrap_err().to_string();
    assert!(
        reason.contains("minerpub.txt") && reason.contains("holds no secret"),
        "{reason}"
    );
}

#[test]
fn a_key_is_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("hotkey");
    let first = Keypair::generate();
    write(&path, &first).unwrap();
    assert!(matches!(
        write(&path, &Keypair::generate()),
        Err(KeyfileError::Exists(_))
    ));
    assert_eq!(read(&path).unwrap().account(), first.account());
}

#[test]
fn a_missing_file_is_named() {
    let reason = read(Path::new("no/such/hotkey")).unwrap_err().to_string();
    assert!(reason.contains("no/such/hotkey"), "{reason}");
}

#[test]
fn old_forms_are_read() {
    let pair = Keypair::from_seed([3; 32]);
    let seed = hex::encode([3u8; 32]);
    let old = format!(r#"{{"secretSeed": "0x{seed}", " ss58Address": "{}"}}"#, pair.account());
    for text in [seed.clone(), format!("0x{seed}\n"), old] {
        assert_eq!(parse(&text).unwrap().account(), pair.account());
    }
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    let address = "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH";
    let old = format!(r#"{{"secretPhrase": "{words}", "ss58Address": "{address}"}}"#);
    for text in [words, &old] {
        assert_eq!(parse(text).unwrap().account().to_string(), address);
    }
}

#[test]
fn an_encrypted_file_opens_with_its_password_only() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("wallets/default/coldkey");
    let (words, pair) = mnemonic::generate();
    let password = Password::new("golden-test-password");
    write_with(&path, &pair, Some(&words), Some(&password)).unwrap();
    assert_eq!(mode(&path), 0o600);
    let content = fs::read(&path).unwrap();
    assert!(content.starts_with(b"$NACL"));

    assert_eq!(read_with(&path, Some(&password)).unwrap().account(), pair.account());
    let reason = |error: KeyfileError| match error {
        KeyfileError::Content { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let wrong = Password::new("golden-test-passwort");
    assert_eq!(
        reason(read_with(&path, Some(&wrong)).unwrap_err()),
        ContentError::WrongPassword
    );
    assert_eq!(reason(read(&path).unwrap_err()), ContentError::Encrypted("NaCl"));
    assert_eq!(
        read_public(&path.with_file_name("coldkeypub.txt")).unwrap(),
        pair.account()
    );

    fs::write(&path, &content[..40]).unwrap();
    let cut = reason(read_with(&path, Some(&password)).unwrap_err()).to_string();
    assert!(cut.contains("cut off"), "{cut}");
}

#[test]
fn a_key_is_not_written_beside_anothers_public_part() {
    let home = tempfile::tempdir().unwrap();
    let (cold, path) = (Keypair::generate(), home.path().join("coldkey"));
    write(&path, &cold).unwrap();
    fs::remove_file(&path).unwrap();
    let refused = write(&path, &Keypair::generate()).unwrap_err();
    assert!(matches!(refused, KeyfileError::PublicPart { .. }), "{refused}");
    assert!(!path.exists());
    write(&path, &cold).unwrap();
    assert_eq!(address(&path, None).unwrap(), cold.account());
}

#[test]
fn words_of_another_key_are_not_written() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("hotkey");
    let (words, _) = mnemonic::generate();
    let refused = write_with(&path, &Keypair::generate(), Some(&words), None).unwrap_err();
    assert!(refused.to_string().contains("secretPhrase"), "{refused}");
    assert!(!path.exists());
}

#[test]
fn unusable_content_is_told_apart() {
    let other = Keypair::from_seed([4; 32]).account();
    let seed = hex::encode([3u8; 32]);
    let derived = Keypair::from_seed([3; 32]).account();
    let lying = format!(r#"{{"secretSeed": "0x{seed}", "ss58Address": "{other}"}}"#);
    assert_eq!(
        parse(&lying).unwrap_err(),
        ContentError::Mismatch {
            field: "ss58Address",
            stated: other,
            derived
        }
    );
    assert_eq!(parse("$NACL....").unwrap_err(), ContentError::Encrypted("NaCl"));
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon";
    assert_eq!(parse(words).unwrap_err(), ContentError::Mnemonic(InvalidMnemonic));
    assert_eq!(
        parse("$ANSIBLE_VAULT;1.1;AES256").unwrap_err(),
        ContentError::Legacy("an Ansible vault")
    );
    assert_eq!(parse("gAAAAABk").unwrap_err(), ContentError::Legacy("Fernet"));
    assert_eq!(
        parse(&format!(r#"{{"secretSeed": "{seed}", "cryptoType": 0}}"#)).unwrap_err(),
        ContentError::CryptoType(0)
    );
    assert!(matches!(parse(""), Err(ContentError::Malformed(_))));
    assert!(matches!(
        parse("{\"secretSeed\": \"0x12"),
        Err(ContentError::Malformed(_))
    ));
    assert!(matches!(
        parse("0x1234"),
        Err(ContentError::Field { field: "seed", .. })
    ));
}

#[test]
fn an_error_never_quotes_the_secret() {
    let secret = "0xdeadbeefdeadbeef";
    for text in [
        format!(r#"{{"privateKey": "{secret}"}}"#),
        format!(r#"{{"cryptoType": "{secret}"}}"#),
        format!(r#"{{"secretSeed": ["{secret}"]}}"#),
        secret.to_owned(),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("deadbeef"), "{error:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_an_answer_and_no_panic(text: String) {
        let _answer = parse(&text);
        let _answer = parse(&format!("{{{text}}}"));
    }
}
