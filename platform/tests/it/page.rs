//! The page in a real browser: what it shows, what its forms say, and that it takes no name for markup.

use alloy::primitives::{Address, U256};
use billing::monitor::rule::Conclusion;
use platform::rest::actions::MASK;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::until;

use crate::browser::Page;
use crate::seen;
use crate::served::World;

/// What must never happen, in every place where people write something.
const EVIL: [&str; 4] = [
    "<img src=x onerror=\"window.taken=1\">",
    "<script>window.taken=1</script>",
    "'; DROP TABLE invariants; --",
    "\"><svg onload=window.taken=1>",
];

/// A platform with something on every view.
async fn world() -> World {
    let world = World::new().await;
    let vault = json!({ "address": seen::VAULT.to_string(), "name": "vault", "layout": seen::layout() });
    world.make("/v1/contracts", vault).await;
    let paid = world
        .store
        .add_service("vault protocol", Address::repeat_byte(1))
        .await
        .unwrap();
    let unpaid = world
        .store
        .add_service("late payer", Address::repeat_byte(2))
        .await
        .unwrap();
    let runway = Conclusion::Paid {
        runway: 93_600,
        paid_until: 2_000_000_000,
        warn: false,
    };
    world.store.note_service(paid, true, &runway).await.unwrap();
    let arrears = Conclusion::Unpaid {
        arrears: U256::from(12),
        since: 1,
    };
    world.store.note_service(unpaid, false, &arrears).await.unwrap();
    let solvency = json!({ "name": "solvency", "expression": "vault.totalAssets >= 100", "severity": "critical", "service": "vault protocol" });
    let id = world.make("/v1/invariants", solvency).await;
    let logged = seen::log(&world.store, &[(1_000, 900), (1_000, 3)]).await;
    seen::incident(&world.store, id, "solvency", logged[1], "paused by 0x00c0de").await;
    seen::subnet(&world.store).await;
    world
}

