//! Probes against servers that speak the network's own protocols: validators with heads of all kinds, miners honest and lazy.

mod servers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::providers::Provider as _;
use audit::config::ProbeConfig;
use audit::probe::challenge::Challenger;
use audit::probe::{Kind, Peer, Prober, Tick};
use audit::rule::measure::Outcome;
use audit::store::Sample;
use chain::wallet::Keypair;
use chain::{AccountId, Axon, AxonInfo, Metagraph, Neuron};
use servers::{Conduct, miner, silent, validator};
use testkit::{Mining, anvil};
use tokio::sync::watch;

fn config() -> ProbeConfig {
    ProbeConfig {
        references: Vec::new(),
        private_addresses: true,
        answer: Duration::from_secs(30),
        ..ProbeConfig::default()
    }
}

fn peer(id: u32, kind: Kind, hotkey: [u8; 32], address: SocketAddr) -> Peer {
    Peer {
        id,
        kind: Some(kind),
        hotkey,
        endpoint: format!("http://{address}"),
    }
}

async fn samples(prober: &Prober, peers: &[Peer]) -> Vec<Sample> {
    match prober.tick(peers, 1_000, 5).await {
        Tick::Measured(samples) => samples,
        Tick::Offline => panic!("there is no reference to be missed"),
    }
}

/// A neuron that serves there.
fn serving(uid: u16, hotkey: AccountId, address: SocketAddr) -> Neuron {
    let info = AxonInfo {
        version: 0,
        ip: address.ip(),
        port: address.port(),
        protocol: 4,
    };
    Neuron {
        axon: Some(Axon { block: 0, info }),
        ..Neuron::new(uid, hotkey)
    }
}

#[tokio::test]
async fn a_miner_that_does_not_execute_is_found_and_so_is_one_that_hides_behind_a_refusal_or_another_hotkey() {
    let ours = Keypair::generate();
    let asked = ours.account();
    let mut neurons = vec![Neuron {
        validator_permit: true,
        ..Neuron::new(0, asked)
    }];
    let mut peers = Vec::new();
    for (id, conduct) in (1..).zip([
        Conduct::Honest,
        Conduct::Lazy,
        Conduct::Refusing,
        Conduct::Garbled,
        Conduct::ForAnother,
    ]) {
        let (hotkey, address) = miner(conduct, asked).await;
        neurons.push(serving(id, hotkey, address));
        peers.push(peer(id.into(), Kind::Miner, *hotkey.as_bytes(), address));
    }
    // An honest miner's endpoint under another hotkey, and an honest miner's hotkey with another endpoint.
    let (stranger, elsewhere) = miner(Conduct::Honest, asked).await;
    peers.push(peer(6, Kind::Miner, *stranger.as_bytes(), elsewhere));
    peers.push(peer(7, Kind::Miner, peers[0].hotkey, elsewhere));
    let (_sender, metagraph) = watch::channel(Arc::new(Metagraph::new(1, 100, neurons)));
    let prober = Prober::new(config(), None, Some(Challenger::new(ours, metagraph)));

    // A lazy "holds" is right about half of the time: hardly sixteen times in a row.
    let mut caught = 0;
    for _ in 0..16 {
        let samples = samples(&prober, &peers).await;
        let found = |id: usize| (samples[id - 1].row.outcome, samples[id - 1].step.as_str());
        assert_eq!(found(1), (Outcome::Up, ""), "{:?}", samples[0]);
        for id in 3..=7 {
            assert_eq!(found(id), (Outcome::Down, "challenge"), "{:?}", samples[id - 1]);
        }
        assert!(
            samples[2].reason.contains("no validator of the metagraph"),
            "{:?}",
            samples[2]
        );
        assert!(samples[5].reason.contains("not on the subnet"), "{:?}", samples[5]);
        assert!(samples[6].reason.contains("serves at"), "{:?}", samples[6]);
        if found(2) == (Outcome::Down, "challenge") {
            caught += 1;
            break;
        }
    }
    assert_eq!(caught, 1, "the lazy one was never found");
}

#[tokio::test]
async fn a_head_is_compared_with_our_own_nodes() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let provider = anvil.provider();
    let _: Option<String> = provider.raw_request("anvil_mine".into(), ("0x14",)).await.unwrap();
    let nodes = state::NodeConfig {
        endpoints: vec![anvil.http().parse().unwrap()],
        ..state::NodeConfig::default()
    };
    let prober = Prober::new(config(), Some(state::Node::connect(nodes).await.unwrap()), None);
    let hash = |number: u64| {
        let provider = provider.clone();
        async move {
            let block = provider.get_block(alloy::eips::BlockId::number(number)).await.unwrap();
            block.unwrap().header.hash
        }
    };
    let heads = [
        (20, hash(20).await),
        (15, hash(15).await),
        (14, hash(14).await),
        (16, hash(15).await),
        (19, hash(15).await),
        (90, hash(15).await),
    ];
    let mut peers = Vec::new();
    for (id, (number, hash)) in (1..).zip(heads) {
        peers.push(peer(id, Kind::Validator, [0; 32], validator(number, hash).await));
    }
    let samples = samples(&prober, &peers).await;
    let found: Vec<(Outcome, &str)> = samples.iter().map(|one| (one.row.outcome, one.step.as_str())).collect();
    let (fine, wrong) = ((Outcome::Up, ""), (Outcome::Down, "head"));
    assert_eq!(found, [fine, fine, wrong, wrong, fine, fine], "{samples:#?}");
    assert!(
        samples[2].reason.contains("6 blocks behind 20"),
        "{}",
        samples[2].reason
    );
    assert!(samples[3].reason.contains("not on the chain"), "{}", samples[3].reason);
}

/// SK-20, and everything else that is not what it says to be.
#[tokio::test]
async fn who_hangs_holds_up_nobody_and_who_is_somebody_else_is_down() {
    let hash = alloy::primitives::B256::repeat_byte(1);
    let good = validator(5, hash).await;
    let hanging = silent().await;
    let port = testkit::Port::free();
    let gone = port.address();
    let peers = [
        peer(1, Kind::Validator, [0; 32], good),
        peer(2, Kind::Validator, [0; 32], hanging),
        peer(3, Kind::Validator, [0; 32], gone),
        peer(4, Kind::Platform, [0; 32], good),
        peer(5, Kind::Keeper, [0; 32], good),
    ];
    // Shorter than the answer may take: the probe as a whole does not come to an end.
    let limit = Duration::from_secs(10);
    let hurried = ProbeConfig { limit, ..config() };
    let begun = Instant::now();
    let samples = samples(&Prober::new(hurried, None, None), &peers).await;
    assert!(begun.elapsed() < config().answer, "one peer holds up the tick");
    let found: Vec<(Outcome, &str)> = samples.iter().map(|one| (one.row.outcome, one.step.as_str())).collect();
    assert_eq!(
        found,
        [
            (Outcome::Up, ""),
            (Outcome::Unknown, "probe"),
            (Outcome::Down, "reach"),
            (Outcome::Down, "health"),
            (Outcome::Down, "health"),
        ],
        "{samples:#?}"
    );
    let public_only = ProbeConfig {
        private_addresses: false,
        ..config()
    };
    let refused = self::samples(&Prober::new(public_only, None, None), &peers[..1]).await;
    assert_eq!(refused[0].row.outcome, Outcome::Down);
    assert!(refused[0].reason.contains("no public address"), "{}", refused[0].reason);
}
