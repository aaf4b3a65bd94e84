//! A small world: validators with keys, a recorded chain of two blocks, a platform on a socket.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, hex, keccak256};
use alloy::signers::{SignerSync, local::PrivateKeySigner};
use chain::Keypair;
use chain::auth::sign::{Signer, Signing};
use engine::case::{Case, CaseKind, Expect, Expected, ExpectedStatus};
use engine::{Account, Address, B256, BlockEnv, Bytes, CompleteState, Hardfork, Transaction, U256};
use node::database::Place;
use platform::assignment::Hotkey;
use platform::log::{Batch, Entry, Event, Log};
use platform::service::PlatformService;
use platform::store::Store;
use platform::validators::Validators;
use protos::v1;
use protos::v1::platform_client::PlatformClient;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tower::Layer;

/// The recorded chain's id.
pub(crate) const CHAIN: u64 = 31337;
/// A contract that does nothing.
pub(crate) const IDLE: Address = Address::repeat_byte(0x1d);

/// How long anything may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody serves here.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9";

/// The binary with these arguments.
pub(crate) fn platform(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform"));
    command.args(args).stdin(Stdio::null());
    command
}

/// `platform run` with these arguments, on a free port: nobody need be there for it to feed, and no ledger answers.
pub(crate) fn run_alone(args: &[&str]) -> Command {
    let mut command = platform(&[
        "run",
        "--ledger",
        NOWHERE,
        "--listen",
        "127.0.0.1:0",
        "--min-validators",
        "0",
    ]);
    command.args(args);
    command
}

pub(crate) fn validator(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

pub(crate) fn hotkey(n: u8) -> Hotkey {
    *validator(n).account().as_bytes()
}

pub(crate) fn permitted(validators: impl IntoIterator<Item = u8>) -> BTreeSet<Hotkey> {
    validators.into_iter().map(hotkey).collect()
}

/// A block of this number at this time, after Cancun.
pub(crate) fn env(number: u64, timestamp: u64) -> BlockEnv {
    BlockEnv {
        number,
        timestamp,
        beneficiary: Address::repeat_byte(0xbe),
        gas_limit: 30_000_000,
        base_fee: 7,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::repeat_byte(1)),
        excess_blob_gas: Some(0),
        hardfork: Some(Hardfork::Cancun),
    }
}

/// A pending transaction that no engine would take, told apart by `n`.
pub(crate) fn pending(n: u64) -> v1::PendingTransaction {
    v1::PendingTransaction {
        transaction: Some(v1::Transaction {
            raw: n.to_be_bytes().to_vec().into(),
            sender: vec![n as u8; 20].into(),
            hash: wire::hash_bytes(tx_hash(n)),
            unsigned: false,
        }),
        head_hash: wire::hash_bytes(B256::repeat_byte(1)),
        prestate: None,
        predecessors: Vec::new(),
    }
}

pub(crate) fn tx_hash(n: u64) -> B256 {
    keccak256(n.to_be_bytes())
}

pub(crate) fn head(number: u64, included: &[u64]) -> Event {
    Event::Head(v1::Head {
        chain_id: CHAIN,
        number,
        hash: wire::hash_bytes(keccak256(number.to_le_bytes())),
        parent_hash: wire::hash_bytes(B256::ZERO),
        next: None,
        included: included.iter().map(|n| wire::hash_bytes(tx_hash(*n))).collect(),
        orphaned: Vec::new(),
    })
}

pub(crate) fn assigned(n: u64, validators: &[u8]) -> Entry {
    Entry {
        event: Event::Pending(pending(n)),
        assigned: validators.iter().copied().map(hotkey).collect(),
    }
}

pub(crate) fn for_all(event: Event) -> Entry {
    Entry {
        event,
        assigned: Vec::new(),
    }
}

pub(crate) fn batch(entries: Vec<Entry>) -> Batch {
    Batch {
        entries,
        ..Batch::default()
    }
}

/// Names the PostgreSQL server whose schemas take the place of SQLite files; see `postgres`.
pub(crate) const SERVER: &str = "PORTCULLIS_TEST_POSTGRES";

/// The database of this folder: its own file, or its own schema.
pub(crate) async fn open(folder: &Path) -> Arc<Store> {
    let place: Place = address(folder).parse().unwrap();
    Arc::new(Store::open(place).await.unwrap())
}

/// What `open` opens, as `--database` says it.
pub(crate) fn address(folder: &Path) -> String {
    let Ok(server) = std::env::var(SERVER) else {
        return folder.join("platform.db").to_str().unwrap().to_owned();
    };
    let name = schema_name(folder);
    let address = in_schema(&server, &name);
    // Asked for from within runtimes and from without.
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(schema(&server, &name))
    });
    made.join().unwrap();
    address
}

fn schema_name(folder: &Path) -> String {
    let digest = keccak256(folder.as_os_str().as_encoded_bytes());
    format!("t{}", hex::encode(&digest[..8]))
}

pub(crate) fn in_schema(server: &str, name: &str) -> String {
    format!("{server}?options[search_path]={name}")
}

/// A schema on a PostgreSQL server, made when it is not there.
pub(crate) async fn schema(server: &str, name: &str) -> Place {
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    let create = format!("CREATE SCHEMA IF NOT EXISTS {name}");
    sqlx::query(sqlx::AssertSqlSafe(create))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    in_schema(server, name).parse().unwrap()
}