/// Waits until the page shows this text.
async fn shows(page: &mut Page, text: &str) {
    page.until(&format!("document.body.innerText.includes({})", json!(text)))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_shows_what_is_known() {
    let Some(mut page) = Page::open().await else { return };
    let world = world().await;
    page.look(1280, 900, false).await;
    page.go(&world.url("/app")).await;
    for text in [
        "Nothing that was read is broken",
        "1 d 2 h of runway",
        "unpaid; 12 base units are missing",
        "live",
        "solvency",
        "seen to judged, p50",
    ] {
        shows(&mut page, text).await;
    }
    page.until("document.querySelector('#now dd').textContent !== '–'")
        .await;
    page.picture("page-light.png").await;
    page.go(&world.url("/app#invariants")).await;
    for text in ["vault.totalAssets >= 100", "1,000", "900", "critical"] {
        shows(&mut page, text).await;
    }
    page.picture("page-invariants-light.png").await;
    page.go(&world.url("/app#invariant/1")).await;
    for text in ["What the network judges", "slot 0x0 as uint256 at byte 0 >= 100"] {
        shows(&mut page, text).await;
    }
    page.go(&world.url("/app#incidents")).await;
    shows(&mut page, "1,000 → 3").await;
    page.go(&world.url("/app#incident/1")).await;
    for text in [
        "vault.totalAssets >= 100",
        "contained",
        "fired",
        "by pause",
        "paused by 0x00c0de",
        "ahead of the attack",
        "4 of 5",
        "ether (wei)",
        "and 5 more balances",
    ] {
        shows(&mut page, text).await;
    }
    let changes = page
        .evaluate("[...document.querySelectorAll('.balances tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))")
        .await;
    assert_eq!(
        changes,
        json!([
            ["0xb1b1b1…b1b1", "-1,000,000,000,000,000,000,000", "0xc0c0c0…c0c0"],
            ["0xa1a1a1…a1a1", "997", "0xc0c0c0…c0c0"],
            ["0xa1a1a1…a1a1", "-21,000", "ether (wei)"],
        ])
    );
    let witness = page.evaluate("document.getElementById('witness').innerText").await;
    let digest = format!("0x{}", "07".repeat(32));
    for text in ["1,000", "3", digest.as_str()] {
        assert!(witness.as_str().unwrap().contains(text), "{witness}");
    }
    page.picture("page-incident-light.png").await;
    page.go(&world.url("/app#miners")).await;
    for text in ["127.0.0.1:9004", "2.5 ms", "75.0 %", "98 / 99 / 100"] {
        shows(&mut page, text).await;
    }
    let curves = page
        .evaluate("[...document.querySelectorAll('svg.curve title')].map((t) => t.textContent)")
        .await;
    assert_eq!(
        curves.as_array().unwrap().len(),
        6,
        "score, incentive and latency of two miners: {curves}"
    );
    assert!(curves[2].as_str().unwrap().contains("2.5 ms"), "{curves}");
    page.picture("page-miners-light.png").await;
    page.go(&world.url("/app#validators")).await;
    shows(&mut page, "100.0 %").await;
    page.go(&world.url("/app#contracts")).await;
    shows(&mut page, &seen::VAULT.to_string()).await;
    seen::log(&world.store, &[(60, 60), (60, 60), (60, 50)]).await;
    // What was looked up is kept for half a second.
    let look = async || world.get("/v1/values/1").await.1;
    until("the new value is known", look, |one| one["holds"] == false).await;
    page.go(&world.url("/app#overview")).await;
    for text in ["1 of 1 invariant broken now", "-40"] {
        shows(&mut page, text).await;
    }
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_says_what_is_wrong_as_it_is_typed_and_puts_in_force_what_is_right() {
    let Some(mut page) = Page::open().await else { return };
    let world = world().await;
    page.look(1280, 1000, false).await;
    page.go(&world.url("/app#admin")).await;
    page.fill("input[name=key]", &world.key).await;
    page.click("form button").await;
    page.until("sessionStorage.getItem('portcullis-key')").await;
    page.go(&world.url("/app#new")).await;
    page.fill("input[name=name]", "reserve").await;
    page.fill("textarea[name=expression]", "vault.totalAsets >= 7").await;
    page.until("document.getElementById('field-expression-wrong').textContent.includes('^')")
        .await;
    let wrong = page
        .evaluate("document.getElementById('field-expression-wrong').textContent")
        .await;
    assert!(wrong.as_str().unwrap().contains("totalAsets"), "{wrong}");
    assert_eq!(
        page.evaluate("document.getElementById('field-expression').getAttribute('aria-invalid')")
            .await,
        "true"
    );
    assert_eq!(
        page.evaluate("document.querySelector('button[type=submit]').disabled")
            .await,
        true
    );
    page.picture("page-form-light.png").await;

    page.fill("textarea[name=expression]", "vault.totalAssets * 2 >= 7")
        .await;
    shows(&mut page, "* 2 >= 7").await;
    shows(&mut page, "The network judges this.").await;
    page.fill("textarea[name=expression]", "vault.totalAssets >= 50").await;
    shows(&mut page, "The network judges this.").await;
    assert_eq!(
        page.evaluate("document.getElementById('field-expression').getAttribute('aria-invalid')")
            .await,
        Value::Null
    );
    page.click("#verdict ~ p button[type=button]").await;
    shows(&mut page, "On the newest 2 transactions").await;
    let tried = page.evaluate("document.getElementById('tried').innerText").await;
    assert!(tried.as_str().unwrap().contains("-47"), "the margin after: {tried}");
    page.evaluate("document.getElementById('tried').scrollIntoView({ block: 'end' })")
        .await;
    page.picture("page-tried-light.png").await;
    page.click("button[type=submit]").await;
    shows(&mut page, "Invariant 2").await;
    let (_, made) = world.get("/v1/invariants/2").await;
    assert_eq!((&made["name"], &made["target"]), (&json!("reserve"), &json!("50")));

    page.go(&world.url("/app#edit/2")).await;
    page.until("document.querySelector('textarea[name=expression]').value === 'vault.totalAssets >= 50'")
        .await;
    page.fill("textarea[name=expression]", "vault.totalAssets >= 60").await;
    page.until("!document.querySelector('button[type=submit]').disabled")
        .await;
    // Meanwhile somebody else changes it.
    let other = json!({ "name": "reserve", "expression": "vault.totalAssets >= 55" });
    let any = [("if-match", "*")];
    assert_eq!(
        world
            .send(&world.key, Method::PUT, "/v1/invariants/2", Some(other), &any)
            .await
            .status,
        200
    );
    page.click("button[type=submit]").await;
    shows(&mut page, "it was changed since you have read it").await;
    assert_eq!(
        world.get("/v1/invariants/2").await.1["target"],
        "55",
        "nobody's change is written over"
    );

    page.go(&world.url("/app#contracts")).await;
    page.fill("input[name=address]", "0x12").await;
    page.click("form button[type=submit]").await;
    page.until("document.getElementById('field-address-wrong').textContent.includes('40 hex digits')")
        .await;
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_shown_without_asking() {
    let Some(mut page) = Page::open().await else { return };
    let world = world().await;
    page.go(&world.url("/app#incidents")).await;
    shows(&mut page, "1,000 → 3").await;
    let logged = seen::log(&world.store, &[(1, 1), (1, 1), (1_000, 4)]).await;
    seen::incident(&world.store, 1, "broken again", logged[2], "").await;
    shows(&mut page, "broken again").await;
    // The platform ends, and the page says so.
    world.shutdown.cancel();
    page.until("document.getElementById('state').className !== 'good'")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn html_and_sql_in_every_field_are_text() {
    let Some(mut page) = Page::open().await else { return };
    let world = world().await;
    for (written, evil) in EVIL.into_iter().enumerate() {
        let name = format!("{evil}{written}");
        let invariant = json!({ "name": name, "expression": "vault.totalAssets >= 100", "description": evil });
        let id = world.make("/v1/invariants", invariant).await;
        let wire = json!({ "contract": seen::VAULT.to_string(), "type": "<", "target": "9999", "storage": "0x0", "variable": evil });
        world.make("/invariants", wire).await;
        world.make("/dashboards", json!({ "name": evil })).await;
        let action = json!({ "type": "TELEGRAM_ALERT", "network": "ethereum", "tg_api_key": evil, "tg_chat_id": evil, "role_id": evil,
            "function_sig": evil });
        let action = world.make("/defense-actions", action).await;
        assert_eq!(
            world.get(&format!("/defense-actions/{action}")).await.1["tg_api_key"],
            MASK
        );
        world.store.add_service(&name, Address::repeat_byte(9)).await.unwrap();
        let key = json!({ "name": evil, "role": "read" });
        assert_eq!(
            world
                .ask_with(&world.admin, Method::POST, "/v1/keys", Some(key))
                .await
                .0,
            201
        );
        let noise = vec![(1, 1); written + 3];
        let logged = seen::log(&world.store, &noise).await;
        seen::incident(&world.store, id, &name, logged[written + 2], evil).await;
    }
    let incidents = world.get("/v1/incidents").await.1["items"].as_array().unwrap().len();
    seen::audits(&world);
    page.go(&world.url("/app#admin")).await;
    page.fill("input[name=key]", &world.admin).await;
    page.click("form button").await;
    page.until("sessionStorage.getItem('portcullis-key')").await;
    let mut views: Vec<String> = [
        "overview",
        "invariants",
        "new",
        "contracts",
        "incidents",
        "miners",
        "validators",
        "audits",
        "admin",
    ]
    .map(str::to_owned)
    .to_vec();
    views.extend((1..=9).map(|id| format!("invariant/{id}")));
    views.extend((1..=9).map(|id| format!("edit/{id}")));
    views.extend((1..=incidents).map(|id| format!("incident/{id}")));
    views.push("<img src=x onerror=window.taken=1>".to_owned());
    let mut found = 0;
    for view in views.iter().rev().skip(1).rev() {
        page.go(&world.url(&format!("/app#{view}"))).await;
        let text = page.text().await;
        found += usize::from(EVIL.iter().any(|evil| text.contains(evil)));
        let alien = page
            .evaluate("document.querySelectorAll('main img, main script, main [onload], main [onerror]').length")
            .await;
        assert_eq!(alien, 0, "{view}");
    }
    let strange = format!("location.hash = {}", json!(views.last().unwrap()));
    page.evaluate(&strange).await;
    assert!(found >= 6, "the texts are shown as they are, on {found} views");
    // What is typed into the form and sent back in an error is text too.
    page.go(&world.url("/app#new")).await;
    page.fill("input[name=name]", EVIL[0]).await;
    page.fill("textarea[name=expression]", EVIL[1]).await;
    page.until("document.getElementById('field-expression-wrong').textContent.includes('<script>')")
        .await;
    assert_eq!(
        page.evaluate("window.taken ?? null").await,
        Value::Null,
        "nothing of it was run"
    );
    assert_eq!(page.evaluate("document.title").await, "New invariant – Portcullis");
    assert_eq!(
        world.get("/v1/invariants").await.1["items"].as_array().unwrap().len(),
        9,
        "the tables are there"
    );
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_fits_a_phone_by_day_and_by_night_and_is_reached_by_keyboard() {
    let Some(mut page) = Page::open().await else { return };
    let world = world().await;
    let ground = "getComputedStyle(document.body).backgroundColor";
    page.look(1280, 900, true).await;
    page.go(&world.url("/app")).await;
    shows(&mut page, "1 d 2 h of runway").await;
    let night = page.evaluate(ground).await;
    page.picture("page-dark.png").await;
    page.look(1280, 900, false).await;
    assert_ne!(page.evaluate(ground).await, night);
    page.look(390, 844, false).await;
    for view in [
        "overview",
        "invariants",
        "invariant/1",
        "new",
        "contracts",
        "incidents",
        "incident/1",
        "miners",
        "validators",
        "audits",
        "admin",
    ] {
        page.go(&world.url(&format!("/app#{view}"))).await;
        let wide = page.evaluate("document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().unwrap() <= 390, "{view} is {wide} pixels wide on a phone");
        let nameless = "[...document.querySelectorAll('input, textarea, select, button, a')]
            .filter((e) => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).length";
        assert_eq!(
            page.evaluate(nameless).await,
            0,
            "{view}: everything that can be used has a name"
        );
        let unseen = "[...document.querySelectorAll('td:not(:empty)')].filter((cell) => {
            const { left, right } = cell.getBoundingClientRect();
            return left < 0 || right > innerWidth;
        }).length";
        assert_eq!(
            page.evaluate(unseen).await,
            0,
            "{view}: every cell is seen without scrolling to the side"
        );
        match view {
            "overview" => page.picture("page-phone.png").await,
            "invariants" => page.picture("page-invariants-phone.png").await,
            _ => {}
        }
    }
    let named = "[...document.querySelectorAll('td')].every((cell) => getComputedStyle(cell, '::before').content.includes(cell.dataset.label))";
    page.go(&world.url("/app#invariants")).await;
    shows(&mut page, "solvency").await;
    assert_eq!(
        page.evaluate(named).await,
        true,
        "each cell stands behind its column's name"
    );
    page.look(390, 844, true).await;
    page.go(&world.url("/app#miners")).await;
    page.picture("page-miners-phone-dark.png").await;

    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0); document.body.focus()")
        .await;
    page.go(&world.url("/app#new")).await;
    page.evaluate("document.getElementById('skip').focus()").await;
    let mut reached = Vec::new();
    for _ in 0..20 {
        reached.push(page.tab().await);
    }
    for wanted in [
        "Overview",
        "Invariants",
        "Miners",
        "API",
        "name",
        "network",
        "contracts",
    ] {
        assert!(reached.iter().any(|one| one == wanted), "{wanted} in {reached:?}");
    }
    let outline = page
        .evaluate("document.querySelector('nav a').focus() ?? getComputedStyle(document.activeElement).outlineStyle")
        .await;
    assert_ne!(outline, "none", "what has the focus is seen");
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
}
