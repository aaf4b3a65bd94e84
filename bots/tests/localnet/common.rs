//! What the tests of `bots localnet` share: the binaries, a folder of a test's own, and a look at what a run leaves behind.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bots::localnet::report::Report;
use flate2::read::GzDecoder;

/// No wait of a test lasts longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// The folder that cargo builds into, with every binary of the network in it.
///
/// Cargo builds only this crate's own binary for its tests; the others are built here, in the same profile: once in a process, and,
/// where every test has a process of its own (nextest), once in a run.
pub(crate) fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_bots")).parent().unwrap().to_owned();
        let run = std::env::var("NEXTEST_RUN_ID").ok();
        let mut built_in = locked(&folder.join("localnet-tests.built"));
        let mut last = String::new();
        built_in.read_to_string(&mut last).unwrap();
        if run.is_none() || run.as_ref() != Some(&last) {
            build(&folder);
            built_in.set_len(0).unwrap();
            built_in.rewind().unwrap();
            built_in.write_all(run.unwrap_or_default().as_bytes()).unwrap();
        }
        folder
    })
}

fn build(folder: &Path) {
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    // The same selection as a run of all tests, so that such a run finds everything built: any other selection of crates would
    // build half of the dependencies again, with other features.
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test about its crate would be news to build scripts that look at it (ring's does), and all above them would
    // be built again.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|told| name.to_string_lossy().starts_with(told))
        {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .args([
            "test",
            "--no-run",
            "--quiet",
            "--workspace",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(folder.parent().unwrap())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .unwrap();
    assert!(built.success(), "the network's binaries do not build");
}

/// A file that nobody else has until it is dropped.
fn locked(path: &Path) -> File {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    file.lock().unwrap();
    file
}

/// A folder of one test's own, in which its runs put theirs, and the right to run a network.
///
/// One network at a time: fourteen processes of two tests at once would only show that this machine is busy.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    _turn: File,
}

impl Place {
    pub(crate) fn new() -> Self {
        let turn = locked(&binaries().join("localnet-tests.lock"));
        Self {
            folder: tempfile::tempdir().unwrap(),
            _turn: turn,
        }
    }

    /// A path outside the folder that runs use.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where runs put their folders.
    pub(crate) fn runs(&self) -> PathBuf {
        let runs = self.file("runs");
        std::fs::create_dir_all(&runs).unwrap();
        runs
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bots"));
        command
            .arg("localnet")
            .args(args)
            .env("TMPDIR", self.runs())
            .stdin(Stdio::null());
        command
    }

    /// Runs a race to its end, its nodes traced by the collector at `otlp`.
    pub(crate) fn race(&self, args: &[&str], otlp: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bots"));
        command
            .arg("race")
            .args(args)
            .env("TMPDIR", self.runs())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", otlp)
            .stdin(Stdio::null());
        Ended::from(command.output().unwrap())
    }

    /// Runs a network to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Ended::from(self.command(args).output().unwrap())
    }

    /// Runs a network to its end, which must be a good one, and gives its report.
    pub(crate) fn report(&self, args: &[&str]) -> Report {
        let path = self.file("report.json");
        let mut all = args.to_vec();
        all.extend(["--report", path.to_str().unwrap()]);
        let ended = self.run(&all);
        assert_eq!(ended.code, Some(0), "{}\n{}", ended.errors, ended.output);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Starts a network and waits until transactions come.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_until(args, "judged")
    }

    /// Starts a network and waits until it says this.
    pub(crate) fn start_until(&self, args: &[&str], word: &str) -> Running {
        let mut child = self
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(word) {
            assert_ne!(
                errors.read_line(&mut said).unwrap(),
                0,
                "the network ended before a transaction came:\n{said}"
            );
        }
        Running { child, errors }
    }

    /// Starts a network on a living chain and waits until its node runs.
    pub(crate) fn start_live(&self, args: &[&str]) -> Running {
        self.start_until(args, "the town stands")
    }

    /// Process ids of everything that works in this test's folder.
    pub(crate) fn processes(&self, word: &str) -> Vec<u32> {
        let folder = self.runs();
        let mine = |pid: &u32| {
            let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
                return false;
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(folder.to_str().unwrap()) && line.contains(word)
        };
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(mine).collect()
    }

    /// Waits until nothing works in this test's folder any more.
    pub(crate) fn await_no_process(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.processes("").is_empty() {
            assert!(
                Instant::now() < until,
                "processes stay behind: {:?}",
                self.processes("")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What runs left in the folder that is meant for theirs.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.runs())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// Nothing works, nothing lies around.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.processes(""), Vec::<u32>::new(), "processes stay behind");
        assert_eq!(self.left_behind(), Vec::<PathBuf>::new(), "files stay behind");
    }

    /// Writes some blocks of the built-in scenario, counted from 0, with its invariants; gives both paths.
    pub(crate) fn scenario_blocks(&self, blocks: std::ops::Range<usize>) -> [String; 2] {
        let mut text = String::new();
        GzDecoder::new(scenario().as_slice()).read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let cases = self.file("blocks.ndjson");
        std::fs::write(&cases, lines[blocks].join("\n")).unwrap();
        let invariants = in_scenarios("vault-reentrancy.invariants.json");
        [cases, invariants].map(|path| path.to_str().unwrap().to_owned())
    }
}

/// The scenario as it is checked in.
pub(crate) fn scenario() -> Vec<u8> {
    std::fs::read(in_scenarios("vault-reentrancy.ndjson.gz")).unwrap()
}

/// A folder of real data; `None` after saying that it is not there.
pub(crate) fn real(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("PORTCULLIS_DATA").map_or(beside, PathBuf::from);
    let there = data.join(folder);
    if !there.is_dir() {
        eprintln!(
            "SKIPPED: real {folder} through the network, because {} is not there",
            there.display()
        );
        return None;
    }
    Some(there)
}

pub(crate) fn in_scenarios(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios")).join(name)
}

/// Where anvil is; where it is nowhere, says that `what` is not tested.
pub(crate) fn anvil(what: &str) -> Option<PathBuf> {
    let path = testkit::anvil_path();
    if path.is_none() {
        eprintln!("SKIPPED: {what}, because anvil is not installed (make tools, or ANVIL=PATH)");
    }
    path
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Ended {
    /// The one line that says what was wrong.
    pub(crate) fn error(&self) -> &str {
        let lines: Vec<&str> = self.errors.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "one line says what was wrong:\n{}", self.errors);
        assert!(!self.errors.contains("panicked"), "{}", self.errors);
        lines[0]
    }

    pub(crate) fn assert_interrupted(&self) {
        assert_eq!(
            (self.code, self.error()),
            (Some(130), "error: interrupted"),
            "{}",
            self.errors
        );
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            output: text(output.stdout),
            errors: text(output.stderr),
        }
    }
}

/// A network under way.
pub(crate) struct Running {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).unwrap();
        Ended {
            code: self.child.wait().unwrap().code(),
            output: String::new(),
            errors,
        }
    }
}

/// Sends a signal, as a shell does.
pub(crate) fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "no signal {name} could be sent to {pid}");
}

/// Writes a compressed file.
pub(crate) fn write_gz(path: &Path, content: &[u8]) {
    let mut gz = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    gz.write_all(content).unwrap();
    gz.finish().unwrap();
}
