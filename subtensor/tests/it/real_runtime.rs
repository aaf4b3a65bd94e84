//! Against a real Subtensor runtime, whose development node takes `dev_setStorage` and `dev_newBlock` (chopsticks on a genesis
//! specification of Subtensor; docs/subtensor.md says how): register, stake, serve an axon, set weights, commit and reveal, and
//! read all of it back. The node is named by `SUBTENSOR_URL`; without it the test says that it is skipped.

use std::sync::Arc;
use std::time::Duration;

use chain::commit::hash;
use chain::ledger::RAO_PER_TAO;
use chain::{AxonInfo, Keypair, Ledger, LedgerError, Refusal, TimelockedCommit, WeightsCall, WeightsReveal, keyfile};
use subtensor::{Options, Subtensor};
use subxt::rpcs::{RpcClient, rpc_params};
use subxt::{OnlineClient, SubstrateConfig};

const NETUID: u16 = 1;

/// What a development node lets us do that no other does.
struct Dev {
    rpc: RpcClient,
    client: OnlineClient<SubstrateConfig>,
}

impl Dev {
    async fn set(&self, storage: serde_json::Value) {
        let _hash: serde_json::Value = self.rpc.request("dev_setStorage", rpc_params![storage]).await.unwrap();
    }

    /// By raw key: chopsticks deletes by name what is zero, and the default comes back.
    async fn set_u64(&self, entry: &str, value: u64) {
        let at = self.client.at_current_block().await.unwrap();
        let address = subxt::dynamic::storage::<(u16,), u64>("SubtensorModule", entry);
        let key = at.storage().entry(address).unwrap().fetch_key((NETUID,)).unwrap();
        let pair = (
            format!("0x{}", hex::encode(key)),
            format!("0x{}", hex::encode(value.to_le_bytes())),
        );
        self.set(serde_json::json!([pair])).await;
    }

    async fn blocks(&self, count: u64) {
        let wish = serde_json::json!({ "count": count });
        let _hash: serde_json::Value = self.rpc.request("dev_newBlock", rpc_params![wish]).await.unwrap();
    }
}

