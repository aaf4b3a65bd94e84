//! The pages, the dashboard and the alerts name the metrics that the sources count, and no others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names in the sources look like this: a room, and more words.
const ROOMS: [&str; 12] = [
    "platform_",
    "validator_",
    "defence_",
    "miner_",
    "ledger_",
    "subtensor_",
    "state_",
    "sender_",
    "keeper_",
    "billing_",
    "audit_",
    "community_",
];
/// What Prometheus adds to a histogram's name.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Words of a text that look like a metric's name.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .filter(|word| {
            ROOMS
                .iter()
                .any(|room| word.starts_with(room) && word.len() > room.len())
        })
        .map(str::to_owned)
        .collect()
}

/// String literals right after a macro of `metrics`, and literals that end as metrics do in files that use it.
fn counted() -> BTreeSet<String> {
    let mut files = Vec::new();
    for room in std::fs::read_dir(root()).unwrap() {
        let folder = room.unwrap().path().join("src");
        if folder.is_dir() {
            sources(&folder, &mut files);
        }
    }
    let mut counted = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.contains("metrics::") {
            continue;
        }
        let mut after_macro = false;
        // Odd pieces are what stands in quotes; a source with an escaped quote only shifts what no metric's name is in.
        for (n, piece) in text.split('"').enumerate() {
            let is_name = names(piece).contains(piece);
            if n % 2 == 1 && is_name && (after_macro || piece.ends_with("_total") || file_gauges(&text, piece)) {
                counted.insert(piece.to_owned());
            }
            let piece = piece.trim_end();
            after_macro = ["counter!(", "gauge!(", "histogram!("]
                .iter()
                .any(|call| piece.ends_with(call));
        }
    }
    counted
}

/// Whether it is given to a closure that sets a gauge.
fn file_gauges(text: &str, name: &str) -> bool {
    text.contains(&format!("gauge(\"{name}\""))
}

fn documented() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        // Labels stand in braces behind the name.
        .flat_map(|name| names(name.split('{').next().unwrap()))
        .collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_counted() {
    let (counted, documented) = (counted(), documented());
    assert!(
        counted.len() > 50,
        "only {} metrics were found in the sources",
        counted.len()
    );
    let missing: Vec<_> = counted.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not have {missing:?}");
    let gone: Vec<_> = documented.difference(&counted).collect();
    assert!(gone.is_empty(), "docs/metrics.md has what nothing counts: {gone:?}");
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let documented = documented();
    for file in ["ops/grafana/portcullis.json", "ops/prometheus/alerts.yml"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let asked = names(&text);
        assert!(asked.len() >= 8, "{file} asks for {asked:?} alone");
        for name in asked {
            let metric = SERIES
                .iter()
                .find_map(|series| name.strip_suffix(series))
                .unwrap_or(&name);
            assert!(
                documented.contains(metric),
                "{file} asks for {name}, which no node counts"
            );
        }
    }
}
