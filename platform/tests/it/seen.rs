//! A log with something to see in it: a vault whose slot 0 everybody may set, transactions that do, and what validators told of them.

use alloy::consensus::{SignableTransaction, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, keccak256};
use alloy::signers::{SignerSync, local::PrivateKeySigner};
use engine::{Account, AccountState, Address, B256, Bytes, Prestate, Transaction, U256};
use platform::log::{Entry, Event, FeedLog};
use platform::store::{NeuronRow, Store};
use protos::v1;
use serde_json::{Value, json};
use wire::{ShippedPrestate, Wire};

use crate::world::{CHAIN, batch, env, for_all, hotkey};

/// Sets its slot 0 to the first word of what it is sent.
const SET: [u8; 7] = [0x60, 0x00, 0x35, 0x60, 0x00, 0x55, 0x00];

/// The vault's address.
pub(crate) const VAULT: Address = Address::repeat_byte(0xb1);

/// Its storage layout.
pub(crate) fn layout() -> Value {
    json!({
        "storage": [{ "label": "totalAssets", "slot": "0", "offset": 0, "type": "t_uint256" }],
        "types": { "t_uint256": { "encoding": "inplace", "label": "uint256", "numberOfBytes": "32" } },
    })
}

/// The head of block 99, on which those of block 100 are judged.
fn head_hash() -> B256 {
    keccak256("head 99")
}

fn head() -> Event {
    Event::Head(v1::Head {
        chain_id: CHAIN,
        number: 99,
        hash: wire::hash_bytes(head_hash()),
        parent_hash: wire::hash_bytes(B256::ZERO),
        next: Some(env(100, 1_700_001_200).to_wire()),
        included: Vec::new(),
        orphaned: Vec::new(),
    })
}

