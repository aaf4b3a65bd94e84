//! Miners that answer to do harm: too much, nonsense, drop by drop, or without end.
//!
//! The servers are the tests' own, some of them below gRPC, on plain HTTP/2 frames. Whatever they send: the challenge ends within its
//! deadline, what they can make the validator hold is bounded, it is a miss, and the log hears of it once a minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Signature, TxKind};
use chain::Keypair;
use chain::auth::{self, BodyDigest, Scheme};
use engine::{B256, BlockEnv, Transaction};
use prost::Message;
use protos::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::instrument::WithSubscriber;
use validator::codes::Codes;
use validator::miners::{Miners, Missed, Reply, Sealed, Serving};
use validator::store::Store;
use wire::{ANSWER_PATH as PATH, Answer, AnswerOutcome, Challenge, Wire};

/// Long enough for a good answer on a busy machine.
const DEADLINE: Duration = Duration::from_secs(3);

struct World {
    miners: Miners,
    validator: Arc<Keypair>,
    sealed: Sealed,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    let validator = Arc::new(Keypair::from_seed([200; 32]));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
    let codes = Arc::new(Codes::new(store, 1 << 20));
    let nothing = TxLegacy {
        to: TxKind::Call(engine::Address::ZERO),
        ..TxLegacy::default()
    };
    let signature = Signature::new(engine::U256::from(1), engine::U256::from(1), false);
    let raw = TxEnvelope::from(nothing.into_signed(signature)).encoded_2718();
    let challenge = Challenge {
        id: B256::repeat_byte(7),
        chain_id: 31_337,
        head_hash: B256::repeat_byte(1),
        env: BlockEnv {
            number: 1,
            timestamp: 1,
            beneficiary: engine::Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 7,
            difficulty: engine::U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: Some(0),
            hardfork: None,
        },
        invariant_set_version: 1,
        invariants: Vec::new(),
        transaction: Transaction::with_sender(&raw, engine::Address::ZERO).unwrap(),
        predecessors: Vec::new(),
        prestate: None,
        deadline: DEADLINE,
    };
    World {
        miners: Miners::new(Arc::clone(&validator), codes),
        validator,
        sealed: Sealed::new(&challenge, Default::default()),
        _folder: folder,
    }
}

fn miner_key() -> Keypair {
    Keypair::from_seed([9; 32])
}

impl World {
    /// An answer that is right in form, signed for this validator.
    fn signed(&self, engine_version: &str) -> v1::Signed {
        let answer = Answer {
            challenge_id: self.sealed.id,
            outcome: AnswerOutcome::Verdicts(wire::Verdicts {
                findings: Vec::new(),
                execution: None,
                engine_version: engine_version.to_owned(),
                state_digest: None,
            }),
        };
        let (receiver, payload) = (self.validator.account(), answer.to_wire().encode_to_vec());
        auth::seal(&miner_key(), Some(&receiver), PATH, payload, auth::now_ns())
    }

    /// The same as the frame of a gRPC message.
    fn answer(&self, engine_version: &str) -> Vec<u8> {
        message(&self.signed(engine_version).encode_to_vec())
    }

    /// One whose tag is good, and whose signature is not.
    fn answer_without_evidence(&self) -> Vec<u8> {
        let mut signed = self.signed("test");
        signed.signature = vec![0; 64].into();
        let (from, to) = (miner_key(), self.validator.account());
        let digest = BodyDigest::of(&[&signed.payload[..], &signed.signature].concat());
        let receiver = to.to_ss58();
        let lines = auth::message(
            Scheme::Tag,
            auth::METHOD,
            PATH,
            &digest,
            signed.nonce_ns,
            from.address(),
            Some(&receiver),
        );
        let tag = from.shared_with(&to).unwrap().tag(lines.as_bytes());
        signed.tag = tag.to_vec().into();
        message(&signed.encode_to_vec())
    }

    async fn reply(&self, address: SocketAddr) -> Reply {
        let serving = Serving {
            uid: 4,
            hotkey: miner_key().account(),
            address,
        };
        self.miners.challenge(&serving, &self.sealed).await
    }

    async fn ask(&self, address: SocketAddr) -> (Result<wire::Verdicts, Missed>, Duration) {
        let start = Instant::now();
        (self.reply(address).await.verdicts, start.elapsed())
    }

    /// Asks, and expects a miss within the deadline (and some more for a busy machine).
    async fn miss(&self, address: SocketAddr) -> Missed {
        let (verdicts, took) = self.ask(address).await;
        assert!(took < DEADLINE + Duration::from_secs(15), "it took {took:?}");
        verdicts.unwrap_err()
    }
}

/// A gRPC message: a flag, a length, and the bytes.
fn message(payload: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    framed.extend(payload);
    framed
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut framed = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    framed.extend([kind, flags]);
    framed.extend(stream.to_be_bytes());
    framed.extend(payload);
    framed
}

