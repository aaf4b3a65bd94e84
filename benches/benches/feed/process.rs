//! The node, as a process of its own, and how the bench talks with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use benches::measure::Done;
use serde::{Deserialize, Serialize};
use testkit::crowd::chain::{Chain, Sums};
use testkit::crowd::serve::Crowd;

use crate::resident_kib;

/// The argument that makes this program the node.
pub(crate) const AS_NODE: &str = "--as-node";
/// People on the chain.
const PEOPLE: usize = 20_000;
const SILENT: &str = "the node's process said nothing";

/// The node's side of the conversation between the two processes: lines of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) ws: String,
    pub(crate) sums: Sums,
    pub(crate) subscribers: u64,
    pub(crate) cut_off: u64,
    pub(crate) rss_kib: u64,
}

/// Serves until its input ends. Each line of it sets the rate (or nothing, when it is empty), and is answered.
pub(crate) fn be_the_node() -> Done<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let chain = Chain::new(PEOPLE)?;
    let crowd = runtime.block_on(Crowd::start(chain, Duration::from_secs(1)))?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        if let Ok(rate) = line?.trim().parse() {
            crowd.set_rate(rate);
        }
        let told = Told {
            ws: crowd.ws(),
            sums: crowd.sums(),
            subscribers: crowd.subscribers(),
            cut_off: crowd.cut_off(),
            rss_kib: resident_kib()?,
        };
        writeln!(out, "{}", serde_json::to_string(&told)?)?;
        out.flush()?;
    }
    Ok(())
}

/// The node's process; ended when dropped.
pub(crate) struct NodeProcess {
    child: Child,
    lines: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl NodeProcess {
    pub(crate) fn start() -> Done<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(AS_NODE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdin.take().zip(child.stdout.take().map(BufReader::new));
        Ok(Self { child, lines })
    }

    /// Says this line and gives the answer.
    pub(crate) fn ask(&mut self, line: &str) -> Done<Told> {
        let (input, output) = self.lines.as_mut().ok_or(SILENT)?;
        writeln!(input, "{line}")?;
        input.flush()?;
        let mut answer = String::new();
        if output.read_line(&mut answer)? == 0 {
            return Err(SILENT.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It ends with its input.
        self.lines = None;
        let _ended = self.child.wait();
    }
}
