//! schemathesis, from PyPI, against the document that the platform gives of itself: whatever is asked, no answer is a 5xx, and none is
//! another than the document says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::served::World;

const VERSION: &str = "schemathesis==4.32.5";
/// A name may be accepted and still not fit what another field says, so acceptance of all valid data is not asked for.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection,unsupported_method,use_after_free,ensure_resource_availability";

/// The program, installed once for all runs; `None` where that is not possible.
fn schemathesis() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let program = home.join("bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    let done = |command: &mut Command| {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|ended| ended.success())
    };
    if !done(Command::new("python3").args(["-m", "venv"]).arg(&home)) {
        eprintln!("SKIPPED: the schema fuzzer did not run, because python3 with venv is not there");
        return None;
    }
    if !done(Command::new(home.join("bin/pip")).args(["install", "--quiet", VERSION])) {
        eprintln!("SKIPPED: the schema fuzzer did not run, because pip could not install {VERSION}");
        return None;
    }
    Some(program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_a_5xx_or_other_than_documented() {
    let Some(program) = tokio::task::spawn_blocking(schemathesis).await.unwrap() else {
        return;
    };
    let world = World::new().await;
    let url = world.url("/openapi.json");
    let folder = tempfile::tempdir().unwrap();
    // Half a minute on a quiet machine, most of it Python's, for half a hundred operations; a longer look is asked for.
    let examples = std::env::var("PORTCULLIS_FUZZ_EXAMPLES").unwrap_or_else(|_| "8".to_owned());
    let mut fuzzer = Command::new(program);
    fuzzer
        .args([
            "run",
            &url,
            "--seed",
            "7",
            "--max-examples",
            &examples,
            "--checks",
            CHECKS,
        ])
        .arg("--header")
        .arg(format!("X-API-Key: {}", world.admin))
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || fuzzer.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("Test cases:"), "{said}");
}
