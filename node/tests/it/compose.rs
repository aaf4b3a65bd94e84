//! The files that bring the network up are clean, and every service of it says how it is and comes back when it ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `docker-compose config` of 1.29 or of 2.x, whichever is installed.
fn config() -> Option<String> {
    for (program, first) in [("docker-compose", None), ("docker", Some("compose"))] {
        let asked = Command::new(program).args(first).arg("version").output();
        if asked.is_ok_and(|version| version.status.success()) {
            let output = Command::new(program)
                .args(first)
                .arg("config")
                .current_dir(root())
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} config: {errors}");
            assert!(!errors.to_lowercase().contains("warn"), "{program} config: {errors}");
            return Some(String::from_utf8(output.stdout).unwrap());
        }
    }
    None
}

/// The keys of each service. What `config` prints has no anchors, and two blanks for each level.
fn services(config: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut services: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut within = None;
    for line in config.lines().skip_while(|line| *line != "services:").skip(1) {
        let depth = line.len() - line.trim_start().len();
        let key = line.trim().split(':').next().unwrap();
        match depth {
            0 => break,
            2 => {
                within = Some(key);
                services.entry(key).or_default();
            }
            4 => services.get_mut(within.unwrap()).unwrap().push(key),
            _ => {}
        }
    }
    services
}

#[test]
fn the_compose_file_is_clean_and_every_service_has_a_health_check_and_comes_back() {
    let Some(config) = config() else {
        println!(
            "SKIPPED: docker-compose.yml is not checked, because neither docker-compose nor docker compose is installed"
        );
        return;
    };
    let services = services(&config);
    let count = |kind: &str| services.keys().filter(|name| name.starts_with(kind)).count();
    assert_eq!((count("validator-"), count("miner-")), (3, 10));
    for name in ["postgres", "platform", "ledger", "prometheus", "grafana"] {
        assert!(services.contains_key(name), "no {name} in {:?}", services.keys());
    }
    for (service, keys) in &services {
        assert!(keys.contains(&"healthcheck"), "{service} has no health check");
        assert!(keys.contains(&"restart"), "{service} does not come back");
    }
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: the units are not checked, because systemd-analyze is not installed");
        return;
    }
    // The binaries need not be installed where this is checked.
    let folder = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for unit in std::fs::read_dir(root().join("ops/systemd")).unwrap() {
        let unit = unit.unwrap();
        let text = std::fs::read_to_string(unit.path()).unwrap();
        let lines: Vec<_> = text
            .lines()
            .map(|line| {
                if line.starts_with("ExecStart=") {
                    "ExecStart=/bin/true"
                } else {
                    line
                }
            })
            .collect();
        assert!(text.contains("\nExecStart=/usr/local/bin/"), "{:?}", unit.path());
        let copy = folder.path().join(unit.file_name());
        std::fs::write(&copy, lines.join("\n") + "\n").unwrap();
        units.push(copy);
    }
    assert!(units.len() >= 5, "{units:?}");
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args(&units)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("portcullis")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}
