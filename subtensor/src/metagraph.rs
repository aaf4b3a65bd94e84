//! All neurons of a subnet out of the storages that hold them, and when its epochs run.
//!
//! Every value of one metagraph is of one finalized block. [`assemble`] is the rule, over plain values.

use std::collections::HashMap;

use chain::commit::round::{Schedule, Stateful};
use chain::{AccountId, Axon, AxonInfo, Metagraph, Neuron};
use futures::stream::{StreamExt, TryStreamExt};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::utils::AccountId32;

use crate::call;
use crate::fault::Fault;
use crate::read::At;

/// Reads of single hotkeys that run at once.
const AT_ONCE: usize = 32;
/// The root subnet, whose stake is TAO.
const ROOT: u16 = 0;

/// `AxonInfo` as the chain keeps it.
#[derive(Debug, Clone, PartialEq, Eq, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct AxonRow {
    pub(crate) block: u64,
    pub(crate) version: u32,
    pub(crate) ip: u128,
    pub(crate) port: u16,
    pub(crate) ip_type: u8,
    pub(crate) protocol: u8,
}

impl AxonRow {
    /// An axon that can be reached; a removed one has port 0 or no address.
    fn axon(&self) -> Option<Axon> {
        let ip = call::ip_address(self.ip, self.ip_type)?;
        (self.port != 0).then_some(Axon {
            block: self.block,
            info: AxonInfo {
                version: self.version,
                ip,
                port: self.port,
                protocol: self.protocol,
            },
        })
    }
}

/// A subnet as its storages hold it.
#[derive(Debug, Clone, Default)]
struct Rows {
    netuid: u16,
    block: u64,
    /// `SubnetworkN`.
    count: u16,
    keys: HashMap<u16, AccountId>,
    axons: HashMap<AccountId, AxonRow>,
    registered_at: HashMap<u16, u64>,
    /// Coldkey and stake, by hotkey.
    accounts: HashMap<AccountId, (AccountId, u64)>,
    active: Vec<bool>,
    permit: Vec<bool>,
    last_update: Vec<u64>,
    incentive: Vec<u16>,
    dividends: Vec<u16>,
    consensus: Vec<u16>,
    trust: Vec<u16>,
    emission: Vec<u64>,
}

/// The period of epochs, the block from which it counts, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    tempo: u64,
    last_epoch_block: u64,
    epoch_index: u64,
}

/// A schedule as every schedule can be written: from the last epoch on, by a period.
///
/// An epoch that the owner has asked for earlier than the period gives moves the count back, so that the next epoch, and all
/// after it, are where the chain will run them.
fn clock(schedule: &Schedule, block: u64) -> Clock {
    match *schedule {
        Schedule::Stateless { netuid, tempo } => {
            let (period, offset) = (tempo.saturating_add(1), u64::from(netuid).saturating_add(1));
            // The epoch of `block` itself has run when the block is done.
            let index = block.saturating_add(offset) / period;
            Clock {
                tempo: period,
                last_epoch_block: index.saturating_mul(period).saturating_sub(offset),
                epoch_index: index,
            }
        }
        Schedule::Stateful(state) => {
            let earlier = match state.pending_epoch_at {
                0 => state.last_epoch_block,
                pending => pending.saturating_sub(state.tempo),
            };
            Clock {
                tempo: state.tempo,
                last_epoch_block: earlier.min(state.last_epoch_block),
                epoch_index: state.epoch_index,
            }
        }
    }
}

fn assemble(rows: &Rows, clock: Clock) -> Result<Metagraph, Fault> {
    fn at<T: Copy + Default>(values: &[T], uid: u16) -> T {
        values.get(usize::from(uid)).copied().unwrap_or_default()
    }
    let neurons = (0..rows.count).map(|uid| {
        let hotkey = *rows
            .keys
            .get(&uid)
            .ok_or_else(|| Fault::Garbled(format!("uid {uid} of subnet {} has no hotkey", rows.netuid)))?;
        let (coldkey, stake) = rows.accounts.get(&hotkey).copied().unwrap_or((hotkey, 0));
        let registered_at = rows.registered_at.get(&uid).copied().unwrap_or_default();
        let last_update = at(&rows.last_update, uid);
        Ok(Neuron {
            coldkey,
            stake,
            axon: rows.axons.get(&hotkey).and_then(AxonRow::axon),
            validator_permit: at(&rows.permit, uid),
            active: at(&rows.active, uid),
            registered_at,
            last_update,
            incentive: at(&rows.incentive, uid),
            dividends: at(&rows.dividends, uid),
            incentive_share: f64::from(at(&rows.incentive, uid)) / f64::from(u16::MAX),
            consensus: at(&rows.consensus, uid),
            validator_trust: at(&rows.trust, uid),
            emission: at(&rows.emission, uid),
            // The chain writes the block of the registration at first, and a later one with each row or commit.
            weights_known: last_update > registered_at,
            ..Neuron::new(uid, hotkey)
        })
    });
    Ok(Metagraph {
        block: rows.block,
        last_epoch_block: clock.last_epoch_block,
        epoch_index: clock.epoch_index,
        ..Metagraph::new(rows.netuid, clock.tempo, neurons.collect::<Result<_, Fault>>()?)
    })
}

