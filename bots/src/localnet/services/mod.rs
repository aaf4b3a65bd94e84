//! What a network on a living chain has besides: keepers that pause, protocols that pay, nodes that audit each other.
//!
//! Each is set up on the chain by real transactions, runs as processes of its own, and may be left out (`--without`). What always
//! holds: what is not there asks nothing and is told nothing; a recording has none of it, since it has no chain to send to.

pub(crate) mod audits;
pub(crate) mod billing;
pub(crate) mod keepers;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent as _;
use contracts::{Agent, PauseGuard};

use self::audits::{Audits, Challenger, Deeds, NODES_MAX, Node};
use self::billing::{Account, Billing};
use self::keepers::{Gate, Keepers, key_file};
use super::error::LocalnetError;
use super::fleet::Folder;
use super::live::rpc::NodeClient;
use super::live::site::{Pace, Site};
use super::live::{Endpoint, LiveError, Living};
use super::members::Wiring;
use super::options::Options;
use super::plan::{Member, NetworkPlan};
use crate::scenario::setup::ether;
use crate::scenario::wallet::Wallet;

/// Ether of the account that builds what is not the town's.
const CONTRACTOR_ETHER: u64 = 10_000;
/// The vault's invariants, by the numbers that the registry gives them: it counts from 1, and the vault's are the first.
const OF_THE_VAULT: [u64; 4] = [1, 2, 3, 4];

/// A part that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Extra {
    /// Staked keepers, through whom the validators pause the vault.
    Keepers,
    /// Nodes that measure each other for a bounty.
    Audit,
    /// Protocols that pay for their protection by the second.
    Billing,
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Keepers => "keepers",
            Self::Audit => "audit",
            Self::Billing => "billing",
        })
    }
}

/// The gate of the vault, and who holds it.
#[derive(Debug, Clone)]
struct Defence {
    keepers: Keepers,
    gate: Gate,
}

/// All of it, as far as it is there.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    endpoint: Endpoint,
    node: NodeClient,
    contractor: Wallet,
    /// The validators' accounts on the chain, by uid.
    accounts: BTreeMap<u32, Wallet>,
    defence: Option<Defence>,
    billing: Option<Billing>,
    audits: Option<Audits>,
}

/// What was done so far, as the chain knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Achieved {
    /// Executions of the vault's pause, by keeper.
    pub(crate) executions: BTreeMap<u32, u64>,
    /// The first pause, whoever made it.
    pub(crate) pause: Option<Paused>,
    /// Of the audited nodes, by number.
    pub(crate) deeds: BTreeMap<u32, Deeds>,
    /// Of the payment contracts, in the order of their monitors.
    pub(crate) accounts: Vec<Account>,
}

/// A pause of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paused {
    /// The keeper that executed it, or the validator that did where no keeper was there in time.
    pub(crate) by: Member,
    /// The transaction.
    pub(crate) tx: B256,
    /// Its block, and its place there.
    pub(crate) place: (u64, u64),
}

