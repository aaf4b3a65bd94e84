//! An operator's command: run by the system's shell, with a time limit, its output logged.

use std::process::Stdio;
use std::time::Duration;

use process_wrap::tokio::{CommandWrap, KillOnDrop, ProcessGroup};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of each output that are kept; what is beyond them is read and forgotten.
const OUTPUT_LIMIT: usize = 16 << 10;

/// A command line for `sh -c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The line, as the operator wrote it.
    pub line: String,
    /// How long it may take; then it and all its children are killed.
    pub timeout: Duration,
}

impl Command {
    /// Runs it, logs how it ended and what it printed, and says whether it succeeded. `name` is what the operator knows it by.
    pub async fn run(&self, name: &str) -> bool {
        tracing::info!("Executing {name}: {}", self.line);
        match tokio::time::timeout(self.timeout, self.output()).await {
            Ok(Ok((true, output))) => {
                tracing::info!("{name} executed successfully. {output}");
                true
            }
            Ok(Ok((false, output))) => {
                tracing::error!("{name} failed. {output}");
                false
            }
            Ok(Err(error)) => {
                tracing::error!("{name} could not be executed: {error}");
                false
            }
            Err(_) => {
                tracing::error!(
                    "{name} was killed: it took more than {}",
                    humantime::format_duration(self.timeout)
                );
                false
            }
        }
    }

    async fn output(&self) -> std::io::Result<(bool, String)> {
        let mut wrap = CommandWrap::with_new("sh", |command| {
            command
                .arg("-c")
                .arg(&self.line)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
        });
        // A group of its own: what the shell started ends with it.
        let mut child = wrap.wrap(ProcessGroup::leader()).wrap(KillOnDrop).spawn()?;
        let (stdout, stderr) = (child.stdout().take(), child.stderr().take());
        let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), child.wait());
        let status = status?;
        Ok((
            status.success(),
            format!(
                "{status}; stdout: {:?}; stderr: {:?}",
                stdout.trim_end(),
                stderr.trim_end()
            ),
        ))
    }
}

/// The beginning of a stream, read to its end so that the writer never waits.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = [0_u8; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_LIMIT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).into_owned()
}
