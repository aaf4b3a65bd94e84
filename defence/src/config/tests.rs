use std::time::Duration;

use alloy_primitives::{Address, B256};

use super::*;

fn read(text: &str) -> Result<Config, String> {
    let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
    config.check()?;
    Ok(config)
}

fn refused(text: &str, said: &[&str]) {
    let error = read(text).unwrap_err();
    for word in said {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn every_kind_is_read() {
    let config = read(
        r#"
        source = "validator-7"
        [[actions]]
        id = "stop"
        kind = "PAUSE_AGENT"
        function = "pause()"
        ladder = "stop"
        rung = 1
        [[actions]]
        id = "people"
        kind = "telegram"
        token = "env:TELEGRAM_TOKEN"
        chat_id = "-1001"
        ladder = "stop"
        rung = 2
        rate_limit = { count = 5, per = "1m" }
        retry = { base = "2s", total = "1h" }
        [[actions]]
        id = "slack"
        kind = "slack"
        url = "env:SLACK"
        min_severity = "critical"
        [[actions]]
        id = "discord"
        kind = "discord"
        url = "file:/run/secrets/discord"
        when_unknown = "escalate"
        [[actions]]
        id = "bot"
        kind = "discord"
        token = "env:D"
        channel = "77"
        [[actions]]
        id = "mail"
        kind = "email"
        host = "smtp.example.org"
        from = "Portcullis <p@example.org>"
        to = ["ops@example.org"]
        [[actions]]
        id = "hook"
        kind = "webhook"
        url = "https://example.org/hook"
        secret = "env:HOOK"
        invariants = [3]
        "#,
    )
    .unwrap();
    assert_eq!(config.actions.len(), 7);
    let Kind::PauseAgent {
        way: Way::Call { calldata, .. },
    } = &config.actions[0].kind
    else {
        panic!("no pause");
    };
    assert_eq!(hex::encode(calldata), "8456cb59", "the selector of pause()");
    assert_eq!(config.actions[1].retry.max, Duration::from_secs(60));
    assert_eq!(config.actions[3].when_unknown, WhenUnknown::Escalate);
    assert!(matches!(config.actions[5].kind, Kind::Email { port: 465, .. }));
}

#[test]
fn what_is_wrong_is_named() {
    let action = |rest: &str| format!("[[actions]]\nid = \"a\"\n{rest}");
    refused(&action("kind = \"slack\""), &["action `a`", "`url` is missing"]);
    refused(
        &action("kind = \"slack\"\nurl = \"env:U\"\nchat_id = \"7\""),
        &["`chat_id`", "slack"],
    );
    refused(&action("kind = \"slack\"\nurl = \"env:U\"\nurll = \"7\""), &["urll"]);
    refused(&action("kind = \"pigeon\""), &["pigeon"]);
    refused(
        &action("kind = \"slack\"\nurl = \"env:U\"\ntemplate = \"{{ invariant.nam }}\""),
        &["action `a`", "template"],
    );
    refused(
        &action("kind = \"slack\"\nurl = \"env:U\"\ntemplate = \"{% if %}\""),
        &["action `a`", "template"],
    );
    refused(
        &action("kind = \"pause_agent\"\nfunction = \"pause(bool)\""),
        &["pause(bool)", "calldata"],
    );
    refused(
        &action(
            "kind = \"email\"\nhost = \"mx.example.org\"\ntls = \"none\"\nuser = \"u\"\npassword = \"env:P\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]",
        ),
        &["mx.example.org", "clear"],
    );
    refused(
        &action("kind = \"email\"\nhost = \"h\"\nfrom = \"nobody\"\nto = [\"d@e.f\"]"),
        &["nobody"],
    );
    let twice = "[[actions]]\nid = \"a\"\nkind = \"slack\"\nurl = \"env:U\"\nladder = \"l\"\n";
    refused(&format!("{twice}{twice}"), &["two actions", "`a`"]);
    refused(
        &format!("{twice}{}", twice.replace("\"a\"", "\"b\"")),
        &["rung 0", "`l`"],
    );
    refused("sauce = \"x\"", &["sauce"]);
    refused("window = \"0s\"", &["window"]);
}

#[test]
fn secrets_are_not_printed() {
    let config =
        read("[[actions]]\nid = \"a\"\nkind = \"slack\"\nurl = \"https://hooks.example.org/T0/s3cret\"").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_pause_goes_to_the_protocol_to_a_guard_or_through_keepers() {
    let way = |rest: &str| {
        let read = read(&format!("[[actions]]\nid = \"a\"\nkind = \"pause_agent\"\n{rest}"));
        read.map(|config| match config.actions[0].kind.clone() {
            Kind::PauseAgent { way } => way,
            other => panic!("{other:?}"),
        })
    };
    let (guard, agent, job) = (
        Address::repeat_byte(0x11),
        Address::repeat_byte(0x22),
        B256::repeat_byte(0x33),
    );
    let at_guard = format!("guard = \"{guard}\"\n");
    let mut guarded = GuardedPause { guard, keepers: None };
    assert_eq!(way(&at_guard), Ok(Way::Guard(guarded)));
    let by_keepers = format!("{at_guard}agent = \"{agent}\"\njob = \"{job}\"\n");
    let keepers = |patience| Some(KeeperJob { agent, job, patience });
    guarded.keepers = keepers(Duration::from_millis(500));
    assert_eq!(way(&by_keepers), Ok(Way::Guard(guarded)));
    guarded.keepers = keepers(Duration::from_secs(2));
    assert_eq!(way(&format!("{by_keepers}patience = \"2s\"")), Ok(Way::Guard(guarded)));

    let refused = |rest: String, said: &str| {
        let error = way(&rest).unwrap_err();
        assert!(error.contains(said), "`{said}` is not in: {error}");
    };
    refused(format!("{at_guard}job = \"{job}\""), "go together");
    refused(format!("{at_guard}function = \"pause()\""), "one of");
    refused(format!("{at_guard}patience = \"1s\""), "`patience`");
    refused(format!("{by_keepers}patience = \"2h\""), "patience");
    refused(format!("function = \"pause()\"\nagent = \"{agent}\""), "`agent`");
    refused(format!("{at_guard}contract = \"{agent}\""), "`contract`");
}
