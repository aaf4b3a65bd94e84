//! Alerts as the channels get them.

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::violation::ConfirmedViolation;

fn action(kind: &str, template: Option<&str>) -> ActionConfig {
    let rest = match kind {
        "telegram" => "token = \"t\"\nchat_id = \"1\"",
        "email" => "host = \"h\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]",
        "webhook" => "url = \"env:U\"\nsecret = \"s\"",
        _ => "url = \"env:U\"",
    };
    let template = template
        .map(|text| format!("template = '''{text}'''"))
        .unwrap_or_default();
    let text = format!("[[actions]]\nid = \"a\"\nkind = \"{kind}\"\n{rest}\n{template}");
    toml::from_str::<Config>(&text).unwrap().actions.remove(0)
}

fn words(kind: &str, template: Option<&str>, violation: &ConfirmedViolation, suspects: usize) -> Words {
    let many = vec![violation.suspect.clone(); suspects];
    Templates::new(&action(kind, template))
        .unwrap()
        .render(&Facts {
            occasion: Occasion::Incident,
            source: "validator-7",
            key: "k",
            incident: 12,
            state: State::Open,
            violation,
            suspects: &many,
            total_suspects: suspects as u64,
            view: violation.view,
            suppressed: Suppressed::default(),
        })
        .unwrap()
}

#[test]
fn a_mail_tells_everything_in_plain_words() {
    let words = words("email", None, &sample::violation(), 1);
    assert_eq!(
        words.subject,
        "[Portcullis] HIGH: Example: the vault is solvent (incident 12)"
    );
    for said in [
        "totalAssets >= totalDebt does not hold after a pending transaction (Ethereum)",
        "1.5 ETH, value 1000 to 0",
        "-1000 of token 0x4444444444444444444444444444444444444444 for 0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa\n",
        "-0.5 ETH for 0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa\nand 2 more balances\n",
        "Miners: 4 of 5 agree, 5 asked; executed by the validator itself",
        "2027-01-15T08:00:00.055Z, 55 ms after it was seen; incident 12 at validator-7",
    ] {
        assert!(words.text.contains(said), "`{said}` is not in:\n{}", words.text);
    }
}

#[test]
fn each_channel_gets_its_own_marks() {
    let mut violation = sample::violation();
    violation.invariant.name = "a_b <c> *d*".into();
    let telegram = words("telegram", None, &violation, 1).text;
    assert!(telegram.starts_with("*HIGH: a\\_b <c\\> \\*d\\**\n"), "{telegram}");
    assert!(telegram.contains("\\(Ethereum\\)"), "{telegram}");
    assert!(words("slack", None, &violation, 1).text.contains("&lt;c&gt;"));
    assert!(words("discord", None, &violation, 1).text.starts_with("**HIGH"));
}

#[test]
fn a_persons_template_is_used_and_its_values_are_escaped() {
    let mut violation = sample::violation();
    violation.invariant.name = "x_y".into();
    let words = words(
        "telegram",
        Some("_{{ invariant.name }}_ at {{ source }}"),
        &violation,
        1,
    );
    assert_eq!(words.text, "_x\\_y_ at validator\\-7");
}

#[test]
fn a_webhook_gets_the_whole_incident() {
    let words = words("webhook", None, &sample::violation(), 2);
    let body: serde_json::Value = serde_json::from_str(&words.body).unwrap();
    assert_eq!(body["kind"], "incident");
    assert_eq!(body["suspects"][1]["value_wei"], "1500000000000000000");
    assert_eq!(body["incident"]["state"], "open");
}

#[test]
fn many_suspects_are_counted() {
    assert!(
        words("email", None, &sample::violation(), 9)
            .text
            .contains("and 4 more transactions")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn an_alert_always_fits(name in "\\PC{0,3000}", deltas in 0_usize..30, suspects in 0_usize..9) {
        let mut violation = sample::violation();
        violation.invariant.name = name;
        violation.suspect.deltas = vec![violation.suspect.deltas[0].clone(); deltas];
        for (kind, limit) in [("telegram", 4_096), ("slack", 4_096), ("discord", 2_000)] {
            let words = words(kind, None, &violation, suspects);
            prop_assert!(length(&words.text) + 100 < limit, "{kind}: {}", length(&words.text));
            prop_assert!(length(&words.plain) + 100 < limit, "{kind}: {}", length(&words.plain));
        }
    }
}
