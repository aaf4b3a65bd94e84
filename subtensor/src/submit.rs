//! Getting an extrinsic into a finalized block, and knowing how it ended there.
//!
//! An extrinsic that a pool refused can be made again with a newer nonce. One that may have been sent is never made a second
//! time: the same bytes are offered once more and the chain is searched for them, until they are found, their lifetime is
//! over, or the caller's deadline passes. So nothing takes effect twice.

use std::time::Duration;

use chain::Keypair;
use subxt::SubstrateConfig;
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::H256;
use subxt::error::DispatchError;
use subxt::tx::{Signer, TransactionStatus, ValidationResult};

use crate::call::Call;
use crate::connection::{Connection, Live};
use crate::fault::{self, Fault};
use crate::read::At;
use crate::signer::HotkeySigner;

/// Blocks for which an extrinsic is good.
const LIFETIME: u64 = 64;
/// Tries to get past the pool.
const ATTEMPTS: u32 = 5;
/// Between two of them, and between two looks for an extrinsic.
const PAUSE: Duration = Duration::from_secs(2);

/// An extrinsic that a node may have taken.
#[derive(Debug, Clone)]
struct Sent {
    bytes: Vec<u8>,
    hash: H256,
    /// The block that it builds on.
    born: u64,
}

/// How far a try came.
enum Tried {
    /// In this finalized block, successfully.
    Done(Box<At>),
    /// Not sent.
    Not(Fault),
    /// Sent, and lost sight of.
    Sent(Sent),
}

