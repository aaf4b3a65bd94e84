//! The binary `subtensor` at the stand-in's node: what it prints, and the code that it ends with.

use std::path::Path;
use std::sync::Arc;

use chain::{Keypair, keyfile};
use serde_json::Value as Json;
use tokio::process::Command;

use crate::data::data;
use crate::node::Node;
use crate::world::{NETUID, World};

/// Standard output, standard error, exit code.
async fn subtensor(url: &str, wallets: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let netuid = NETUID.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_subtensor"));
    command.args(args).args(["--ledger", url, "--netuid", &netuid]);
    if !matches!(args[0], "metagraph" | "hyperparameters" | "weights") {
        command.args(["--wallet.name", "mine", "--wallet.hotkey", "first", "--wallet.path"]);
        command.arg(wallets);
    }
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_looked_at_and_called_from_the_command_line() {
    let Some(data) = data() else { return };
    let world = Arc::new(World::new(&data, true));
    let (hotkey, coldkey) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
    world.subnet(&[&hotkey]);
    let node = Node::start(&world).await;
    let home = tempfile::tempdir().unwrap();
    keyfile::write(&home.path().join("mine/hotkeys/first"), &hotkey).unwrap();
    keyfile::write(&home.path().join("mine/coldkey"), &coldkey).unwrap();
    let run = async |args: &[&str]| subtensor(&node.url, home.path(), args).await;

    let (metagraph, error, code) = run(&["metagraph", "--json"]).await;
    assert_eq!(code, Some(0), "{error}");
    let metagraph: Json = serde_json::from_str(&metagraph).unwrap();
    assert_eq!(
        metagraph["neurons"][0]["hotkey"],
        Json::from(hotkey.account().to_string())
    );
    let (table, _, _) = run(&["metagraph"]).await;
    assert!(table.contains(&hotkey.account().to_string()), "{table}");
    let (table, _, _) = run(&["hyperparameters"]).await;
    assert!(table.contains("weights_set_rate_limit"), "{table}");
    assert_eq!(run(&["weights", "0"]).await.0, "[]");

    let (served, error, code) = run(&["serve-axon", "--axon", "203.0.113.7:8091"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(served.contains("serves at 203.0.113.7:8091"), "{served}");
    // The coldkey pays where it is asked to.
    let (registered, error, code) = run(&["register", "--coldkey"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(registered.contains("is uid 0"), "{registered}");
    let calls = world.calls().await;
    let names: Vec<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["SubtensorModule.serve_axon", "SubtensorModule.burned_register"]);
    assert_eq!(world.signers(), [hotkey.account(), coldkey.account()]);

    world.fail_next("HotKeyAlreadyRegisteredInSubNet");
    let (_, refused, code) = run(&["register"]).await;
    assert_eq!(code, Some(1));
    assert!(refused.contains("HotKeyAlreadyRegisteredInSubNet"), "{refused}");

    node.cut(true);
    let (_, gone, code) = run(&["metagraph"]).await;
    assert_eq!(code, Some(3), "{gone}");
    assert!(gone.contains(&node.url), "{gone}");
}