/// Everything in the log that is for this validator.
pub(crate) async fn read_all(log: &dyn Log, reader: &Hotkey) -> Vec<v1::StreamItem> {
    let (mut items, mut after) = (Vec::new(), 0);
    loop {
        let page = log.page(reader, after).await.unwrap();
        if page.through == after {
            return items;
        }
        items.extend(page.items);
        after = page.through;
    }
}

/// A platform on a socket, until it is dropped.
pub(crate) struct Served {
    pub store: Arc<Store>,
    pub validators: Arc<Validators>,
    channel: Channel,
    pub client: PlatformClient<Channel>,
    pub shutdown: CancellationToken,
}

impl Served {
    pub(crate) async fn start(store: Arc<Store>, validators: impl IntoIterator<Item = u8>) -> Self {
        Self::start_with(store, None, validators).await
    }

    /// Streams come from `log`, where one is given.
    pub(crate) async fn start_with(
        store: Arc<Store>,
        log: Option<Arc<dyn Log>>,
        validators: impl IntoIterator<Item = u8>,
    ) -> Self {
        let known = Validators::new([]);
        let permits = permitted(validators);
        store.remember(&Vec::from_iter(permits.iter().copied())).await.unwrap();
        known.update(permits);
        let shutdown = CancellationToken::new();
        let log = log.unwrap_or_else(|| store.clone());
        let service = PlatformService::new(store.clone(), known.clone(), None, shutdown.clone()).with_log(log);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = tonic::service::Routes::new(service.into_server());
        let ended = shutdown.clone();
        tokio::spawn(node::server::serve(
            listener,
            routes,
            &["portcullis.v1.Platform"],
            protos::FILE_DESCRIPTOR_SET,
            ended,
        ));
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let client = PlatformClient::new(channel.clone());
        Self {
            store,
            validators: known,
            channel,
            client,
            shutdown,
        }
    }

    /// A client that signs as validator `n`.
    pub(crate) fn signing(&self, n: u8) -> PlatformClient<Signing<Channel>> {
        let signer = Signer::new(Arc::new(validator(n)), None);
        PlatformClient::new(signer.layer(self.channel.clone()))
    }

    pub(crate) async fn stream(&self, n: u8, after: u64) -> Result<tonic::Streaming<v1::StreamItem>, tonic::Status> {
        let stream = self.signing(n).stream(v1::StreamRequest { after }).await;
        stream.map(tonic::Response::into_inner)
    }

    pub(crate) async fn report(&self, n: u8, request: &v1::ReportRequest) -> Result<u64, tonic::Status> {
        let accepted = self.signing(n).report(request.clone()).await;
        accepted.map(|response| response.into_inner().accepted)
    }

    pub(crate) async fn status(&self) -> v1::StatusResponse {
        self.client
            .clone()
            .status(v1::StatusRequest {})
            .await
            .unwrap()
            .into_inner()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn alice() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0xa1)).unwrap()
}

fn transfer(nonce: u64, to: Address) -> Transaction {
    let tx = TxLegacy {
        chain_id: Some(CHAIN),
        nonce,
        gas_price: 1_000_000_000,
        gas_limit: 30_000,
        to: TxKind::Call(to),
        value: U256::from(1),
        input: Bytes::new().0.into(),
    };
    let signature = alice().sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = alloy::consensus::TxEnvelope::from(tx.into_signed(signature));
    Transaction::decode(&envelope.encoded_2718()).unwrap()
}

/// Block `number` with three transactions of Alice's: two transfers, the second one to a contract, and a third.
pub(crate) fn case(number: u64) -> Case {
    let nonce = (number - 100) * 3;
    let mut pre = CompleteState::default();
    let wealth = Account {
        balance: U256::from(10).pow(U256::from(18)),
        nonce,
        ..Account::default()
    };
    let code = Bytes::from_static(&[0x00]);
    let idle = Account {
        nonce: 1,
        ..Account::default()
    };
    pre.0.accounts.insert(alice().address(), wealth.into());
    pre.0.insert_contract(IDLE, idle, code, []);
    let hash = |number: u64| keccak256(format!("block {number}"));
    // The parent's hash is part of what BLOCKHASH can read.
    pre.0.block_hashes.insert(number - 1, hash(number - 1));
    let expected = Expected {
        gas_used: 21_000,
        status: Some(ExpectedStatus::Success),
        logs: Some(0),
    };
    Case {
        id: format!("test-block-{number}"),
        kind: CaseKind::Block,
        chain_id: CHAIN,
        hardfork: Hardfork::Cancun,
        relaxed: false,
        block: env(number, 1_700_000_000 + number * 12),
        block_hash: Some(hash(number)),
        parent_hash: Some(hash(number - 1)),
        transactions: vec![
            transfer(nonce, Address::repeat_byte(0xb0)),
            transfer(nonce + 1, IDLE),
            transfer(nonce + 2, IDLE),
        ],
        pre,
        expect: Expect {
            block_gas_used: Some(63_000),
            per_tx: vec![expected; 3],
        },
        invariants: Vec::new(),
        inexpressible: Vec::new(),
    }
}

/// Blocks 100 and 101, the one the other's parent, and 200, which stands alone.
pub(crate) fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("recording");
    std::fs::create_dir_all(&path).unwrap();
    for number in [100, 101, 200] {
        Case::save([&case(number)], path.join(format!("{number}.json.gz"))).unwrap();
    }
    path
}

/// Recorded real blocks, where they are.
pub(crate) fn real_block(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PORTCULLIS_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join("blocks").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: block {name} because {} is not there (set PORTCULLIS_DATA)",
        path.display()
    );
    None
}
