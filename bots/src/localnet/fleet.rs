//! All processes of the network: started, waited for, watched, struck down and started again, and ended together.
//!
//! What always holds: a process that ends without being asked ends everything ([`FleetError::Ended`]); nothing that was started outlives
//! the fleet.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use node::exit::Code;
use tokio::time::Instant;

pub(crate) use super::folder::Folder;
use super::live::anvil::{guarded, listening};
use super::plan::Member;
use super::process::{CONT, KILL, Process, STOP, Spec, TERM, describe, last_lines};
use super::screen::{Alive, State};

/// How long a process may take until it serves: it may have to recover a database on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often a file that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long processes may take to end after SIGTERM; then they are killed.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Lines of a log that are quoted when its process ended.
const QUOTED_LINES: usize = 3;

/// A network that cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A binary that is not where it is looked for, or cannot be run.
    #[error(
        "cannot start {}: {reason} (it has to be beside `bots`, or in the folder named by --bin-dir; \
         `cargo build` builds all of them)", .program.display()
    )]
    Start {
        /// The binary.
        program: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A process that ended although it should not.
    #[error("{name} ended with {how}; its last words: {words}")]
    Ended {
        /// Which process.
        name: String,
        /// Its exit status, in words.
        how: String,
        /// The last lines of its log.
        words: String,
    },
    /// A process that says that something which it was given is wrong.
    #[error("{name}: {words}")]
    Refused {
        /// Which process.
        name: String,
        /// What it said.
        words: String,
    },
    /// A process that runs, but does not get ready.
    #[error("{name} is not ready after {} s; its last words: {words}", READY_WITHIN.as_secs())]
    NotReady {
        /// Which process.
        name: String,
        /// The last lines of its log.
        words: String,
    },
    /// A ready file that holds no address.
    #[error("{name} wrote `{content}` into its ready file, expected IP:PORT")]
    Address {
        /// Which process.
        name: String,
        /// What the file holds.
        content: String,
    },
    /// A member that was never started is asked for.
    #[error("{0} is not running")]
    Unknown(Member),
}

impl FleetError {
    /// The exit code that it comes to: what a child calls a configuration error is one of this command's too.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused { .. } | Self::Start { .. } => Code::Configuration,
            _ => Code::Restart,
        }
    }
}

/// The processes.
#[derive(Debug)]
pub(crate) struct Fleet {
    binaries: PathBuf,
    folder: Folder,
    running: BTreeMap<Member, Running>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    /// Known once it is ready.
    address: Option<SocketAddr>,
}

impl Fleet {
    /// Nobody yet; the binaries are in `binaries`.
    pub(crate) fn new(binaries: PathBuf, folder: Folder) -> Self {
        Self {
            binaries,
            folder,
            running: BTreeMap::new(),
        }
    }

    /// Who is up.
    pub(crate) fn alive(&self) -> Vec<Alive> {
        let state = |running: &Running| match (running.process.ended(), running.address) {
            (Some(_), _) => State::Down,
            (None, None) => State::Starting,
            (None, Some(_)) => State::Up,
        };
        let each = self.running.iter().map(|(member, running)| Alive {
            name: member.to_string(),
            state: state(running),
        });
        each.collect()
    }

    /// Starts a member's binary; what it logs goes to the log of this name.
    fn spawn(&self, member: Member, log: impl fmt::Display, args: Vec<OsString>) -> Result<Process, FleetError> {
        spawned(Spec {
            program: self.binaries.join(member.room()),
            args,
            log: self.folder.log(log),
        })
    }

    /// Starts a member. It serves on `listen` (port 0: a free one) and says so in its ready file.
    pub(crate) fn start(&mut self, member: Member, listen: SocketAddr, args: Vec<OsString>) -> Result<(), FleetError> {
        let ready = self.folder.ready(member);
        // A file of the process that was there before would be believed.
        let _absent = std::fs::remove_file(&ready);
        let mut all = args;
        all.extend([
            "--listen".into(),
            listen.to_string().into(),
            "--ready-file".into(),
            ready.into(),
            "--exit-with-parent".into(),
        ]);
        let process = self.spawn(member, member, all)?;
        self.running.insert(member, Running { process, address: None });
        Ok(())
    }

