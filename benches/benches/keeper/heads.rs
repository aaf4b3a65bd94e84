//! From a head to the sent transaction: each round makes one job due in a new block, times the keeper's whole work on that head (the
//! block's changes, the Agent's events, all resolvers, the simulation, journal, signature, broadcast), then lets it be mined. Every tenth
//! round is followed by the baseline on the same head: one `eth_call` a job over 16 connections.

use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bytes, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall as _;
use benches::measure::Done;
use contracts::Agent;
use futures::{StreamExt as _, stream};
use serde_json::json;
use state::{Call, NodeError, read};

use crate::Case;
use crate::setting::{OWNER, Setting, sent, terms};

/// Registrations that fit into a block.
const JOBS_IN_A_BLOCK: usize = 100;

impl Setting {
    /// Resolver jobs, one for each switch.
    pub(crate) async fn register(&self, jobs: usize) -> Done<()> {
        self.devnet.rpc("evm_setAutomine", json!([false])).await;
        let begun = Instant::now();
        let owner = self.devnet.account(OWNER);
        // The calls of a batch are worked on in any order.
        let first = self.devnet.provider.get_transaction_count(owner).await?;
        for chunk in (0..jobs).collect::<Vec<_>>().chunks(JOBS_IN_A_BLOCK) {
            let calls = chunk
                .iter()
                .map(|number| {
                    let call = Agent::registerJobCall {
                        terms: terms(self.switches, 1),
                        resolver: self.switches,
                        data: slot(*number),
                    };
                    let tx = TransactionRequest::default()
                        .from(owner)
                        .to(self.agent)
                        .value(U256::from(1_000_000_000_000_000_u64))
                        .input(call.abi_encode().into())
                        .gas_limit(1_000_000)
                        .nonce(first + *number as u64);
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
            self.devnet.receipt(last).await;
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
            self.devnet
                .submit(OWNER, Some(self.switches), U256::ZERO, on.into())
                .await;
            let head = self.mine().await?;
            let begun = Instant::now();
            let worked = desk.on_head(head).await?;
            let handle = sent(&sender, &worked).await?;
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
        let deadline = Instant::now() + Duration::from_secs(60);
        let answers: Vec<Result<Bytes, NodeError>> = stream::iter(0..jobs)
            .map(|number| {
                let call = json!([
                    { "from": self.agent, "to": self.switches, "input": slot(number) },
                    { "blockHash": head }
                ]);
                self.node.call(Call::new("eth_call", call), deadline)
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