/// A header field without Huffman coding and without index.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut coded = vec![0, u8::try_from(name.len()).unwrap()];
    coded.extend(name.bytes());
    coded.push(u8::try_from(value.len()).unwrap());
    coded.extend(value.bytes());
    coded
}

/// `:status 200` by its index in HPACK's table, and gRPC's content type.
fn headers() -> Vec<u8> {
    let mut block = vec![0x88];
    block.extend(field("content-type", "application/grpc"));
    frame(HEADERS, END_HEADERS, 1, &block)
}

fn trailers() -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("grpc-status", "0"))
}

/// What a hostile server writes once it was asked; `sent` counts what it got rid of.
type Act = Arc<dyn Fn(TcpStream, Arc<AtomicU64>) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// Serves HTTP/2 as far as the settings, then acts.
async fn hostile(act: Act) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (act, sent) = (Arc::clone(&act), Arc::clone(&counted));
            tokio::spawn(async move {
                // The preface and whatever comes with it; the request's headers come in a frame of type 1.
                let mut seen = Vec::new();
                let mut buffer = [0; 4_096];
                if socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.is_err() {
                    return;
                }
                let asked = |seen: &[u8]| seen.windows(9).any(|at| at[3] == HEADERS && at[5..9] == [0, 0, 0, 1]);
                while !asked(&seen) {
                    match socket.read(&mut buffer).await {
                        Ok(read) if read > 0 => seen.extend(&buffer[..read]),
                        _ => return,
                    }
                }
                act(socket, sent).await;
            });
        }
    });
    (address, sent)
}

async fn write(socket: &mut TcpStream, bytes: &[u8], sent: &AtomicU64) -> bool {
    // A validator that does not read any more does not hold the test up.
    let written = tokio::time::timeout(Duration::from_secs(5), socket.write_all(bytes)).await;
    let good = matches!(written, Ok(Ok(())));
    if good {
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    good
}

fn plays(parts: Vec<Vec<u8>>) -> Act {
    Arc::new(move |mut socket, sent| {
        let parts = parts.clone();
        Box::pin(async move {
            for part in parts {
                write(&mut socket, &part, &sent).await;
            }
            // Stays open until the other side has had enough.
            let _read = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut [0; 1])).await;
        })
    })
}

#[tokio::test]
async fn the_frames_of_these_tests_are_good_ones() {
    let world = world().await;
    let (address, _) = hostile(plays(vec![
        headers(),
        frame(DATA, 0, 1, &world.answer("test")),
        trailers(),
    ]))
    .await;
    let (verdicts, _) = world.ask(address).await;
    assert_eq!(verdicts.unwrap().engine_version, "test");
}

#[tokio::test]
async fn who_signs_with_anything_has_said_nothing_as_soon_as_it_is_held_to_its_word() {
    let world = world().await;
    let answers = |answer: Vec<u8>| hostile(plays(vec![headers(), frame(DATA, 0, 1, &answer), trailers()]));
    let (address, _) = answers(world.answer_without_evidence()).await;
    let mut reply = world.reply(address).await;
    assert!(reply.verdicts.is_ok(), "its tag is good");
    reply.vouch();
    assert!(reply.signed.is_none());
    let missed = reply.verdicts.unwrap_err();
    assert!(matches!(&missed, Missed::Signature(_)), "{missed}");

    let world = self::world().await;
    let (address, _) = answers(world.answer("test")).await;
    let mut reply = world.reply(address).await;
    reply.vouch();
    assert!(reply.verdicts.is_ok() && reply.signed.is_some());
}

#[tokio::test]
async fn a_huge_answer_is_not_even_read() {
    let world = world().await;
    // It announces 3 GiB, and begins.
    let mut announced = vec![0];
    announced.extend((3_u32 << 30).to_be_bytes());
    announced.extend([0; 8_000]);
    let (address, _) = hostile(plays(vec![headers(), frame(DATA, 0, 1, &announced)])).await;
    let missed = world.miss(address).await;
    assert!(
        matches!(&missed, Missed::Status(status) if status.code() == tonic::Code::OutOfRange),
        "{missed}"
    );
    assert!(
        world.sealed.answer_limit() <= 64 << 10,
        "that is all that is ever read of an answer to this challenge"
    );
}

#[tokio::test]
async fn a_long_text_in_a_good_answer_is_a_miss() {
    let world = world().await;
    let (address, _) = hostile(plays(vec![
        headers(),
        frame(DATA, 0, 1, &world.answer(&"x".repeat(9_000))),
        trailers(),
    ]))
    .await;
    let missed = world.miss(address).await;
    assert!(missed.to_string().contains("9000 bytes"), "{missed}");
}

