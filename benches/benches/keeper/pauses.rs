//! From a confirmed incident to the mined pause.

use std::time::{Duration, Instant};

use alloy::primitives::utils::Unit;
use alloy::primitives::{Bytes, U256, keccak256};
use alloy::sol_types::SolCall as _;
use benches::measure::Done;
use contracts::{Agent, Contract, PauseGuard, TestPausable};
use sender::{IdempotencyKey, Lane, Outcome, Request};

use crate::Case;
use crate::setting::{OWNER, Setting, sent, terms};

impl Setting {
    /// A confirmed incident until its pause is in a block: the validator's own call beside a keeper's execution. Blocks are made as
    /// soon as there is a transaction, so what is timed is work, not waiting; the keeper's way needs a block more.
    pub(crate) async fn pauses(&self) -> Done<Vec<Case>> {
        let folder = tempfile::tempdir()?;
        let validator = self.sender(2, &folder.path().join("validator.db")).await?;
        let reporter = validator.account(Lane::Pause);
        let devnet = &self.devnet;
        let protocol = devnet.create(Contract::TestPausable.bytecode().clone()).await;
        let guard = PauseGuard::constructorCall {
            owner_: devnet.account(OWNER),
            protocol_: protocol,
            call_: TestPausable::setPausedCall { paused_: true }.abi_encode().into(),
            reporters: vec![reporter],
            threshold_: U256::ONE,
        };
        let guard = devnet.create(Contract::PauseGuard.creation(&guard)).await;
        let right = TestPausable::setGuardianCall { guardian_: guard };
        devnet.call(OWNER, protocol, U256::ZERO, &right).await;
        let job = Agent::registerJobCall {
            terms: terms(guard, 1 | 32),
            resolver: guard,
            data: PauseGuard::checkCall {}.abi_encode().into(),
        };
        devnet.call(OWNER, self.agent, Unit::ETHER.wei(), &job).await;
        let (mut desk, sender) = self.desk(folder.path()).await?;
        desk.on_head(self.mine().await?).await?;
        let (mut direct, mut by_keeper) = (Vec::new(), Vec::new());
        let fired = |call: Bytes, name: String| {
            let validator = &validator;
            async move {
                let key = IdempotencyKey::new(name)?;
                let mut request = Request::call(key, Lane::Pause, guard, call);
                request.gas = Some(500_000);
                validator.new_head();
                let handle = validator.submit(request).await?;
                match handle.included(Duration::from_secs(20)).await? {
                    Outcome::Mined(inclusion) if inclusion.success => Done::Ok(inclusion.block_hash),
                    other => Err(format!("{other:?}").into()),
                }
            }
        };
        for round in 0..30_u64 {
            // Two incidents: one that is over starts no other pause.
            let incident = |way: &str| keccak256(format!("{way}/{round}"));
            let begun = Instant::now();
            let call = contracts::guard::confirm_and_fire(incident("direct"));
            let head = fired(call, format!("direct/{round}")).await?;
            direct.push(begun.elapsed());
            desk.on_head(head).await?;
            let begun = Instant::now();
            let head = fired(
                contracts::guard::confirm(incident("keeper")),
                format!("confirm/{round}"),
            )
            .await?;
            let worked = desk.on_head(head).await?;
            let handle = sent(&sender, &worked).await?;
            let Outcome::Mined(inclusion) = handle.included(Duration::from_secs(20)).await? else {
                return Err(format!("pause {round} was not mined").into());
            };
            if !inclusion.success {
                return Err(format!("pause {round}: {inclusion:?}").into());
            }
            by_keeper.push(begun.elapsed());
            desk.on_head(inclusion.block_hash).await?;
            desk.on_head(self.mine().await?).await?;
        }
        sender.shutdown().await?;
        validator.shutdown().await?;
        Ok(vec![Case::new(
            "incident to mined pause, by a keeper's defence job".to_owned(),
            &by_keeper,
            "the validator's own call".to_owned(),
            &direct,
        )?])
    }
}