    /// Runs a member's binary once, for a command that ends by itself, and waits for it.
    pub(crate) async fn run_once(&self, name: &str, member: Member, args: Vec<OsString>) -> Result<(), FleetError> {
        let process = self.spawn(member, name, args)?;
        match process.wait(READY_WITHIN).await {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.ended(name, status)),
            None => Err(self.not_ready(name)),
        }
    }

    /// Starts anvil, which knows nothing of ready files and of its parent's end: a shell watches over it.
    pub(crate) fn start_node(&mut self, anvil: &Path, args: Vec<OsString>) -> Result<(), FleetError> {
        let process = spawned(Spec {
            program: "sh".into(),
            args: guarded(anvil.as_os_str(), args),
            log: self.folder.log(Member::Node),
        })?;
        self.running.insert(Member::Node, Running { process, address: None });
        Ok(())
    }

    /// Waits until a member serves.
    pub(crate) async fn ready(&mut self, member: Member) -> Result<SocketAddr, FleetError> {
        let address = if member == Member::Node {
            let says = |log: &str| listening(log).map(Ok);
            self.written(member, &self.folder.log(member), says).await?
        } else {
            self.announced(member, &self.folder.ready(member)).await?
        };
        let running = self.running.get_mut(&member).ok_or(FleetError::Unknown(member))?;
        running.address = Some(address);
        Ok(address)
    }

    /// Waits until a member has written this file, with an address that it serves on.
    pub(crate) async fn announced(&self, member: Member, path: &Path) -> Result<SocketAddr, FleetError> {
        self.written(member, path, |content| Some(parsed(member, content)))
            .await
    }

    /// Waits until a member's file says an address.
    async fn written(
        &self,
        member: Member,
        path: &Path,
        says: impl Fn(&str) -> Option<Result<SocketAddr, FleetError>>,
    ) -> Result<SocketAddr, FleetError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.check()?;
            if let Some(address) = std::fs::read_to_string(path).ok().as_deref().and_then(&says) {
                return address;
            }
            if Instant::now() > deadline {
                return Err(self.not_ready(&member.to_string()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn not_ready(&self, name: &str) -> FleetError {
        FleetError::NotReady {
            name: name.to_owned(),
            words: self.words(name),
        }
    }

    /// Where a member serves.
    pub(crate) fn address(&self, member: Member) -> Result<SocketAddr, FleetError> {
        self.running
            .get(&member)
            .and_then(|running| running.address)
            .ok_or(FleetError::Unknown(member))
    }

    /// Whether everybody is still there.
    pub(crate) fn check(&self) -> Result<(), FleetError> {
        let gone = self
            .running
            .iter()
            .find_map(|(member, running)| Some((member, running.process.ended()?)));
        gone.map_or(Ok(()), |(member, status)| Err(self.ended(&member.to_string(), status)))
    }

    /// Does `work`, unless a process ends before it is done.
    pub(crate) async fn guard<T, E: From<FleetError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        // Work that is always done at once would otherwise never let the watch look.
        self.check()?;
        let watch = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if let Err(ended) = self.check() {
                    return ended;
                }
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            ended = watch => Err(ended.into()),
        }
    }

    /// Kills a member without warning and starts it again on the same address; gives the time until it served again.
    pub(crate) async fn strike(&mut self, member: Member, args: Vec<OsString>) -> Result<Duration, FleetError> {
        let address = self.address(member)?;
        let victim = self.running.remove(&member).ok_or(FleetError::Unknown(member))?;
        let struck = Instant::now();
        victim.process.signal(KILL);
        victim.process.wait(END_WITHIN).await;
        drop(victim);
        self.start(member, address, args)?;
        self.ready(member).await?;
        Ok(struck.elapsed())
    }

    /// Lets a member stand still for a while; gives its address once it may go on.
    pub(crate) async fn freeze(&self, member: Member, time: Duration) -> Result<SocketAddr, FleetError> {
        let running = self.running.get(&member).ok_or(FleetError::Unknown(member))?;
        running.process.signal(STOP);
        tokio::time::sleep(time).await;
        running.process.signal(CONT);
        self.address(member)
    }

    /// Ends everybody: asks, waits five seconds, kills.
    pub(crate) async fn stop(&mut self) {
        let processes: Vec<(Member, Running)> = std::mem::take(&mut self.running).into_iter().collect();
        for (signal, patience) in [(TERM, END_WITHIN), (KILL, END_WITHIN)] {
            let alive = processes
                .iter()
                .filter(|(_, running)| running.process.ended().is_none());
            alive.for_each(|(member, running)| {
                if signal == KILL {
                    tracing::warn!("{member} did not end in {} s and is killed", END_WITHIN.as_secs());
                }
                running.process.signal(signal);
            });
            futures::future::join_all(processes.iter().map(|(_, running)| running.process.wait(patience))).await;
        }
    }

    fn ended(&self, name: &str, status: ExitStatus) -> FleetError {
        let name = name.to_owned();
        if status.code() == Some(Code::Configuration as i32) {
            let words = last_lines(&self.folder.log(&name), 1).concat();
            return FleetError::Refused {
                name,
                words: words.trim_start_matches("error: ").to_owned(),
            };
        }
        FleetError::Ended {
            how: describe(status),
            words: self.words(&name),
            name,
        }
    }

    fn words(&self, name: impl fmt::Display) -> String {
        let lines = last_lines(&self.folder.log(name), QUOTED_LINES);
        if lines.is_empty() {
            "none".to_owned()
        } else {
            lines.join(" | ")
        }
    }
}

