//! Chromium, headless, driven over its own protocol (Chrome DevTools): a page that is typed into, and everything that it complains of.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

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

/// An open page.
pub(crate) struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    number: u64,
    /// Exceptions, errors on the console, and what the content security policy stopped.
    pub complaints: Vec<String>,
    _browser: tokio::process::Child,
    _home: tempfile::TempDir,
}

impl Page {
    /// Opens a browser; `None` where there is none.
    pub(crate) async fn open() -> Option<Self> {
        let program = chromium()?;
        let home = tempfile::tempdir().unwrap();
        let browser = tokio::process::Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let port = home.path().join("DevToolsActivePort");
        let told = async {
            loop {
                match std::fs::read_to_string(&port) {
                    Ok(text) if text.lines().count() == 2 => return text,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let told = tokio::time::timeout(LIMIT, told).await.expect("the browser starts");
        let (port, path) = told.split_once('\n').unwrap();
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}{path}"))
            .await
            .unwrap();
        let mut page = Self {
            socket,
            session: String::new(),
            number: 0,
            complaints: Vec::new(),
            _browser: browser,
            _home: home,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", attached).await;
        attached["sessionId"].as_str().unwrap().clone_into(&mut page.session);
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        Some(page)
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        loop {
            let answer = tokio::time::timeout(LIMIT, self.socket.next()).await.expect(method);
            let Message::Text(text) = answer.unwrap().unwrap() else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).unwrap();
            self.listen(&answer);
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Notes what the page complains of. A refused request is no complaint: the page shows it.
    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            Some("Log.entryAdded") => params["entry"]["level"] == "error" && params["entry"]["source"] != "network",
            _ => false,
        };
        if complaint {
            self.complaints.push(params.to_string());
        }
    }

    /// Goes to an address and waits until the view is shown.
    pub(crate) async fn go(&mut self, url: &str) {
        // The same page with another place after # is not loaded anew.
        self.call("Page.navigate", json!({ "url": url })).await;
        let view = url.split_once('#').map_or("overview", |(_, view)| view);
        self.until(&format!(
            "document.getElementById('main')?.dataset.shown === {}",
            json!(view)
        ))
        .await;
    }

    pub(crate) async fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until the script says true.
    pub(crate) async fn until(&mut self, script: &str) {
        let start = std::time::Instant::now();
        while self.evaluate(&format!("Boolean({script})")).await != true {
            if start.elapsed() > LIMIT {
                let text = self.text().await;
                panic!("never: {script}\n{text}\n{:?}", self.complaints);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// All that can be read on the page.
    pub(crate) async fn text(&mut self) -> String {
        self.evaluate("document.body.innerText")
            .await
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Types into a field, in the place of what is in it.
    pub(crate) async fn fill(&mut self, selector: &str, text: &str) {
        self.evaluate(&format!(
            "{{ const e = document.querySelector({}); e.focus(); e.select(); }}",
            json!(selector)
        ))
        .await;
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    pub(crate) async fn click(&mut self, selector: &str) {
        self.evaluate(&format!("document.querySelector({}).click()", json!(selector)))
            .await;
    }

    /// Presses the tabulator, and tells what has the focus then.
    pub(crate) async fn tab(&mut self) -> String {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            self.call("Input.dispatchKeyEvent", key).await;
        }
        let focus = "(document.activeElement.textContent || document.activeElement.name || '').trim()";
        self.evaluate(focus).await.as_str().unwrap().to_owned()
    }

    /// Looks at the page on a screen of this size, by day or by night.
    pub(crate) async fn look(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Keeps a picture, where pictures are wanted (`PORTCULLIS_PICTURES`, a folder).
    pub(crate) async fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("PORTCULLIS_PICTURES") else {
            return;
        };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let bytes = BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }
}