fn refused(error: &LedgerError) -> &Refusal {
    error.refusal().unwrap_or_else(|| panic!("not a refusal: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neuron_lives_on_the_real_runtime() {
    let Ok(url) = std::env::var("SUBTENSOR_URL") else {
        println!(
            "SKIPPED: the real Subtensor runtime, because SUBTENSOR_URL names no node (docs/subtensor.md says how to run one)"
        );
        return;
    };
    let rpc = RpcClient::from_insecure_url(&url).await.unwrap();
    let client = OnlineClient::from_insecure_url(&url).await.unwrap();
    let dev = Dev { rpc, client };
    let methods: serde_json::Value = dev.rpc.request("rpc_methods", rpc_params![]).await.unwrap();
    if !methods["methods"]
        .as_array()
        .unwrap()
        .iter()
        .any(|method| method == "dev_setStorage")
    {
        println!("SKIPPED: the real Subtensor runtime, because the node at SUBTENSOR_URL has no dev_setStorage");
        return;
    }
    let _mode: serde_json::Value = dev
        .rpc
        .request("dev_setBlockBuildMode", rpc_params!["Instant"])
        .await
        .unwrap();
    dev.blocks(1).await;

    // Fresh keys, so that the test can run on one node again and again.
    let coldkey = Arc::new(Keypair::generate());
    let [validator, one, two, stranger] = std::array::from_fn(|_| Keypair::generate());
    let account = |pair: &Keypair| serde_json::json!([[pair.account().to_string()], {"providers": 1, "data": {"free": (100_000 * RAO_PER_TAO).to_string()}}]);
    dev.set(serde_json::json!({
        "System": {"Account": [account(&coldkey), account(&validator), account(&one), account(&two), account(&stranger)]},
        "SubtensorModule": {
            "Tempo": [[[NETUID], 10]],
            "TargetRegistrationsPerInterval": [[[NETUID], 1000]],
            "MaxRegistrationsPerBlock": [[[NETUID], 1000]],
            "WeightsSetRateLimit": [[[NETUID], 100]],
            "CommitRevealWeightsEnabled": [[[NETUID], false]],
            // A pool to stake into: the genesis has TAO and no alpha.
            "SubnetTAO": [[[NETUID], 1_000_000 * RAO_PER_TAO]],
            "SubnetAlphaIn": [[[NETUID], 1_000_000 * RAO_PER_TAO]],
        },
    }))
    .await;

    let options = Options {
        netuid: NETUID,
        deadline: Duration::from_secs(60),
        finality: Duration::from_secs(120),
        coldkey: Some(coldkey.clone()),
    };
    let chain = Subtensor::new(std::slice::from_ref(&url), None, options.clone());
    let spec = chain.spec_version().await.unwrap();
    println!(
        "runtime of specification version {spec} at block {}",
        chain.block().await.unwrap()
    );

    // Register.
    let mut uids = Vec::new();
    for pair in [&validator, &one, &two] {
        uids.push(chain.register(pair).await.unwrap().uid);
    }
    assert_eq!(
        *refused(&chain.register(&one).await.unwrap_err()),
        Refusal::HotKeyAlreadyRegisteredInSubNet
    );

    // Stake.
    let staked = chain.add_stake(&validator, 100 * RAO_PER_TAO).await.unwrap();
    assert!(staked > 0, "{staked}");

    // Serve an axon.
    let axon = AxonInfo {
        version: 1,
        ip: "203.0.113.7".parse().unwrap(),
        port: 8091,
        protocol: 4,
    };
    let served_at = chain.serve_axon(&one, axon).await.unwrap();
    let loopback = AxonInfo {
        ip: "127.0.0.1".parse().unwrap(),
        ..axon
    };
    assert_eq!(
        *refused(&chain.serve_axon(&two, loopback).await.unwrap_err()),
        Refusal::InvalidIpAddress
    );
    let too_soon = chain
        .serve_axon(&one, AxonInfo { port: 8092, ..axon })
        .await
        .unwrap_err();
    let limit = chain.hyperparameters().await.unwrap().serving_rate_limit;
    assert_eq!(
        *refused(&too_soon),
        Refusal::ServingRateLimitExceeded {
            retry_at_block: served_at + limit
        }
    );

    // Set weights: of the neurons that there are, only ours may.
    let permits: Vec<bool> = vec![true; chain.metagraph().await.unwrap().neurons.len()];
    dev.set(serde_json::json!({"SubtensorModule": {"ValidatorPermit": [[[NETUID], permits]]}}))
        .await;
    let weights = WeightsCall {
        uids: vec![uids[1], uids[2]],
        values: vec![65535, 32768],
        version_key: 0,
    };
    // A registration counts as an update.
    dev.set_u64("WeightsSetRateLimit", 0).await;
    let set_at = chain.set_weights(&validator, weights.clone()).await.unwrap();
    assert_eq!(
        chain.weights(uids[0]).await.unwrap(),
        [(uids[1], 65535), (uids[2], 32768)]
    );
    dev.set_u64("WeightsSetRateLimit", 100).await;
    assert_eq!(
        *refused(&chain.set_weights(&validator, weights.clone()).await.unwrap_err()),
        Refusal::SettingWeightsTooFast {
            retry_at_block: set_at + 100
        }
    );
    dev.set_u64("WeightsSetRateLimit", 0).await;
    let foreign = |uids: Vec<u16>, values| WeightsCall {
        uids,
        values,
        version_key: 0,
    };
    for (call, refusal) in [
        (
            foreign(vec![uids[1], 60_000], vec![1, 2]),
            Refusal::UidVecContainInvalidOne,
        ),
        (foreign(vec![uids[1], uids[1]], vec![1, 2]), Refusal::DuplicateUids),
        (foreign(vec![uids[1]], vec![1, 2]), Refusal::WeightVecNotEqualSize),
    ] {
        assert_eq!(
            *refused(&chain.set_weights(&validator, call).await.unwrap_err()),
            refusal
        );
    }
    let unregistered = chain.set_weights(&stranger, weights.clone()).await.unwrap_err();
    assert!(
        matches!(
            refused(&unregistered),
            Refusal::HotKeyNotRegisteredInSubNet | Refusal::HotKeyNotRegisteredInNetwork | Refusal::UidNotFound
        ),
        "{unregistered}"
    );
    assert_eq!(
        chain.weights(uids[0]).await.unwrap(),
        [(uids[1], 65535), (uids[2], 32768)],
        "refused calls changed nothing"
    );

    // The metagraph has all of it.
    let metagraph = chain.metagraph().await.unwrap();
    let ours = metagraph.by_hotkey(&validator.account()).unwrap();
    assert_eq!((ours.uid, ours.coldkey), (uids[0], coldkey.account()));
    assert!(ours.stake >= staked, "emission adds to it");
    assert_eq!((ours.last_update, ours.weights_known), (set_at, true));
    let miner = metagraph.by_hotkey(&one.account()).unwrap();
    assert_eq!((miner.axon.unwrap().block, miner.axon.unwrap().info), (served_at, axon));
    assert!(metagraph.by_hotkey(&two.account()).unwrap().axon.is_none());
    assert!(metagraph.by_hotkey(&stranger.account()).is_none());
    assert!(metagraph.next_epoch_block() > metagraph.block);

    // Commit and reveal.
    dev.set(serde_json::json!({"SubtensorModule": {"CommitRevealWeightsEnabled": [[[NETUID], true]]}}))
        .await;
    assert!(chain.hyperparameters().await.unwrap().commit_reveal_weights_enabled);
    assert_eq!(
        *refused(&chain.set_weights(&validator, weights).await.unwrap_err()),
        Refusal::CommitRevealEnabled
    );
    let reveal = WeightsReveal {
        uids: vec![uids[1], uids[2]],
        values: vec![100, 65535],
        salt: hash::salt(),
        version_key: 0,
    };
    let (head, schedule) = chain.head_and_schedule().await.unwrap();
    assert_eq!(Ledger::schedule(&chain).await.unwrap(), schedule);
    let commit = hash::commit(&validator.account(), NETUID, &reveal);
    let committed_at = chain.commit_weights(&validator, commit).await.unwrap();
    let opens_at = schedule.first_reveal_block(committed_at - 1, 1).unwrap();
    assert!(committed_at > head && opens_at > committed_at);
    if committed_at + 1 < opens_at {
        assert_eq!(
            *refused(&chain.reveal_weights(&validator, reveal.clone()).await.unwrap_err()),
            Refusal::RevealTooEarly
        );
    }
    // The refused reveal may or may not have made a block; the reveal itself lands in the next one.
    let block = chain.block().await.unwrap();
    if block + 1 < opens_at {
        dev.blocks(opens_at - block - 1).await;
    }
    assert_eq!(
        chain.reveal_weights(&validator, reveal.clone()).await.unwrap(),
        opens_at
    );
    assert_eq!(
        chain.weights(uids[0]).await.unwrap(),
        [(uids[1], 100), (uids[2], 65535)]
    );
    assert_eq!(
        *refused(&chain.reveal_weights(&validator, reveal).await.unwrap_err()),
        Refusal::NoWeightsCommitFound
    );

    // What this runtime does not have is named; so is a subnet that is not there.
    if spec < 400 {
        let sealed = TimelockedCommit {
            ciphertext: vec![1],
            reveal_round: 1,
            version: 4,
        };
        let missing = chain
            .commit_timelocked(&validator, sealed)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("SubtensorModule.commit_timelocked_weights") && missing.contains(&spec.to_string()),
            "{missing}"
        );
    }
    let elsewhere = Subtensor::new(
        std::slice::from_ref(&url),
        None,
        Options {
            netuid: 4_242,
            ..options.clone()
        },
    );
    assert_eq!(
        *refused(&elsewhere.metagraph().await.unwrap_err()),
        Refusal::SubnetNotExists
    );
    let foreign = Subtensor::new(std::slice::from_ref(&url), Some([7; 32]), options);
    let reason = foreign.block().await.unwrap_err().to_string();
    assert!(
        reason.contains("foreign network") && reason.contains(&hex::encode([7; 32])),
        "{reason}"
    );

    from_the_command_line(&url, &coldkey, &stranger).await;
}

/// A registered neuron with stake and an axon, by the binary and a wallet's files alone.
async fn from_the_command_line(url: &str, coldkey: &Keypair, hotkey: &Keypair) {
    let home = tempfile::tempdir().unwrap();
    keyfile::write(&home.path().join("mine/coldkey"), coldkey).unwrap();
    keyfile::write(&home.path().join("mine/hotkeys/first"), hotkey).unwrap();
    let netuid = NETUID.to_string();
    let run = async |args: &[&str], signed: bool| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_subtensor"));
        command
            .args(args)
            .args(["--ledger", url, "--netuid", &netuid, "--deadline", "60s"]);
        if signed {
            command.args(["--wallet.name", "mine", "--wallet.hotkey", "first", "--wallet.path"]);
            command.arg(home.path());
        }
        let output = command.output().await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), said.concat())
    };
    let account = hotkey.account().to_string();
    let (code, said) = run(&["register", "--coldkey"], true).await;
    assert!(
        code == Some(0) && said.contains(&account) && said.contains("is uid"),
        "{said}"
    );
    let (code, said) = run(&["register", "--coldkey"], true).await;
    assert!(
        code == Some(1) && said.contains("HotKeyAlreadyRegisteredInSubNet"),
        "{said}"
    );
    let (code, said) = run(&["stake", "--amount", "5", "--coldkey"], true).await;
    assert!(code == Some(0) && said.contains("has a stake of"), "{said}");
    let (code, said) = run(&["serve-axon", "--axon", "203.0.113.8:8091"], true).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["metagraph", "--json"], false).await;
    assert_eq!(code, Some(0), "{said}");
    let metagraph: serde_json::Value = serde_json::from_str(&said).unwrap();
    let neurons = metagraph["neurons"].as_array().unwrap();
    let neuron = neurons
        .iter()
        .find(|neuron| neuron["hotkey"] == account.as_str())
        .unwrap();
    assert_eq!(neuron["coldkey"], coldkey.account().to_string());
    assert!(neuron["stake"].as_u64().unwrap() > 0);
    assert_eq!(neuron["axon"]["port"], 8091);
}