impl Services {
    /// Builds what the options ask for and needs no address of a process: keepers with the vault's gate, payments, and the audits' manager.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(crate) async fn build(
        options: &Options,
        plan: &NetworkPlan,
        endpoint: &Endpoint,
        living: &mut Living,
    ) -> Result<Self, LiveError> {
        let node = NodeClient::new(&endpoint.rpc)?;
        let mut contractor = Wallet::derive(options.shape.seed, "contractor", 0)?;
        let wallets = Wallet::derive_all(options.shape.seed, "validator's account", plan.validators.len())?;
        let uids = plan.validators.iter().map(|validator| validator.uid);
        let accounts: BTreeMap<u32, Wallet> = uids.zip(wallets).collect();
        node.fund(&[(contractor.address(), ether(CONTRACTOR_ETHER))]).await?;
        let addresses: Vec<Address> = accounts.values().map(Wallet::address).collect();
        keepers::fund(&node, addresses.iter().copied()).await?;
        let admin = living.admin();
        let defence = match (admin, living.owner_mut()) {
            (Some(admin), Some(owner)) => {
                let mut site = Site::open(&node, owner, Pace::Hurried).await?;
                let keepers = Keepers::build(&mut site, options.shape.seed, options.keepers.into()).await?;
                // Nobody stops the vault alone where several judge.
                let threshold = plan.replicas.min(2);
                let gate = keepers.guard(&mut site, admin, addresses.clone(), threshold)?;
                site.finish().await?;
                Some(Defence { keepers, gate })
            }
            _ => None,
        };
        let mut site = Site::open(&node, &mut contractor, Pace::Hurried).await?;
        let billing = match options.has(Extra::Billing) {
            true => Some(Billing::build(&mut site, &addresses).await?),
            false => None,
        };
        let audits = match options.has(Extra::Audit) {
            true => Some(Audits::build(&mut site, audited_nodes(plan, options), options).await?),
            false => None,
        };
        Ok(Self {
            endpoint: endpoint.clone(),
            node,
            contractor,
            accounts,
            defence,
            billing,
            audits,
        })
    }

    /// Registers the nodes for their audits; the first of them, as many as the options say, get operators.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(crate) async fn register(&mut self, nodes: &[Node], seed: u64) -> Result<(), LiveError> {
        let Some(audits) = &mut self.audits else {
            return Ok(());
        };
        // The network looks on already.
        let mut site = Site::open(&self.node, &mut self.contractor, Pace::Own).await?;
        audits.register(&mut site, nodes, seed).await
    }

    /// The protocols that pay, with their contracts.
    pub(crate) fn protocols(&self) -> &[billing::Service] {
        self.billing.as_ref().map_or(&[], |billing| &billing.services)
    }

    /// Processes that run from the beginning: keepers, and monitors of payments.
    pub(crate) fn members(&self) -> Vec<Member> {
        let keepers = self
            .defence
            .iter()
            .flat_map(|defence| (1..).zip(&defence.keepers.workers));
        let monitors = (1..).zip(self.protocols());
        keepers
            .map(|(number, _)| Member::Keeper(number))
            .chain(monitors.map(|(number, _)| Member::Monitor(number)))
            .collect()
    }

    /// The auditors' processes, once the nodes are registered.
    pub(crate) fn auditors(&self) -> Vec<Member> {
        let operators = self.audits.iter().flat_map(|audits| (1..).zip(&audits.operators));
        operators.map(|(number, _)| Member::Auditor(number)).collect()
    }

    /// The process that an audited node's number stands for.
    pub(crate) fn audited(&self, number: u32) -> Option<Member> {
        numbered(&self.audits.as_ref()?.members, number).copied()
    }

    /// How long an epoch of the audits is; `None` without audits.
    pub(crate) fn audit_epoch(&self) -> Option<std::time::Duration> {
        self.audits.as_ref().map(Audits::epoch)
    }

    /// Writes what a member needs into the folder, and gives what it is told besides. `own_invariants`: the user named other
    /// invariants than the town's.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn equip(
        &self,
        member: Member,
        wiring: &Wiring,
        own_invariants: bool,
    ) -> Result<Vec<OsString>, LocalnetError> {
        let folder = &wiring.folder;
        match member {
            Member::Platform if self.billing.is_some() => folder
                .write(member, "toml", &Billing::gate(&self.endpoint))
                .map(|path| vec!["--config".into(), path.into()]),
            Member::Validator(uid) => {
                let (Some(defence), Some(account)) = (&self.defence, self.accounts.get(&uid)) else {
                    return Ok(Vec::new());
                };
                let key = folder.write(member, "key", &key_file(account))?;
                let watched: &[u64] = if own_invariants { &[] } else { &OF_THE_VAULT };
                let action = defence.keepers.action("gate", &defence.gate, watched);
                let text = keepers::defence(&member.to_string(), &action, &self.endpoint, &key);
                folder
                    .write(member, "toml", &text)
                    .map(|path| vec!["--config".into(), path.into()])
            }
            Member::Keeper(_) => {
                let Some(defence) = &self.defence else {
                    return Ok(Vec::new());
                };
                let worker = format!(
                    "keystore = \"{}\"\npassword = \"file:{}\"",
                    folder.file(member, "keystore").display(),
                    folder.file(member, "password").display()
                );
                let data = folder.file(member, "data");
                let text = defence.keepers.config(&self.endpoint, &data, &worker);
                folder.write(member, "toml", &text).map(run)
            }
            Member::Monitor(number) => {
                let memory = folder.file(member, "memory");
                let service = numbered(self.protocols(), number);
                Ok(service.map_or_else(Vec::new, |service| Billing::monitor(service, &self.endpoint, &memory)))
            }
            Member::Auditor(number) => {
                let audits = self.audits.as_ref();
                let operator = audits.and_then(|audits| numbered(&audits.operators, number));
                let (Some(audits), Some(operator)) = (audits, operator) else {
                    return Ok(Vec::new());
                };
                let key = folder.write(member, "key", &key_file(operator))?;
                let challenger = self.challenger(number, wiring);
                let data = folder.file(member, "data");
                let text = audits.config(&self.endpoint, &data, &key, challenger.as_ref());
                folder.write(member, "toml", &text).map(run)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// As whom the auditor of a node challenges miners: a validator's as that validator.
    fn challenger(&self, number: u32, wiring: &Wiring) -> Option<Challenger> {
        let validator = self
            .audited(number)
            .filter(|node| matches!(node, Member::Validator(_)))?;
        Some(Challenger {
            hotkey: wiring.folder.hotkey(validator),
            ledger: wiring.ledger?,
        })
    }

    /// The command that makes a keeper's encrypted key file, once; of everybody else none.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn keystore(&self, member: Member, folder: &Folder) -> Result<Option<Vec<OsString>>, LocalnetError> {
        let (Member::Keeper(number), Some(defence)) = (member, &self.defence) else {
            return Ok(None);
        };
        let Some(worker) = numbered(&defence.keepers.workers, number) else {
            return Ok(None);
        };
        let key = folder.write(member, "key", &key_file(worker))?;
        let password = folder.write(member, "password", &format!("password of {member}\n"))?;
        let file = |path: &Path| -> OsString { format!("file:{}", path.display()).into() };
        Ok(Some(vec![
            "key".into(),
            folder.file(member, "keystore").into(),
            "--password".into(),
            file(&password),
            "--import".into(),
            file(&key),
        ]))
    }

    /// What was done so far.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn achieved(&self) -> Result<Achieved, LiveError> {
        let mut achieved = Achieved::default();
        if let Some(defence) = &self.defence {
            let mut keepers = BTreeMap::new();
            for log in self.node.logs(defence.keepers.agent).await? {
                let Ok(executed) = Agent::Execute::decode_log(&log.inner) else {
                    continue;
                };
                if executed.jobKey != defence.gate.job || !executed.ok {
                    continue;
                }
                let keeper = executed.keeperId.saturating_to();
                *achieved.executions.entry(keeper).or_default() += 1;
                keepers.extend(log.transaction_hash.map(|tx| (tx, keeper)));
            }
            let fired = self.node.logs(defence.gate.guard).await?;
            achieved.pause = fired.iter().find_map(|log| self.paused(log, &keepers));
        }
        if let Some(audits) = &self.audits {
            achieved.deeds = audits.deeds(&self.node).await?;
        }
        if let Some(billing) = &self.billing {
            achieved.accounts = billing.accounts(&self.node).await?.to_vec();
        }
        Ok(achieved)
    }

    /// The pause that a guard's log tells of: executed by one of these keepers, by transaction, or by a reporter itself.
    fn paused(&self, log: &Log, keepers: &BTreeMap<B256, u32>) -> Option<Paused> {
        let fired = PauseGuard::Fired::decode_log(&log.inner).ok()?;
        let tx = log.transaction_hash?;
        let validator = || {
            let mut accounts = self.accounts.iter();
            accounts.find_map(|(uid, account)| (account.address() == fired.by).then_some(Member::Validator(*uid)))
        };
        Some(Paused {
            by: keepers
                .get(&tx)
                .map(|keeper| Member::Keeper(*keeper))
                .or_else(validator)?,
            tx,
            place: (log.block_number?, log.transaction_index?),
        })
    }

    /// Whether a pause stands before a transaction of this block.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn is_ahead(&self, pause: &Paused, of: B256, block: u64) -> Result<bool, LiveError> {
        let (paused_in, index) = pause.place;
        if paused_in != block {
            return Ok(paused_in < block);
        }
        let receipts = self.node.receipts(block).await?;
        let place = receipts.iter().position(|receipt| receipt.hash == of);
        Ok(place.is_some_and(|place| index < place as u64))
    }
}

