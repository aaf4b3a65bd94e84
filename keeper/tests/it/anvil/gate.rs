//! A pause through keepers as a whole: a raid that is pending, a validator's defence that confirms it at the guard, and a keeper's
//! process that executes the guard's job, all in the block that the raid is in.

use std::time::{Duration, Instant};

use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall as _;
use contracts::{Agent, Contract, PauseGuard, Raider, VaultAdmin, guard};
use defence::incident::State;
use engine::Transaction;
use serde_json::json;
use testkit::process::Running;

use super::watch::{CHAIN, Watch};
use super::world::{World, whole};

const GWEI: u64 = 1_000_000_000;
/// The development accounts of the validator, who is the vault's guardian and one of the guard's reporters, of another reporter, and of
/// the thief.
const VALIDATOR: usize = 1;
const OTHER: usize = 2;
const THIEF: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// A vault with ten ether behind a guard with a job, one keeper, and a validator's defence.
struct Gate {
    world: World,
    vault: Address,
    admin: Address,
    guard: Address,
    job: B256,
    raider: Address,
}

impl Gate {
    /// The guard wants so many confirmations.
    async fn start(threshold: u64) -> Option<Self> {
        let world = World::start().await?;
        world.join(1, 1_000, "").await;
        let creation = VaultAdmin::constructorCall {
            guardian_: world.account(VALIDATOR),
            flashFeeBps: 9,
        };
        let creation = Contract::VaultAdmin.creation(&creation);
        let admin = world.create_with(0, whole(10), creation).await;
        let vault = world.view(admin, &VaultAdmin::vaultCall {}).await;
        let creation = Contract::Raider.creation(&Raider::constructorCall {});
        let raider = world.create_with(THIEF, U256::ZERO, creation).await;
        let creation = PauseGuard::constructorCall {
            owner_: world.account(0),
            protocol_: admin,
            call_: VaultAdmin::pauseCall {}.abi_encode().into(),
            reporters: vec![world.account(VALIDATOR), world.account(OTHER)],
            threshold_: U256::from(threshold),
        };
        let guard = world.create(Contract::PauseGuard.creation(&creation)).await;
        let right = VaultAdmin::setGuardCall { guard_: guard };
        world.call(VALIDATOR, admin, U256::ZERO, &right).await;
        let registration = guard::register_job(guard, 2, 300_000);
        let hash = world.submit(0, Some(world.agent), whole(1), registration).await;
        let registered = world.receipt(hash).await.decoded_log::<Agent::RegisterJob>().unwrap();
        Some(Self {
            job: registered.jobKey,
            world,
            vault,
            admin,
            guard,
            raider,
        })
    }

    /// The action that pauses through keepers, who may take so long.
    fn through_keepers(&self, patience: &str) -> serde_json::Value {
        json!({
            "id": "keepers", "kind": "pause_agent", "ladder": "stop", "rung": 1,
            "guard": self.guard, "agent": self.world.agent, "job": self.job, "patience": patience,
        })
    }

    /// The thief's raid is in the pool, offering the builder 40 gwei.
    async fn raid(&self) -> Transaction {
        self.raid_for(40, None).await
    }

    /// A raid that offers the builder so many gwei, at this nonce.
    async fn raid_for(&self, tip: u64, nonce: Option<u64>) -> Transaction {
        let call = Raider::raidCall {
            vault: self.vault,
            wanted: whole(1),
        };
        let tx = json!({
            "from": self.world.account(THIEF), "to": self.raider, "value": whole(5), "gas": "0x1e8480",
            "input": Bytes::from(call.abi_encode()),
            "maxFeePerGas": U256::from((tip + 10) * GWEI), "maxPriorityFeePerGas": U256::from(tip * GWEI),
            "nonce": nonce.map(U256::from),
        });
        let hash: B256 = serde_json::from_value(self.world.rpc("eth_sendTransaction", json!([tx])).await).unwrap();
        let known = self
            .world
            .provider
            .get_transaction_by_hash(hash)
            .await
            .unwrap()
            .unwrap();
        Transaction::decode(&known.inner.encoded_2718()).unwrap()
    }

