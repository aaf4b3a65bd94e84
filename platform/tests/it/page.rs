//! The page in a real browser: Chromium, headless, whose document and console are read.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use alloy::primitives::{Address, U256};
use billing::monitor::rule::Conclusion;
use platform::registry;
use platform::rest::Rest;
use platform::rest::key::Role;
use platform::rest::vault::Vault;

use crate::world::open;

/// The browser; `None`, said aloud, where there is none.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)));
    let found = named.into_iter().chain(found).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: the page was not opened, because there is no chromium in PATH (or set CHROMIUM)");
    }
    found
}

/// The document as it stands once the script has run, and what the console said.
async fn open_page(browser: &Path, url: &str, more: &[&str]) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
        ])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .args(more)
        .args(["--dump-dom", url])
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_runway_and_invariants_and_takes_no_name_for_markup() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let paid = store.add_service("vault", Address::repeat_byte(1)).await.unwrap();
    let unpaid = store
        .add_service("<img src=x onerror=alert(1)>", Address::repeat_byte(2))
        .await
        .unwrap();
    let draft = registry::parse(
        r#"{"contract": "0x5FbDB2315678afecb367f032d93F642f64180aa3", "type": ">=", "target": "7", "storage": "0x2", "name": "<script>document.title='taken'</script>"}"#,
    );
    store.add_invariants_of(Some(paid), &draft.unwrap()).await.unwrap();
    let runway = Conclusion::Paid {
        runway: 93_600,
        paid_until: 2_000_000_000,
        warn: false,
    };
    store.note_service(paid, true, &runway).await.unwrap();
    store
        .note_service(
            unpaid,
            false,
            &Conclusion::Unpaid {
                arrears: U256::from(12),
                since: 1,
            },
        )
        .await
        .unwrap();
    let vault = Vault::in_file(&folder.path().join("secrets")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/app", listener.local_addr().unwrap());
    let router = Rest::new(Arc::clone(&store), vault, Some(Role::Read)).router();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let (document, console) = open_page(&browser, &url, &[]).await;
    assert!(document.contains("1 d 2 h of runway"), "{document}{console}");
    assert!(document.contains("unpaid; 12 base units are missing"), "{document}");
    assert!(
        document.contains("&lt;img src=x onerror=alert(1)&gt;") && !document.contains("<img"),
        "{document}"
    );
    assert!(
        document.contains("&lt;script&gt;document.title") && document.contains("<title>Portcullis</title>"),
        "{document}"
    );
    assert!(document.contains(">live<"), "{document}");
    let errors: Vec<&str> = console.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(errors.is_empty(), "{errors:?}");

    if let Some(pictures) = std::env::var_os("PORTCULLIS_PICTURES") {
        for (name, more) in [
            ("page-light.png", vec!["--window-size=1280,900"]),
            (
                "page-dark.png",
                vec!["--window-size=1280,900", "--blink-settings=preferredColorScheme=0"],
            ),
            ("page-phone.png", vec!["--window-size=500,1200"]),
        ] {
            let picture = format!("--screenshot={}", Path::new(&pictures).join(name).display());
            open_page(&browser, &url, &[&more[..], &[&picture]].concat()).await;
        }
    }
    serving.abort();
}