#[tokio::test]
async fn nonsense_is_a_miss() {
    let world = world().await;
    let garbage: Vec<Vec<Vec<u8>>> = vec![
        // No message of protobuf.
        vec![headers(), frame(DATA, 0, 1, &message(&[0xff; 40])), trailers()],
        // No frames at all.
        vec![vec![0xff; 2_000]],
        // Headers that no table knows.
        vec![frame(HEADERS, END_HEADERS, 1, &[0xff; 30])],
        // Nothing but an end.
        vec![headers(), trailers()],
        // An unknown compression.
        vec![headers(), frame(DATA, 0, 1, &[7, 0, 0, 0, 1, 1]), trailers()],
    ];
    for parts in garbage {
        let world = self::world().await;
        let (address, _) = hostile(plays(parts)).await;
        world.miss(address).await;
    }
    // Who closes at once, and who is not there.
    let (address, _) = hostile(Arc::new(|socket, _| Box::pin(async move { drop(socket) }))).await;
    world.miss(address).await;
}

#[tokio::test]
async fn a_status_that_goes_on_and_on_is_cut() {
    let world = world().await;
    let long = "reason ".repeat(18);
    let mut block = vec![0x88];
    block.extend(field("content-type", "application/grpc"));
    block.extend(field("grpc-status", "13"));
    block.extend(field("grpc-message", &long));
    // Fifteen kibibytes of headers more: more than is taken.
    for n in 0..150 {
        block.extend(field(&format!("x-{n}"), &"y".repeat(120)));
    }
    let (address, _) = hostile(plays(vec![frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block[..16_000],
    )]))
    .await;
    let missed = world.miss(address).await;
    assert!(missed.to_string().len() < 1_000, "{missed}");
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_at_the_deadline() {
    let world = world().await;
    let answer = frame(DATA, 0, 1, &world.answer("test"));
    let drips: Act = Arc::new(move |mut socket, sent| {
        let answer = answer.clone();
        Box::pin(async move {
            write(&mut socket, &headers(), &sent).await;
            for byte in answer {
                if !write(&mut socket, &[byte], &sent).await {
                    return;
                }
                // The drip is what is tried here, not a wait for something.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    });
    let (address, _) = hostile(drips).await;
    let missed = world.miss(address).await;
    assert!(matches!(missed, Missed::Late(_)), "{missed}");
}

#[tokio::test]
async fn an_answer_without_end_fills_a_window_and_no_more() {
    let world = world().await;
    // After a good answer, message after message, as fast as they are taken.
    let first = frame(DATA, 0, 1, &world.answer("test"));
    let next = frame(DATA, 0, 1, &message(&[0; 10_000]));
    let endless: Act = Arc::new(move |mut socket, sent| {
        let (first, next) = (first.clone(), next.clone());
        Box::pin(async move {
            write(&mut socket, &headers(), &sent).await;
            write(&mut socket, &first, &sent).await;
            while write(&mut socket, &next, &sent).await {}
        })
    });
    let (address, sent) = hostile(endless).await;
    let missed = world.miss(address).await;
    println!("{missed}; the server got rid of {} bytes", sent.load(Ordering::Relaxed));
}

#[tokio::test]
async fn asking_for_the_same_bytecode_over_and_over_gets_it_once() {
    let mut world = world().await;
    let code = engine::Bytes::from(vec![0x5b; 20_000]);
    let hash = alloy::primitives::keccak256(&code);
    world.sealed.codes.insert(hash, code);
    let lacks = Answer {
        challenge_id: world.sealed.id,
        outcome: AnswerOutcome::MissingCodes(vec![hash; 200]),
    };
    let (receiver, payload) = (world.validator.account(), lacks.to_wire().encode_to_vec());
    let signed = auth::seal(&miner_key(), Some(&receiver), PATH, payload, auth::now_ns());
    let answer = message(&signed.encode_to_vec());
    let received = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&received);
    let asks: Act = Arc::new(move |mut socket, sent| {
        let (answer, counting) = (answer.clone(), Arc::clone(&counting));
        Box::pin(async move {
            for part in [headers(), frame(DATA, 0, 1, &answer), trailers()] {
                write(&mut socket, &part, &sent).await;
            }
            let mut buffer = vec![0; 1 << 16];
            while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_secs(2), socket.read(&mut buffer)).await {
                if read == 0 {
                    return;
                }
                counting.fetch_add(read as u64, Ordering::Relaxed);
            }
        })
    });
    let (address, _) = hostile(asks).await;
    world.miss(address).await;
    let received = received.load(Ordering::Relaxed);
    assert!(received < 100_000, "{received} bytes for a bytecode of 20,000");
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_hundred_misses_are_one_line_in_the_log() {
    let world = world().await;
    let (address, _) = hostile(plays(vec![
        headers(),
        frame(DATA, 0, 1, &message(&[0xff; 40])),
        trailers(),
    ]))
    .await;
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || written.clone())
        .finish();
    async {
        for _ in 0..100 {
            world.miss(address).await;
        }
    }
    .with_subscriber(subscriber)
    .await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("no answer that counts"))
        .collect();
    assert_eq!(said.len(), 1, "{text}");
    assert!(said[0].contains("uid=4"), "{}", said[0]);
}
