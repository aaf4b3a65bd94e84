//! The web page: embedded files, served as they are.
//!
//! What always holds: the page needs nothing that the platform does not serve itself, runs no script but its own files (its content
//! security policy says so), and shows every name as text.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, media type, content.
const FILES: [(&str, &str, &str); 12] = [
    ("app.css", STYLE, include_str!("app.css")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("admin.js", SCRIPT, include_str!("admin.js")),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("chart.js", SCRIPT, include_str!("chart.js")),
    ("contracts.js", SCRIPT, include_str!("contracts.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("overview.js", SCRIPT, include_str!("overview.js")),
    ("invariants.js", SCRIPT, include_str!("invariants.js")),
    ("form.js", SCRIPT, include_str!("form.js")),
    ("incidents.js", SCRIPT, include_str!("incidents.js")),
    ("subnet.js", SCRIPT, include_str!("subnet.js")),
];

/// The page's files, under `/app`.
pub fn files() -> Router {
    let page = || file("text/html; charset=utf-8", include_str!("index.html"));
    let start = Router::new()
        .route("/app", get(async move || page()))
        .route("/app/", get(async move || page()));
    FILES.iter().fold(start, |router, (name, kind, text)| {
        router.route(&format!("/app/{name}"), get(async move || file(kind, text)))
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
