//! From a head to the sent transaction: each round makes one job due in a new block, times the keeper's whole work on that head (the
//! block's changes, the Agent's events, all resolvers, the simulation, journal, signature, broadcast), then lets it be mined. Every tenth
//! round is followed by the baseline on the same head: one `eth_call` a job over 16 connections.

use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::SolCall as _;
use benches::measure::Done;
use contracts::Agent;
use futures::{StreamExt as _, stream};
use sender::IdempotencyKey;
use serde_json::{Value, json};
use state::{Call, read};

use crate::Case;
use crate::setting::{Setting, terms};

impl Setting {
    /// Resolver jobs, one for each switch.
    pub(crate) async fn register(&self, jobs: usize) -> Done<()> {
        let _: Value = self.ask("evm_setAutomine", json!([false])).await?;
        let begun = Instant::now();
        // The calls of a batch are worked on in any order.
        let first: U256 = self
            .ask("eth_getTransactionCount", json!([self.owner, "latest"]))
            .await?;
        for chunk in (0..jobs).collect::<Vec<_>>().chunks(500) {
            let calls = chunk
                .iter()
                .map(|number| {
                    let call = Agent::registerJobCall {
                        terms: terms(self.switches, 1),
                        resolver: self.switches,
                        data: slot(*number),
                    };
                    let value = U256::from(1_000_000_000_000_000_u64);
                    let mut tx = Self::request(self.owner, Some(self.agent), value, &call.abi_encode().into());
                    if let Some(fields) = tx.as_object_mut() {
                        fields.insert("nonce".to_owned(), json!(first + U256::from(*number)));
                    }
                    Call::new("eth_sendTransaction", json!([tx]))
                })
                .collect();
            let answers = self.node.batch(calls, Instant::now() + Duration::from_secs(60)).await?;
            let hashes: Result<Vec<B256>, _> = answers
                .iter()
                .map(|answer| read("eth_sendTransaction", answer))
                .collect();
            let last = hashes?.last().copied().unwrap_or_default();
            self.mine().await?;
            self.receipt(last).await?;
        }
        println!("{jobs} jobs registered in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// One due job in each round, among all.
    pub(crate) async fn heads(&self, jobs: usize, rounds: usize) -> Done<Case> {
        let folder = tempfile::tempdir()?;
        let (mut desk, sender) = self.desk(folder.path()).await?;
        let begun = Instant::now();
        let worked = desk.on_head(self.mine().await?).await?;
        println!(
            "cold: {} resolvers, {} pieces of state in {} rounds, {:.2} s from nothing",
            worked.resolvers,
            worked.cost.fetched,
            worked.cost.rounds,
            begun.elapsed().as_secs_f64()
        );
        let (mut ours, mut baseline, mut resolving) = (Vec::new(), Vec::new(), 0);
        for round in 0..rounds {
            let number = round.wrapping_mul(7_919) % jobs;
            let on = [U256::from(number).to_be_bytes::<32>(), U256::ONE.to_be_bytes::<32>()].concat();
            let set = self
                .submit(self.owner, Some(self.switches), U256::ZERO, &on.into())
                .await?;
            let head = self.mine().await?;
            self.receipt(set).await?;
            let begun = Instant::now();
            let worked = desk.on_head(head).await?;
            let [(_, _, name)] = worked.sent.as_slice() else {
                return Err(format!("round {round}: {worked:?}; one transaction was expected").into());
            };
            let handle = sender
                .find(&IdempotencyKey::new(name.as_str())?)
                .await?
                .ok_or("not found")?;
            let status = handle
                .until(Duration::from_secs(20), |state| {
                    !matches!(state.name(), "queued" | "signed")
                })
                .await?;
            ours.push(begun.elapsed());
            resolving += worked.resolvers;
            if status.state.name() == "failed" {
                return Err(format!("round {round}: {status:?}").into());
            }
            if round % 10 == 0 && baseline.len() < 10 {
                let begun = Instant::now();
                self.by_eth_call(jobs, head).await?;
                baseline.push(begun.elapsed());
            }
            // Mined, and seen.
            let mined = self.mine().await?;
            desk.on_head(mined).await?;
            handle.included(Duration::from_secs(20)).await?;
            desk.on_head(self.mine().await?).await?;
        }
        sender.shutdown().await?;
        println!("{resolving} resolver calls in {rounds} measured heads");
        Case::new(
            format!("head to sent transaction, {jobs} resolver jobs"),
            &ours,
            format!("{jobs} eth_call on the same anvil"),
            &baseline,
        )
    }

    /// Every resolver by a call of its own, 16 under way at a time.
    async fn by_eth_call(&self, jobs: usize, head: B256) -> Done<()> {
        let answers: Vec<Done<Bytes>> = stream::iter(0..jobs)
            .map(|number| {
                let call = json!([
                    { "from": self.agent, "to": self.switches, "input": slot(number) },
                    { "blockHash": head }
                ]);
                self.ask::<Bytes>("eth_call", call)
            })
            .buffer_unordered(16)
            .collect()
            .await;
        let mut due = 0;
        for answer in answers {
            due += usize::from(answer?.get(31) == Some(&1));
        }
        if due == 1 {
            Ok(())
        } else {
            Err(format!("{due} jobs are due by eth_call").into())
        }
    }
}

fn slot(number: usize) -> Bytes {
    U256::from(number).to_be_bytes::<32>().into()
}
