//! Servers that a platform can stand on: PostgreSQL and NATS, each of one test's own.
//!
//! Started in a folder of their own on a port that is theirs as long as the value lives, also while they are down ([`Port`]), and ended
//! by their process id; `setpriv` ends them too when the test's process is killed. One that ends instead of answering ends the test with
//! what it said. Where they are not installed the test says so aloud and is skipped.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::port::Port;

/// How long a server may take to its first answer, on a busy machine.
const START: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A PostgreSQL server; ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    port: Port,
    _folder: TempDir,
}

/// A NATS server with JetStream; ended when dropped.
#[derive(Debug)]
pub struct Nats {
    server: Option<Child>,
    port: Port,
    folder: TempDir,
}

/// Starts PostgreSQL; `None`, after saying so, where it is not installed.
///
/// # Panics
/// When it is installed and does not start.
pub fn postgres() -> Option<Postgres> {
    let (Some(initdb), Some(postgres), Some(ready)) = (
        postgres_tool("initdb"),
        postgres_tool("postgres"),
        postgres_tool("pg_isready"),
    ) else {
        eprintln!(
            "SKIPPED: no PostgreSQL, because initdb, postgres and pg_isready are not installed (apt install postgresql)"
        );
        return None;
    };
    let folder = TempDir::new().unwrap_or_else(|error| panic!("a folder for PostgreSQL: {error}"));
    let data = folder.path().join("data");
    // It refuses to run as root.
    let user = is_root().then(|| own(folder.path(), "postgres"));
    let mut init = lowered(&initdb, user.is_some());
    init.args([
        "-A",
        "trust",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        "-D",
    ])
    .arg(&data);
    let said = init.output().unwrap_or_else(|error| panic!("initdb: {error}"));
    assert!(
        said.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    let port = Port::free();
    let mut server = lowered(&postgres, user.is_some());
    server
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(folder.path())
        .args(["-h", "127.0.0.1", "-p", &port.number().to_string()])
        .args([
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "max_connections=300",
        ]);
    let server = started(&mut server, folder.path(), || {
        let mut look = Command::new(&ready);
        look.args(["-q", "-h", "127.0.0.1", "-p", &port.number().to_string()]);
        look.status().is_ok_and(|status| status.success())
    });
    Some(Postgres {
        server,
        port,
        _folder: folder,
    })
}

/// Starts NATS with JetStream; `None`, after saying so, where it is not installed.
///
/// # Panics
/// When it is installed and does not start.
pub fn nats() -> Option<Nats> {
    if found("nats-server").is_none() {
        eprintln!("SKIPPED: no NATS, because nats-server is not installed (apt install nats-server)");
        return None;
    }
    let folder = TempDir::new().unwrap_or_else(|error| panic!("a folder for NATS: {error}"));
    let mut nats = Nats {
        server: None,
        port: Port::free(),
        folder,
    };
    nats.start();
    Some(nats)
}

impl Postgres {
    /// `postgres://postgres@127.0.0.1:PORT/postgres`, without a password.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port.number())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown, in which its own children end as well.
        let _gone = Command::new("kill")
            .args(["-INT", &self.server.id().to_string()])
            .status();
        let _ended = self.server.wait();
    }
}

impl Nats {
    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.number())
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _gone = server.kill();
            let _ended = server.wait();
        }
    }

    /// Starts it, again with what it has stored, at the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&mut self) {
        self.kill();
        let program = found("nats-server").unwrap_or_else(|| panic!("nats-server is gone"));
        let port = self.port.number();
        let mut server = bound_to_us(&program);
        server
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(self.folder.path());
        self.server = Some(started(&mut server, self.folder.path(), || greets(port)));
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a server and waits until it is ready.
fn started(command: &mut Command, folder: &Path, ready: impl Fn() -> bool) -> Child {
    let said = folder.join("said");
    let words = File::create(&said).unwrap_or_else(|error| panic!("{}: {error}", said.display()));
    let mut server = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = || std::fs::read_to_string(&said).unwrap_or_default();
    let begun = Instant::now();
    while !ready() {
        match server.try_wait() {
            Ok(None) if begun.elapsed() < START => sleep(LOOK),
            Ok(None) => {
                let _gone = server.kill();
                panic!("{command:?} does not answer within {START:?}: {}", said())
            }
            ended => panic!("{command:?} ended ({ended:?}): {}", said()),
        }
    }
    server
}

/// Whether a NATS server, and nobody else, listens there.
fn greets(port: u16) -> bool {
    let mut word = [0; 4];
    let greeting = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.read_exact(&mut word)
    });
    greeting.is_ok() && &word == b"INFO"
}

/// On the search path.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// On the search path, or where Debian puts PostgreSQL's programs: the newest version's.
fn postgres_tool(name: &str) -> Option<PathBuf> {
    found(name).or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut tools: Vec<PathBuf> = versions
            .flatten()
            .map(|version| version.path().join("bin").join(name))
            .collect();
        tools.retain(|file| file.is_file());
        tools.sort();
        tools.pop()
    })
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Gives a folder to a user.
fn own(folder: &Path, user: &str) {
    let given = Command::new("chown").arg(user).arg(folder).status();
    assert!(
        given.is_ok_and(|status| status.success()),
        "chown {user} {}",
        folder.display()
    );
}

/// Ends when this process ends, however it ends.
fn bound_to_us(program: &Path) -> Command {
    match found("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// As the user `postgres`, where this process is root's.
fn lowered(program: &Path, lower: bool) -> Command {
    if !lower {
        return bound_to_us(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--pdeathsig",
            "INT",
        ])
        .arg(program)
        .current_dir("/");
    command
}
