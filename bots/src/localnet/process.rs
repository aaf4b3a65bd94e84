//! One child process: started in a group of its own, watched by a task, ended by a signal.
//!
//! A child never outlives its parent: its standard input is a pipe that closes when the parent ends in any way (the child has
//! `--exit-with-parent`), and it is killed when its task is dropped. What it logs goes to a file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};

/// Bytes at the end of a log that are searched for its last lines.
const LOG_TAIL: u64 = 16 << 10;

/// SIGTERM: please end.
pub(crate) const TERM: i32 = 15;
/// SIGKILL: ends without a word.
pub(crate) const KILL: i32 = 9;
/// SIGSTOP: stands still.
pub(crate) const STOP: i32 = if cfg!(target_os = "linux") { 19 } else { 17 };
/// SIGCONT: goes on.
pub(crate) const CONT: i32 = if cfg!(target_os = "linux") { 18 } else { 19 };

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The binary.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Where standard output and standard error go, after what is there already.
    pub(crate) log: PathBuf,
}

/// A running, or ended, child.
#[derive(Debug)]
pub(crate) struct Process {
    signals: mpsc::Sender<i32>,
    exit: watch::Receiver<Option<ExitStatus>>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// A binary that is not there or cannot be run, or a log that cannot be written.
    pub(crate) fn start(spec: &Spec) -> std::io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
        let errors = log.try_clone()?;
        let mut command = CommandWrap::with_new(&spec.program, |command| {
            // A configuration of the user's own nodes is not this network's.
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PORTCULLIS_")) {
                command.env_remove(name);
            }
            command
                .args(&spec.args)
                .stdin(Stdio::piped())
                .stdout(Stdio::from(log))
                .stderr(Stdio::from(errors));
        });
        let mut child = command.wrap(ProcessGroup::leader()).wrap(KillOnDrop).spawn()?;
        // `wait` closes a standard input that the child still owns, and that would end it.
        let lifeline = child.stdin().take();
        // At most two signals wait for one child (stop and go on, or please end and end); a fifth would be dropped.
        let (signals, inbox) = mpsc::channel(4);
        let (ended, exit) = watch::channel(None);
        let task = tokio::spawn(supervise(lifeline, child, inbox, ended));
        Ok(Self {
            signals,
            exit,
            _task: tokio_util::task::AbortOnDropHandle::new(task),
        })
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Sends it a signal; to one that has ended, nothing is sent.
    pub(crate) fn signal(&self, signal: i32) {
        let _ended_already = self.signals.try_send(signal);
    }

    /// Waits for its end, at most for `limit`.
    pub(crate) async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = tokio::time::timeout(limit, exit.wait_for(Option::is_some)).await;
        ended.ok()?.ok().and_then(|status| *status)
    }
}

/// Dropped, it first kills the child and only then closes its standard input: arguments go in reverse order.
async fn supervise(
    mut lifeline: Option<ChildStdin>,
    mut child: Box<dyn ChildWrapper>,
    mut inbox: mpsc::Receiver<i32>,
    ended: watch::Sender<Option<ExitStatus>>,
) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = inbox.recv() => match signal {
                Some(signal) => {
                    if let Err(error) = child.signal(signal) {
                        tracing::debug!(%error, "the child has ended already");
                    }
                    // Both say the same to it.
                    if signal == TERM {
                        lifeline = None;
                    }
                }
                None => return,
            },
        }
    };
    drop(lifeline);
    match status {
        Ok(status) => ended.send_replace(Some(status)),
        Err(error) => {
            tracing::error!(%error, "a child cannot be waited for");
            ended.send_replace(Some(ExitStatus::from_raw(0xff00)))
        }
    };
}

/// How a process ended, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}{}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// The last `count` lines of a log, oldest first, without terminal colours; none when it cannot be read.
pub(crate) fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let tail = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = tail().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<String> = text
        .lines()
        .map(without_colours)
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .into_iter()
        .rev()
        .take(count)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}

/// Removes the escape sequences that colour a terminal.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        if next == '\u{1b}' {
            // ESC [ parameters, up to a letter.
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(next);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Spec {
        Spec {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            log: folder.join("log"),
        }
    }

    #[tokio::test]
    async fn an_end_is_noticed_with_its_status_and_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let spec = shell(
            "echo one; echo two >&2; printf '\\033[31mthree\\033[0m\\n\\n'; exit 7",
            folder.path(),
        );
        let child = Process::start(&spec).unwrap();
        let status = child.wait(Duration::from_secs(20)).await.unwrap();
        assert_eq!(describe(status), "exit status 7");
        assert_eq!(child.ended(), Some(status));
        assert_eq!(last_lines(&spec.log, 2), ["two", "three"]);
    }

    #[tokio::test]
    async fn a_signal_reaches_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        // The shell waits for a grandchild; the grandchild gets the signal too, or `wait` would last a minute.
        let child = Process::start(&shell("sleep 60 & wait", folder.path())).unwrap();
        assert_eq!(child.ended(), None);
        child.signal(KILL);
        let status = child.wait(Duration::from_secs(20)).await.unwrap();
        assert_eq!(describe(status), "signal 9 (SIGKILL)");
    }

    #[tokio::test]
    async fn a_dropped_child_is_killed_and_until_then_its_standard_input_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let spec = shell("echo $$; cat; echo the pipe was closed", folder.path());
        let child = Process::start(&spec).unwrap();
        let pid = loop {
            if let Some(pid) = last_lines(&spec.log, 1).pop() {
                break pid;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(child.ended(), None);
        drop(child);
        while alive(&pid) {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            last_lines(&spec.log, 5),
            [pid],
            "it was killed before it saw its standard input close"
        );
    }

    /// Whether a process runs (a zombie that nobody has waited for yet does not).
    fn alive(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn a_binary_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec {
            program: folder.path().join("nobody"),
            args: vec![],
            log: folder.path().join("log"),
        };
        assert_eq!(Process::start(&spec).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn a_log_that_is_not_there_has_no_lines() {
        assert!(last_lines(Path::new("/nowhere/at/all"), 3).is_empty());
    }
}