/// Signs and submits `call`; gives the finalized block in which it succeeded. Waits as long as the caller lets it; a node that has no
/// news of the extrinsic for `stall` is left for the next one.
pub(crate) async fn submit(
    connection: &Connection,
    signer: &Keypair,
    call: &Call,
    stall: Duration,
) -> Result<At, Fault> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let live = connection.live().await?;
        let fault = match attempt_at(connection, &live, signer, call, stall).await {
            Tried::Done(at) => return Ok(*at),
            Tried::Sent(sent) => {
                connection.lost(&live).await;
                tracing::warn!(call = call.call_name(), extrinsic = ?sent.hash, "lost sight of an extrinsic; looking for it on the chain");
                return search(connection, &sent).await;
            }
            Tried::Not(fault) => fault,
        };
        let lost = fault.is_the_nodes();
        if lost {
            connection.lost(&live).await;
        }
        if attempt == ATTEMPTS || !(lost || matches!(fault, Fault::Later(_))) {
            return Err(fault);
        }
        tracing::info!(call = call.call_name(), %fault, attempt, "an extrinsic was not taken; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a node is given to take.
type Submittable =
    subxt::tx::SubmittableTransaction<SubstrateConfig, subxt::client::OnlineClientAtBlockImpl<SubstrateConfig>>;

/// A signed extrinsic that the runtime finds valid at the newest finalized block.
async fn prepare(live: &Live, signer: &Keypair, call: &Call, name: &str) -> Result<(At, Submittable), Fault> {
    let signer = HotkeySigner(signer);
    let at = live.now().await?;
    let fail = |error| fault::extrinsic(error, name, at.spec());
    if !has_call(&at, call) {
        return Err(Fault::Missing {
            what: format!("call {name}"),
            spec: at.spec(),
        });
    }
    let transactions = at.0.transactions();
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .mortal(LIFETIME)
        .build();
    let signable = transactions.create_signable(call, &signer.account_id(), params).await;
    let signed = signable.map_err(fail)?.sign(&signer).map_err(fail)?;
    // The runtime's own answer has numbers where the pool's has words. A node that does not answer leaves it to the pool.
    match signed.validate().await {
        Ok(ValidationResult::Invalid(reason)) => return Err(fault::invalid(&reason)),
        Ok(ValidationResult::Unknown(reason)) => return Err(fault::unknown(&reason)),
        Ok(ValidationResult::Valid(_)) => {}
        Err(error) => match fail(error) {
            Fault::Lost(reason) => return Err(Fault::Lost(reason)),
            other => tracing::debug!(fault = %other, "the node does not check extrinsics beforehand"),
        },
    }
    Ok((at, signed))
}

async fn attempt_at(connection: &Connection, live: &Live, signer: &Keypair, call: &Call, stall: Duration) -> Tried {
    let name = format!("{}.{}", call.pallet_name(), call.call_name());
    let (at, signed) = match connection.answer(prepare(live, signer, call, &name)).await {
        Ok(prepared) => prepared,
        Err(fault) => return Tried::Not(fault),
    };
    let sent = Sent {
        bytes: signed.encoded().to_vec(),
        hash: signed.hash(),
        born: at.block(),
    };
    let submitted = async {
        let watched = signed.submit_and_watch().await;
        watched.map_err(|error| fault::extrinsic(error, &name, at.spec()))
    };
    let mut progress = match connection.answer(submitted).await {
        Ok(progress) => progress,
        Err(Fault::Lost(_)) => return Tried::Sent(sent),
        Err(refused) => return Tried::Not(refused),
    };
    let mut accepted = false;
    while let Ok(Some(status)) = tokio::time::timeout(stall, progress.next()).await {
        match status {
            Ok(TransactionStatus::InFinalizedBlock(block)) => {
                let found = async { ended(At(block.at().await.map_err(fault::at_block)?), sent.hash).await };
                return match connection.answer(found).await {
                    Ok(Some(at)) => Tried::Done(Box::new(at)),
                    Ok(None) | Err(Fault::Lost(_) | Fault::Garbled(_)) => Tried::Sent(sent),
                    Err(refused) => Tried::Not(refused),
                };
            }
            // Refused on arrival; afterwards it may have been included all the same.
            Ok(TransactionStatus::Invalid { message }) if !accepted => {
                return Tried::Not(fault::pool(1010, &message, ""));
            }
            Ok(
                TransactionStatus::Invalid { message }
                | TransactionStatus::Dropped { message }
                | TransactionStatus::Error { message },
            ) => {
                tracing::warn!(call = %name, message, "the pool gave an extrinsic up");
                return Tried::Sent(sent);
            }
            Ok(_) => accepted = true,
            Err(_) => return Tried::Sent(sent),
        }
    }
    Tried::Sent(sent)
}

fn has_call(at: &At, call: &Call) -> bool {
    at.0.metadata_ref()
        .pallet_by_name(call.pallet_name())
        .is_some_and(|pallet| pallet.call_variant_by_name(call.call_name()).is_some())
}

/// Looks for an extrinsic in every block of its lifetime, and offers it again to each node that it meets.
async fn search(connection: &Connection, sent: &Sent) -> Result<At, Fault> {
    let mut next = sent.born;
    let mut offered_to = None;
    loop {
        match connection.live().await {
            Err(fault) => tracing::warn!(%fault, "looking for an extrinsic: no node"),
            Ok(live) => match look(connection, &live, sent, &mut next, &mut offered_to).await {
                Ok(Some(at)) => return Ok(at),
                Ok(None) if next > sent.born.saturating_add(LIFETIME) => {
                    return Err(Fault::Later(
                        "the extrinsic's lifetime ended before it was included".to_owned(),
                    ));
                }
                Ok(None) => {}
                Err(fault) if fault.is_the_nodes() => connection.lost(&live).await,
                Err(Fault::Garbled(reason)) => tracing::warn!(reason, "looking for an extrinsic"),
                Err(fault) => return Err(fault),
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(
    connection: &Connection,
    live: &Live,
    sent: &Sent,
    next: &mut u64,
    offered_to: &mut Option<String>,
) -> Result<Option<At>, Fault> {
    let head = connection.answer(live.now()).await?;
    while *next <= head.block() {
        let found = async {
            let at = At(live.client.at_block(*next).await.map_err(fault::at_block)?);
            ended(at, sent.hash).await
        };
        if let Some(at) = connection.answer(found).await? {
            return Ok(Some(at));
        }
        *next += 1;
    }
    if offered_to.as_deref() != Some(&*live.endpoint) {
        // Already known, already included, or taken now: all of them are looked for in the same way.
        let again = head.0.transactions().from_bytes(sent.bytes.clone());
        let offered = async {
            again
                .submit()
                .await
                .map_err(|error| fault::extrinsic(error, "of before", head.spec()))
        };
        match connection.answer(offered).await {
            Err(Fault::Lost(reason)) => return Err(Fault::Lost(reason)),
            Err(fault) => tracing::debug!(%fault, "offered the extrinsic again"),
            Ok(_hash) => {}
        }
        *offered_to = Some(live.endpoint.to_string());
    }
    Ok(None)
}

/// How the extrinsic ended in this block; `None` where it is not in it.
async fn ended(at: At, hash: H256) -> Result<Option<At>, Fault> {
    let call = "of the block";
    let extrinsics =
        at.0.extrinsics()
            .fetch()
            .await
            .map_err(|error| fault::extrinsic(error, call, at.spec()))?;
    // Others' extrinsics may be of forms that cannot be read here.
    let Some(ours) = extrinsics.iter().flatten().find(|extrinsic| extrinsic.hash() == hash) else {
        return Ok(None);
    };
    let events = ours.events().await.map_err(|error| match error {
        subxt::error::EventsError::CannotFetchEventBytes(error) => fault::backend(error),
        other => Fault::garbled(other),
    })?;
    for event in events.iter() {
        let event = event.map_err(Fault::garbled)?;
        match (event.pallet_name(), event.event_name()) {
            ("System", "ExtrinsicFailed") => {
                let error = DispatchError::decode_from(event.field_bytes(), at.0.metadata()).map_err(Fault::garbled)?;
                return Err(fault::dispatch(&error));
            }
            ("System", "ExtrinsicSuccess") => return Ok(Some(at)),
            _ => {}
        }
    }
    Err(Fault::Garbled(
        "an extrinsic in a block ended neither well nor badly".to_owned(),
    ))
}