/// A transaction that sets the vault's slot from `before` to `after`.
fn setting(n: u64, before: u64, after: u64) -> (Transaction, Prestate) {
    let signer = PrivateKeySigner::from_bytes(&keccak256(n.to_be_bytes())).unwrap();
    let tx = TxLegacy {
        chain_id: Some(CHAIN),
        nonce: 0,
        gas_price: 1_000_000_000,
        gas_limit: 60_000,
        to: TxKind::Call(VAULT),
        value: U256::ZERO,
        input: U256::from(after).to_be_bytes_vec().into(),
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = alloy::consensus::TxEnvelope::from(tx.into_signed(signature));
    let mut state = Prestate::default();
    let code = Bytes::from_static(&SET);
    let wealth = Account {
        balance: U256::from(10).pow(U256::from(18)),
        ..Account::default()
    };
    state.accounts.insert(signer.address(), wealth.into());
    let vault = Account {
        nonce: 1,
        ..Account::default()
    };
    state.insert_contract(VAULT, vault, code, [(U256::ZERO, U256::from(before))]);
    state
        .accounts
        .insert(Address::repeat_byte(0xbe), AccountState::default());
    (Transaction::decode(&envelope.encoded_2718()).unwrap(), state)
}

/// Logs a head and a transaction for each pair of values, assigned to validator 1; gives their cursors and hashes.
pub(crate) async fn log(store: &Store, values: &[(u64, u64)]) -> Vec<(u64, B256)> {
    let mut codes = Vec::new();
    let mut entries = vec![for_all(head())];
    let mut hashes = Vec::new();
    for (n, (before, after)) in values.iter().enumerate() {
        let (transaction, state) = setting(n as u64 + 1, *before, *after);
        codes.extend(state.codes.iter().map(|(hash, code)| wire::code_to_wire(*hash, code)));
        hashes.push(transaction.hash());
        entries.push(Entry {
            event: Event::Pending(v1::PendingTransaction {
                transaction: Some(transaction.to_wire()),
                head_hash: wire::hash_bytes(head_hash()),
                prestate: Some(ShippedPrestate::from(state).to_wire()),
                predecessors: Vec::new(),
            }),
            assigned: vec![hotkey(1)],
        });
    }
    let mut all = batch(entries);
    all.codes = codes;
    let last = store.append(all).await.unwrap();
    let first = last - hashes.len() as u64 + 1;
    (first..).zip(hashes).collect()
}

/// An incident on invariant `id` by this transaction, with a timeline.
pub(crate) async fn incident(store: &Store, id: u64, name: &str, (cursor, hash): (u64, B256), detail: &str) {
    let word = |value: u64| U256::from(value).to_be_bytes_vec();
    let report = v1::TransactionReport {
        cursor,
        tx_hash: wire::hash_bytes(hash),
        asked: 5,
        answered: 5,
        agreed: 4,
        ..Default::default()
    };
    let incident = v1::IncidentReport {
        cursor,
        invariant_id: id,
        invariant_name: name.to_owned(),
        tx_hash: wire::hash_bytes(hash),
        witness: Some(v1::Witness {
            pre: word(1_000).into(),
            post: word(3).into(),
            digest: vec![7; 32].into(),
            readings: Vec::new(),
        }),
        seen_to_confirmed_us: 1_500,
    };
    let moment = |at_ms, moment: &str, action: &str, detail: &str| v1::TimelineMoment {
        at_ms,
        moment: moment.to_owned(),
        action: action.to_owned(),
        detail: detail.to_owned(),
    };
    let delta = |token: &[u8], holder: u8, change: &str| v1::TokenDelta {
        token: token.to_vec().into(),
        holder: vec![holder; 20].into(),
        change: change.to_owned(),
    };
    let timeline = v1::IncidentTimeline {
        incident: 1,
        revision: 1,
        invariant_id: id,
        tx_hash: wire::hash_bytes(hash),
        state: "contained".to_owned(),
        severity: "CRITICAL".to_owned(),
        suspects: vec![v1::SuspectTransaction {
            tx_hash: wire::hash_bytes(hash),
            sender: vec![0xa1; 20].into(),
            target: vec![0xb1; 20].into(),
            value: word(0).into(),
            pre: "1000".to_owned(),
            post: "3".to_owned(),
            deltas: vec![
                delta(&[0xc0; 20], 0xb1, "-1000000000000000000000"),
                delta(&[0xc0; 20], 0xa1, "997"),
                delta(&[], 0xa1, "-21000"),
            ],
            more_deltas: 5,
        }],
        total_suspects: 1,
        timeline: vec![
            moment(1_700_000_000_000, "seen", "", ""),
            moment(1_700_000_000_040, "fired", "pause", detail),
            moment(
                1_700_000_012_000,
                "included",
                "pause",
                "in block 100, ahead of the attack",
            ),
        ],
        view: Some(v1::NetworkView {
            asked: 5,
            answered: 5,
            agreed: 4,
            arbitrated: true,
        }),
        ..Default::default()
    };
    let request = v1::ReportRequest {
        transactions: vec![report],
        incidents: vec![incident],
        timelines: vec![timeline],
        miners: Vec::new(),
    };
    store.remember(&[hotkey(1)]).await.unwrap();
    store.report(&hotkey(1), &request).await.unwrap();
}

fn neuron(uid: u16, permit: bool, incentive: u16) -> NeuronRow {
    NeuronRow {
        uid,
        hotkey: hotkey(uid as u8),
        axon: (!permit).then(|| format!("127.0.0.1:{}", 9_000 + uid)),
        stake: if permit { 1_000_000_000_000 } else { 0 },
        permit,
        active: true,
        incentive,
        dividends: if permit { 32_768 } else { 0 },
        consensus: incentive,
        validator_trust: if permit { 65_535 } else { 0 },
        emission: 5_000_000,
    }
}

/// Validators 1 and 2, miners 4 and 5, over three epochs; and what validator 1 tells of the miners.
pub(crate) async fn subnet(store: &Store) {
    store.remember(&[hotkey(1), hotkey(2)]).await.unwrap();
    for (epoch, share) in [(20, 10_000), (40, 20_000), (60, 40_000)] {
        let neurons = [
            neuron(1, true, 0),
            neuron(2, true, 0),
            neuron(4, false, share),
            neuron(5, false, 65_535 - share),
        ];
        store.note_neurons(epoch, &neurons).await.unwrap();
    }
    let score = |uid: u8, score: f64, micros: u64| v1::MinerScore {
        hotkey: hotkey(uid).to_vec().into(),
        asked: 100,
        answered: 99,
        correct: 98,
        latency: vec![v1::LatencyBucket { micros, count: 99 }],
        score,
        weight: 30_000,
        ..Default::default()
    };
    let request = v1::ReportRequest {
        miners: vec![score(4, 0.75, 2_500), score(5, 0.25, 40_000)],
        ..Default::default()
    };
    store.report(&hotkey(1), &request).await.unwrap();
}

/// Two audited nodes: one that was settled, and one that nobody has measured, whose owner wrote more than an address.
pub(crate) fn audits(world: &crate::served::World) {
    let settled = audit::results::Settled {
        epoch: 3,
        block: 77,
        transaction: B256::repeat_byte(5).to_string(),
        downtime: 2,
        late: 0,
        intervals: 8,
        uptime: Some(0.75),
        latency_us: 900,
        verdicts: 20,
        group_size: 24,
        quorum: true,
        bounty: U256::from(1) << 128,
    };
    let known = audit::results::Standing {
        id: 1,
        kind: Some(audit::probe::Kind::Miner),
        owner: Address::repeat_byte(1),
        hotkey: Some(hotkey(4)),
        endpoint: "http://10.0.0.4:9004".to_owned(),
        active: true,
        settled: Some(settled),
    };
    let unknown = audit::results::Standing {
        id: 7,
        kind: None,
        hotkey: None,
        endpoint: "http://<img src=x onerror=window.taken=1>".to_owned(),
        active: false,
        settled: None,
        ..known
    };
    world.audits.send_replace(std::sync::Arc::new(vec![known, unknown]));
}