impl Achieved {
    /// Executions of all keepers, verdicts and payouts of all auditors, seconds of all protocols.
    pub(crate) fn tally(&self) -> Tally {
        let deeds = || self.deeds.values();
        Tally {
            executions: self.executions.values().sum(),
            verdicts: deeds().map(|deed| deed.verdicts).sum(),
            payouts: deeds().map(|deed| deed.payouts).sum(),
            billed_s: self.accounts.iter().map(|account| account.billed_s).sum(),
        }
    }

    /// Whether each of the first `auditors` nodes has claimed a bounty.
    pub(crate) fn all_claimed(&self, auditors: usize) -> bool {
        let claimed = |number| self.deeds.get(&number).is_some_and(|deed| deed.payouts > 0);
        (1_u32..).take(auditors).all(claimed)
    }
}

/// [`Achieved`] in four numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) executions: u64,
    pub(crate) verdicts: u64,
    pub(crate) payouts: u64,
    pub(crate) billed_s: u64,
}

/// The item with this number: they count from 1.
pub(crate) fn numbered<T>(items: &[T], number: u32) -> Option<&T> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    items.get(place)
}

/// How many nodes are audited.
fn audited_nodes(plan: &NetworkPlan, options: &Options) -> usize {
    let keepers = match options.has(Extra::Keepers) {
        true => options.keepers.into(),
        false => 0,
    };
    (1 + plan.validators.len() + keepers + plan.miners.len()).min(NODES_MAX)
}

/// Whole tokens of 18 decimals, rounded down.
pub(crate) fn whole(amount: U256) -> u64 {
    (amount / ether(1)).saturating_to()
}

fn run(config: PathBuf) -> Vec<OsString> {
    vec!["run".into(), "--config".into(), config.into()]
}
