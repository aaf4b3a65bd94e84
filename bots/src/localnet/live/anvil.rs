//! Where anvil is on this machine, how it is started, and how it says where it serves.
//!
//! Pure: what is looked at (environment, folders, a log) comes in as values.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::LiveError;

/// The folder that `make tools` installs it into, below the project's.
const INSTALLED: &str = "testkit/node_modules/@foundry-rs";
/// What it writes once it serves.
const SERVES: &str = "Listening on ";

/// What decides where anvil is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// `--anvil` or `ANVIL`.
    pub(crate) named: Option<PathBuf>,
    /// The folder that the process works in.
    pub(crate) current: Option<PathBuf>,
    /// The process's own binary.
    pub(crate) binary: Option<PathBuf>,
    /// `PATH`.
    pub(crate) path: Option<OsString>,
}

impl Surroundings {
    /// This process's.
    pub(crate) fn here(named: Option<PathBuf>) -> Self {
        Self {
            named,
            current: std::env::current_dir().ok(),
            binary: std::env::current_exe().ok(),
            path: std::env::var_os("PATH"),
        }
    }

    /// Everywhere it may be, the likeliest place first. One that is named may be nowhere else.
    fn candidates(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let above = |place: &Option<PathBuf>| -> Vec<PathBuf> {
            place
                .iter()
                .flat_map(|place| place.ancestors().map(Path::to_owned))
                .collect()
        };
        let installed = above(&self.current)
            .into_iter()
            .chain(above(&self.binary))
            .map(|folder| folder.join(INSTALLED).join(package()).join("bin/anvil"));
        let on_path = self
            .path
            .iter()
            .flat_map(std::env::split_paths)
            .map(|folder| folder.join("anvil"));
        installed.chain(on_path).collect()
    }

    /// The first candidate that is a file.
    ///
    /// # Errors
    /// [`LiveError::NoAnvil`].
    pub(crate) fn find(&self) -> Result<PathBuf, LiveError> {
        let found = self.candidates().into_iter().find(|path| path.is_file());
        found.ok_or_else(|| LiveError::NoAnvil {
            looked: match &self.named {
                Some(named) => named.display().to_string(),
                None => format!("{INSTALLED} here and above, then in PATH"),
            },
        })
    }
}

/// The npm package that holds the program for this machine. (The launcher in `.bin` would be one process more.)
fn package() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    format!("anvil-{system}-{architecture}")
}

/// Its arguments: a free port, a block each `block_time`, no accounts of its own; what it is set to goes into `config_out`.
pub(crate) fn args(block_time: Duration, chain_id: u64, config_out: &Path) -> Vec<OsString> {
    let text = |text: &str| OsString::from(text);
    vec![
        text("--port"),
        text("0"),
        text("--chain-id"),
        chain_id.to_string().into(),
        text("--block-time"),
        block_time.as_secs_f64().to_string().into(),
        text("--accounts"),
        text("0"),
        text("--config-out"),
        config_out.into(),
    ]
}

/// Where it serves, by its log; `None` while it does not.
pub(crate) fn listening(log: &str) -> Option<SocketAddr> {
    log.lines()
        .find_map(|line| line.trim().strip_prefix(SERVES)?.trim().parse().ok())
}

/// The command line of a shell that runs `program` and ends it when its own standard input is closed, as it is when the parent
/// process ends in any way: anvil itself would stay behind.
pub(crate) fn guarded(program: &OsStr, args: Vec<OsString>) -> Vec<OsString> {
    // In the background standard input is /dev/null unless it is named, hence descriptor 3.
    const GUARD: &str = "exec 3<&0; \"$0\" \"$@\" 3<&- </dev/null & child=$!; \
                         (cat <&3 >/dev/null; kill -9 \"$child\" 2>/dev/null) & exec 3<&-; wait \"$child\"";
    let mut all: Vec<OsString> = vec!["-c".into(), GUARD.into(), program.into()];
    all.extend(args);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_above_the_current_folder_and_before_the_search_path() {
        let place = tempfile::tempdir().unwrap();
        let installed = place.path().join(INSTALLED).join(package()).join("bin");
        let tools = place.path().join("tools");
        for folder in [&installed, &tools] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("anvil"), "").unwrap();
        }
        let mut around = Surroundings {
            current: Some(place.path().join("deep/inside")),
            path: Some(tools.clone().into()),
            ..Surroundings::default()
        };
        assert_eq!(around.find().unwrap(), installed.join("anvil"));
        around.current = None;
        assert_eq!(around.find().unwrap(), tools.join("anvil"));
        around.named = Some(place.path().join("nothing"));
        let error = around.find().unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("make tools"), "{error}");
    }

    #[test]
    fn its_address_is_read_from_its_log_once_it_is_there() {
        let log = "Gas Limit\n====\n\n30000000\n\nListening on 127.0.0.1:39315\n\n    Block Number: 1\n";
        assert_eq!(listening(log), Some(([127, 0, 0, 1], 39315).into()));
        assert_eq!(listening("Gas Limit\nListening on 127.0.0"), None);
    }

    #[test]
    fn a_block_time_below_a_second_is_a_fraction() {
        let line = args(Duration::from_millis(500), 31_337, Path::new("/run/anvil.json"));
        let line: Vec<_> = line.iter().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(
            line.join(" "),
            "--port 0 --chain-id 31337 --block-time 0.5 --accounts 0 --config-out /run/anvil.json"
        );
    }
}