/// When epochs of the subnet run, by the storages that this runtime has.
pub(crate) async fn schedule(at: &At, netuid: u16) -> Result<Schedule, Fault> {
    let key = (netuid,);
    let tempo = u64::from(at.value::<_, u16>("Tempo", key).await?);
    if !at.has("LastEpochBlock") {
        return Ok(Schedule::Stateless { netuid, tempo });
    }
    let (last_epoch_block, pending_epoch_at, epoch_index, blocks_since_last_step) = tokio::try_join!(
        at.value("LastEpochBlock", key),
        at.or("PendingEpochAt", key, 0),
        at.or("SubnetEpochIndex", key, 0),
        at.or("BlocksSinceLastStep", key, 0),
    )?;
    Ok(Schedule::Stateful(Stateful {
        tempo,
        last_epoch_block,
        pending_epoch_at,
        epoch_index,
        blocks_since_last_step,
    }))
}

/// Whether the subnet exists.
pub(crate) async fn exists(at: &At, netuid: u16) -> Result<bool, Fault> {
    at.value("NetworksAdded", (netuid,)).await
}

/// The subnet at that block.
pub(crate) async fn read(at: &At, netuid: u16) -> Result<Metagraph, Fault> {
    let key = (netuid,);
    let (count, keys, axons, registered) = tokio::try_join!(
        at.value::<_, u16>("SubnetworkN", key),
        at.rows::<(u16, u16), _, AccountId32>("Keys", key),
        at.rows::<(u16, AccountId32), _, AxonRow>("Axons", key),
        at.rows::<(u16, u16), _, u64>("BlockAtRegistration", key),
    )?;
    let (active, permit, last_update, incentive, dividends, consensus, trust, emission) = tokio::try_join!(
        at.value("Active", key),
        at.value("ValidatorPermit", key),
        at.value("LastUpdate", key),
        at.value("Incentive", key),
        at.value("Dividends", key),
        at.or("Consensus", key, Vec::new()),
        at.or("ValidatorTrust", key, Vec::new()),
        at.value("Emission", key),
    )?;
    let keys: HashMap<u16, AccountId> = keys
        .into_iter()
        .map(|((_, uid), hotkey)| (uid, AccountId::new(hotkey.0)))
        .collect();
    let tao_weight = tao_weight(at).await?;
    let accounts = futures::stream::iter(keys.values().copied())
        .map(|hotkey| async move { Ok((hotkey, account(at, netuid, &hotkey, tao_weight).await?)) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let rows = Rows {
        netuid,
        block: at.block(),
        count,
        keys,
        axons: axons
            .into_iter()
            .map(|((_, hotkey), axon)| (AccountId::new(hotkey.0), axon))
            .collect(),
        registered_at: registered.into_iter().map(|((_, uid), block)| (uid, block)).collect(),
        accounts,
        active,
        permit,
        last_update,
        incentive,
        dividends,
        consensus,
        trust,
        emission,
    };
    assemble(&rows, clock(&schedule(at, netuid).await?, at.block()))
}

/// What TAO on the root subnet weigh beside a subnet's own stake: parts of 2^64.
async fn tao_weight(at: &At) -> Result<u64, Fault> {
    match at.keys("TaoWeight") {
        Some(0) => at.value("TaoWeight", ()).await,
        // Where it is kept for each subnet, TAO on root weigh what root's own entry says.
        Some(1) => at.value("TaoWeight", (ROOT,)).await,
        _ => Ok(0),
    }
}

async fn account(at: &At, netuid: u16, hotkey: &AccountId, tao_weight: u64) -> Result<(AccountId, u64), Fault> {
    let key = AccountId32(*hotkey.as_bytes());
    let (coldkey, stake) = tokio::try_join!(
        at.value::<_, AccountId32>("Owner", (key,)),
        stake(at, netuid, key, tao_weight)
    )?;
    Ok((AccountId::new(coldkey.0), stake))
}

async fn stake(at: &At, netuid: u16, hotkey: AccountId32, tao_weight: u64) -> Result<u64, Fault> {
    if !at.has("TotalHotkeyAlpha") {
        return at.value("TotalHotkeyStake", (hotkey,)).await;
    }
    let own: u64 = at.value("TotalHotkeyAlpha", (hotkey, netuid)).await?;
    if tao_weight == 0 {
        return Ok(own);
    }
    let root: u64 = at.value("TotalHotkeyAlpha", (hotkey, ROOT)).await?;
    Ok(weigh(own, root, tao_weight))
}

/// The subnet's own stake and the weighed TAO on root, before delegation between parents and children.
fn weigh(own: u64, root: u64, tao_weight: u64) -> u64 {
    let weighed = u128::from(root) * u128::from(tao_weight) / u128::from(u64::MAX);
    own.saturating_add(u64::try_from(weighed).unwrap_or(u64::MAX))
}

/// The stake behind one hotkey, as [`read`] gives it.
pub(crate) async fn stake_of(at: &At, netuid: u16, hotkey: &AccountId) -> Result<u64, Fault> {
    stake(at, netuid, AccountId32(*hotkey.as_bytes()), tao_weight(at).await?).await
}

/// The hotkey's uid.
pub(crate) async fn uid_of(at: &At, netuid: u16, hotkey: &AccountId) -> Result<Option<u16>, Fault> {
    at.maybe("Uids", (netuid, AccountId32(*hotkey.as_bytes()))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> Rows {
        let hotkey = AccountId::new([1; 32]);
        Rows {
            netuid: 7,
            block: 100,
            count: 1,
            keys: HashMap::from([(0, hotkey)]),
            registered_at: HashMap::from([(0, 50)]),
            accounts: HashMap::from([(hotkey, (AccountId::new([2; 32]), 9))]),
            last_update: vec![60],
            incentive: vec![u16::MAX],
            permit: vec![true],
            ..Rows::default()
        }
    }

    const CLOCK: Clock = Clock {
        tempo: 10,
        last_epoch_block: 95,
        epoch_index: 3,
    };

    #[test]
    fn rows_become_neurons() {
        let mut rows = rows();
        let hotkey = AccountId::new([1; 32]);
        let row = AxonRow {
            block: 55,
            version: 1,
            ip: 0xcb00_7107,
            port: 8091,
            ip_type: 4,
            protocol: 4,
        };
        rows.axons.insert(hotkey, row.clone());
        let metagraph = assemble(&rows, CLOCK).unwrap();
        assert_eq!(
            (metagraph.netuid, metagraph.block, metagraph.next_epoch_block()),
            (7, 100, 105)
        );
        let neuron = &metagraph.neurons[0];
        assert_eq!((neuron.uid, neuron.hotkey, neuron.stake), (0, hotkey, 9));
        assert_eq!(neuron.coldkey, AccountId::new([2; 32]));
        assert_eq!((neuron.registered_at, neuron.last_update), (50, 60));
        assert!(neuron.weights_known && neuron.validator_permit && !neuron.active);
        assert!((neuron.incentive_share - 1.0).abs() < f64::EPSILON);
        let axon = neuron.axon.unwrap();
        assert_eq!((axon.block, axon.info.port), (55, 8091));
        assert_eq!(axon.info.ip.to_string(), "203.0.113.7");

        rows.axons.insert(hotkey, AxonRow { port: 0, ..row });
        assert_eq!(assemble(&rows, CLOCK).unwrap().neurons[0].axon, None, "removed");
        rows.last_update = vec![50];
        assert!(!assemble(&rows, CLOCK).unwrap().neurons[0].weights_known);
    }

    #[test]
    fn a_uid_without_a_hotkey_is_an_error_and_no_neuron() {
        let broken = Rows { count: 2, ..rows() };
        let fault = assemble(&broken, CLOCK).unwrap_err().to_string();
        assert!(fault.contains("uid 1 of subnet 7"), "{fault}");
    }

    #[test]
    fn root_stake_is_weighed() {
        assert_eq!(weigh(10, 1_000, u64::MAX), 1_010);
        assert_eq!(weigh(10, 1_000, u64::MAX / 100 * 18), 10 + 179, "0.18, rounded down");
        assert_eq!(weigh(u64::MAX, 5, u64::MAX), u64::MAX);
    }

    #[test]
    fn an_epoch_that_the_owner_asked_for_is_the_next_one() {
        let state = Stateful {
            tempo: 20,
            last_epoch_block: 80,
            pending_epoch_at: 95,
            epoch_index: 4,
            blocks_since_last_step: 11,
        };
        let asked = clock(&Schedule::Stateful(state), 91);
        assert_eq!(asked.last_epoch_block + asked.tempo, 95);
        let never_asked = Stateful {
            pending_epoch_at: 0,
            ..state
        };
        assert_eq!(clock(&Schedule::Stateful(never_asked), 91).last_epoch_block, 80);
        let too_late_to_matter = Stateful {
            pending_epoch_at: 400,
            ..state
        };
        assert_eq!(clock(&Schedule::Stateful(too_late_to_matter), 91).last_epoch_block, 80);
    }

    proptest! {
        #[test]
        fn both_schedules_reveal_at_the_same_block(netuid: u16, tempo in 1u64..400, head in 500_000u64..1_000_000, period in 1u64..4) {
            let stateless = Schedule::Stateless { netuid, tempo };
            let clock = clock(&stateless, head);
            let offset = u64::from(netuid) + 1;
            prop_assert_eq!((clock.last_epoch_block + offset) % (tempo + 1), 0);
            prop_assert!(clock.last_epoch_block <= head && head < clock.last_epoch_block + clock.tempo);
            let stateful = Stateful {
                tempo: clock.tempo,
                last_epoch_block: clock.last_epoch_block,
                epoch_index: clock.epoch_index,
                ..Stateful::default()
            };
            prop_assert_eq!(
                stateless.first_reveal_block(head, period),
                Schedule::Stateful(stateful).first_reveal_block(head, period)
            );
        }
    }
}