fn spawned(spec: Spec) -> Result<Process, FleetError> {
    Process::start(&spec).map_err(|reason| FleetError::Start {
        program: spec.program,
        reason,
    })
}

/// The address in a member's file.
fn parsed(member: Member, content: &str) -> Result<SocketAddr, FleetError> {
    content.trim().parse().map_err(|_| FleetError::Address {
        name: member.to_string(),
        content: content.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a `miner` that is a shell: what it does is in the arguments.
    fn fleet() -> (tempfile::TempDir, Fleet) {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/sh", place.path().join("miner")).unwrap();
        let fleet = Fleet::new(place.path().to_owned(), Folder::new(place.path()));
        (place, fleet)
    }

    fn script(text: &str) -> Vec<OsString> {
        vec!["-c".into(), text.into()]
    }

    const ME: Member = Member::Miner(4);
    /// $0 to $3: --listen, its value, --ready-file, its value.
    const SERVES: &str = "echo $1 > $3.draft && mv $3.draft $3; exec cat";
    const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 4321);

    #[tokio::test]
    async fn a_member_is_started_struck_and_serves_again_on_its_address() {
        let (_place, mut fleet) = fleet();
        fleet.start(ME, ANYWHERE.into(), script(SERVES)).unwrap();
        assert_eq!(fleet.ready(ME).await.unwrap(), ANYWHERE.into());
        fleet.strike(ME, script(SERVES)).await.unwrap();
        assert_eq!(fleet.address(ME).unwrap(), ANYWHERE.into());
        fleet.check().unwrap();
        fleet.stop().await;
    }

    #[tokio::test]
    async fn a_member_that_ends_is_named_with_its_status_and_last_words() {
        let (_place, mut fleet) = fleet();
        fleet
            .start(ME, ANYWHERE.into(), script("echo 'the disk is full' >&2; exit 4"))
            .unwrap();
        let error = fleet.ready(ME).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("miner-4 ended with exit status 4") && text.contains("the disk is full"),
            "{text}"
        );
        assert_eq!(error.code(), Code::Restart);
    }

    #[tokio::test]
    async fn work_ends_when_a_member_does() {
        let (_place, mut fleet) = fleet();
        assert_eq!(fleet.guard(async { Ok::<_, FleetError>(7) }).await.unwrap(), 7);
        fleet.start(ME, ANYWHERE.into(), script("kill -9 $$")).unwrap();
        let error = fleet
            .guard(std::future::pending::<Result<(), FleetError>>())
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("miner-4 ended with signal 9 (SIGKILL)"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_members_configuration_error_is_one_of_ours() {
        let (_place, fleet) = fleet();
        let refuse = script("echo 'error: invariant 2: bad slot' >&2; exit 2");
        let error = fleet.run_once("invariants", ME, refuse).await.unwrap_err();
        assert_eq!(error.to_string(), "invariants: invariant 2: bad slot");
        assert_eq!(error.code(), Code::Configuration);
    }

    #[tokio::test]
    async fn a_missing_binary_says_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::new(place.path().join("no"), Folder::new(place.path()));
        let error = fleet.start(ME, ANYWHERE.into(), vec![]).unwrap_err();
        assert!(error.to_string().contains("--bin-dir"), "{error}");
        assert_eq!(error.code(), Code::Configuration);
    }
}