    /// Waits until so many transactions are in the pool.
    async fn until_pending(&self, count: u64, why: impl Fn() -> String) {
        let deadline = Instant::now() + PATIENCE;
        while self.world.pending().await < count {
            assert!(
                Instant::now() < deadline,
                "{} in the pool: {}",
                self.world.pending().await,
                why()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Wei per gas that the account's transaction in the pool offers.
    async fn offered(&self, account: Address) -> U256 {
        let pool = self.world.rpc("txpool_content", json!([])).await;
        let all = pool["pending"].as_object().unwrap().values();
        let mut transactions = all.flat_map(|of_one| of_one.as_object().unwrap().values());
        let own = transactions.find(|tx| tx["from"] == json!(account));
        own.map_or(U256::ZERO, |tx| {
            serde_json::from_value(tx["maxFeePerGas"].clone()).unwrap()
        })
    }

    /// Senders and receivers of the newest block's transactions, in order.
    async fn block(&self) -> Vec<(Address, Address)> {
        let block = self.world.rpc("eth_getBlockByNumber", json!(["latest", true])).await;
        let of = |tx: &serde_json::Value, key: &str| serde_json::from_value(tx[key].clone()).unwrap();
        let all = block["transactions"].as_array().unwrap().iter();
        all.map(|tx| (of(tx, "from"), of(tx, "to"))).collect()
    }

    async fn vault_holds(&self) -> U256 {
        self.world.provider.get_balance(self.vault).await.unwrap()
    }
}

/// The validator's side.
async fn validator(gate: &Gate, actions: serde_json::Value) -> Watch {
    let world = &gate.world;
    let node = world.anvil.http();
    let sender = json!({ "endpoints": [node], "poll": "50ms", "confirmations": 1 });
    let key: PrivateKeySigner = world.private_key(VALIDATOR).parse().unwrap();
    let (watch, _late) = Watch::open(gate.vault, &node, (&sender, key), &actions, world.folder.path()).await;
    watch
}

async fn said(watch: &Watch, id: u64) -> String {
    format!("{:#?}", watch.incident(id).await.timeline)
}

/// A gate whose guard wants so many confirmations, a keeper that hears of pending transactions, and a validator that leaves the pause to
/// keepers. Blocks are made by hand.
async fn guarded(threshold: u64) -> Option<(Gate, Running, Watch)> {
    let gate = Gate::start(threshold).await?;
    gate.world.push_to(1);
    gate.world.by_hand().await;
    let keeper = gate.world.run(1).await;
    let block = gate.world.mine().await;
    gate.world.worked(&[&keeper], block).await;
    let validator = validator(&gate, json!([gate.through_keepers("50s")])).await;
    Some((gate, keeper, validator))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_executes_the_pause_behind_the_confirmation_in_the_block_of_the_raid() {
    let Some((gate, keeper, validator)) = guarded(1).await else {
        return;
    };
    let said = validator.defence.test_fire("keepers").await.unwrap();
    let executes = format!("{} executes: it would succeed", gate.world.account(4));
    assert!(said.contains(&executes), "{said}");
    let (credits, stake) = (gate.world.job(gate.job).await.credits, gate.world.stake(1).await);

    let raid = gate.raid().await;
    let id = validator.confirmed(&raid).await;
    gate.until_pending(3, || keeper.log()).await;
    gate.world.mine().await;
    let incident = validator.reaches(id, State::Contained).await;

    let (reporter, worker) = (gate.world.account(VALIDATOR), gate.world.account(4));
    let expected = [
        (reporter, gate.guard),
        (worker, gate.world.agent),
        (gate.world.account(THIEF), gate.raider),
    ];
    assert_eq!(gate.block().await, expected, "{incident:#?}\n{}", keeper.log());
    assert_eq!(gate.vault_holds().await, whole(10));
    let executions = gate.world.events::<Agent::Execute>().await;
    let [(_, execution)] = executions.as_slice() else {
        panic!("{executions:?}")
    };
    assert!(execution.ok && execution.keeperId == U256::ONE);
    let left = gate.world.job(gate.job).await.credits;
    let paid = U256::from(credits) - U256::from(left);
    assert_eq!(paid, U256::from(execution.compensation), "the job paid for it");
    assert_eq!(gate.world.stake(1).await, stake);
    let fired = incident
        .timeline
        .iter()
        .any(|line| line.detail.contains("pausing at the guard itself"));
    assert!(!fired, "the validator itself had nothing to do: {incident:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reporters_the_first_confirms_alone_and_the_keeper_follows_both_in_one_block() {
    let Some((gate, keeper, validator)) = guarded(2).await else {
        return;
    };

    let raid = gate.raid().await;
    let id = validator.confirmed(&raid).await;
    gate.until_pending(2, || keeper.log()).await;
    let incident = guard::incident(CHAIN, validator.invariant.id(), raid.hash());
    let tx = json!({
        "from": gate.world.account(OTHER), "to": gate.guard, "gas": "0x30d40", "input": guard::confirm(incident),
        "maxFeePerGas": U256::from(70 * GWEI), "maxPriorityFeePerGas": U256::from(60 * GWEI),
    });
    gate.world.rpc("eth_sendTransaction", json!([tx])).await;
    gate.until_pending(4, || keeper.log()).await;
    gate.world.mine().await;
    validator.reaches(id, State::Contained).await;

    let senders: Vec<Address> = gate.block().await.into_iter().map(|(from, _)| from).collect();
    let expected = [OTHER, VALIDATOR, 4, THIEF].map(|index| gate.world.account(index));
    assert_eq!(senders, expected, "{}", keeper.log());
    assert_eq!(gate.vault_holds().await, whole(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_attacker_raises_his_offer_confirmation_and_execution_go_along() {
    let Some((gate, keeper, validator)) = guarded(1).await else {
        return;
    };

    let raid = gate.raid().await;
    let id = validator.confirmed(&raid).await;
    gate.until_pending(3, || keeper.log()).await;
    let dearer = gate.raid_for(150, Some(raid.nonce())).await;
    assert_eq!(validator.confirmed(&dearer).await, id, "it attaches to the incident");
    let [reporter, worker, thief] = [VALIDATOR, 4, THIEF].map(|index| gate.world.account(index));
    let deadline = Instant::now() + PATIENCE;
    while gate.offered(worker).await <= gate.offered(thief).await {
        assert!(
            Instant::now() < deadline,
            "{}\n{}",
            said(&validator, id).await,
            keeper.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(gate.offered(reporter).await > gate.offered(worker).await);
    gate.world.mine().await;
    validator.reaches(id, State::Contained).await;
    let senders: Vec<Address> = gate.block().await.into_iter().map(|(from, _)| from).collect();
    assert_eq!(senders, [reporter, worker, thief]);
    assert_eq!(gate.vault_holds().await, whole(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_keeper_acts_the_validator_pauses_at_the_guard_itself_in_the_same_block() {
    let Some(gate) = Gate::start(1).await else { return };
    gate.world.by_hand().await;
    gate.world.mine().await;
    let validator = validator(&gate, json!([gate.through_keepers("100ms")])).await;

    let raid = gate.raid().await;
    let id = validator.confirmed(&raid).await;
    gate.until_pending(3, || {
        "the confirmation, the pause, and the raid are expected".to_owned()
    })
    .await;
    gate.world.mine().await;
    let incident = validator.reaches(id, State::Contained).await;

    let (reporter, thief) = (gate.world.account(VALIDATOR), gate.world.account(THIEF));
    let expected = [(reporter, gate.guard), (reporter, gate.guard), (thief, gate.raider)];
    assert_eq!(gate.block().await, expected, "{incident:#?}");
    assert_eq!(gate.vault_holds().await, whole(10));
    let said = said(&validator, id).await;
    assert!(said.contains("no keeper was seen to act within 100ms"), "{said}");
    assert!(gate.world.events::<Agent::Execute>().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_no_job_could_follow_is_not_sent_and_the_next_rung_calls_the_protocol() {
    let Some(gate) = Gate::start(1).await else { return };
    // The protocol no longer listens to the guard: a confirmation would stop nothing, whoever executes.
    let nobody = VaultAdmin::setGuardCall { guard_: Address::ZERO };
    gate.world.call(VALIDATOR, gate.admin, U256::ZERO, &nobody).await;
    gate.world.by_hand().await;
    gate.world.mine().await;
    let raw = json!({
        "id": "raw", "kind": "pause_agent", "ladder": "stop", "rung": 2,
        "contract": gate.admin, "function": "pause()",
    });
    let validator = validator(&gate, json!([gate.through_keepers("50s"), raw])).await;

    let raid = gate.raid().await;
    let id = validator.confirmed(&raid).await;
    gate.until_pending(2, || "the raid and the protocol's own pause are expected".to_owned())
        .await;
    gate.world.mine().await;
    let incident = validator.reaches(id, State::Contained).await;

    let (reporter, thief) = (gate.world.account(VALIDATOR), gate.world.account(THIEF));
    assert_eq!(
        gate.block().await,
        [(reporter, gate.admin), (thief, gate.raider)],
        "{incident:#?}"
    );
    assert_eq!(gate.vault_holds().await, whole(10));
    let said = said(&validator, id).await;
    assert!(said.contains("behind the pause too"), "{said}");
}
