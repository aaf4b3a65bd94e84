//! `bots` as a process, in a folder of a test's own; and the commands as they are meant to be used.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No wait lasts longer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bots"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let output = self.command(args).output().unwrap();
        Ended {
            code: output.status.code(),
            output: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it and expects success.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.output
    }

    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Looks until something is there.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_simulation_is_golden_and_gives_the_same_bytes_again() {
    let place = Place::new();
    let first = place.ok(&["simulate", "--report", "a.json"]);
    assert!(first.contains("as the golden growth vector says"), "{first}");
    assert_eq!(place.ok(&["simulate", "--report", "b.json"]), first);
    assert_eq!(
        std::fs::read(place.path("a.json")).unwrap(),
        std::fs::read(place.path("b.json")).unwrap()
    );
    let page = std::fs::read_to_string(place.path("a.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("population and supply"));
}

#[test]
fn memory_does_not_grow_from_ceremony_to_ceremony() {
    let place = Place::new();
    place.ok(&[
        "benchmark",
        "--miners",
        "50",
        "--ceremonies",
        "60",
        "--report",
        "long.json",
    ]);
    let costs = place.json("long.json")["costs"].as_array().unwrap().clone();
    assert_eq!(costs.len(), 60);
    let Some(memory) = costs
        .iter()
        .map(|cost| cost["resident"].as_f64())
        .collect::<Option<Vec<f64>>>()
    else {
        eprintln!("SKIPPED: memory of a long run, because this system does not say how much a process holds");
        return;
    };
    // Caches of the databases fill in the first ceremonies.
    assert!(
        memory[59] < 1.2 * memory[20],
        "{} and then {} bytes",
        memory[20],
        memory[59]
    );
}

/// Cron, faucet and driver: three processes on one state, through a whole ceremony.
#[test]
fn run_faucet_and_phase_take_a_community_through_a_ceremony() {
    let place = Place::new();
    let faucet = place.command(&["faucet", "--listen", "127.0.0.1:0", "--ready-file", "faucet.addr"]);
    let _faucet = Running({ faucet }.stdout(Stdio::null()).spawn().unwrap());
    let address = wait_for(|| std::fs::read_to_string(place.path("faucet.addr")).ok());
    let faucet = format!("http://{address}/api");

    let said = place.ok(&["init", "--seed", "5", "--faucet", &faucet]);
    assert!(
        said.contains("10 bootstrappers, 100 locations, REGISTERING of ceremony 1"),
        "{said}"
    );
    for (phase, next) in [
        ("REGISTERING", "1 ASSIGNING"),
        ("ASSIGNING", "1 ATTESTING"),
        ("ATTESTING", "2 REGISTERING"),
    ] {
        let said = place.ok(&["run", "--faucet", &faucet]);
        assert!(said.starts_with(&format!("ceremony 1 {phase}: 10 accounts")), "{said}");
        let said = place.ok(&["phase", "--once", "--block-time", "10ms"]);
        assert_eq!(said, format!("ceremony 1: {phase} ended (everybody is done)\n"));
        assert_eq!(place.ok(&["phase", "--show"]).trim_end(), next);
    }
    let said = place.ok(&["run", "--faucet", &faucet, "--json"]);
    let done: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        [&done["paid"], &done["endorsees"], &done["newbies"], &done["registered"]],
        [10, 10, 6, 26]
    );
}
