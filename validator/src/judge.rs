//! From a pending transaction to its verdicts: challenge, answers, and the truth among them.

use std::sync::{Arc, Mutex, PoisonError};

use chain::Followed;
use engine::Invariant;
use protos::v1;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wire::{Challenge, FindingVerdict, Verdicts, Wire};

use crate::arbiter::{Arbiter, ArbiterError};
use crate::codes::Codes;
use crate::canary::{CanaryParameters, Deck};
use crate::consensus::{self, Decision};
use crate::draw;
use crate::intake::Item;
use crate::miners::{self, Miners, Reply, Sealed, Serving};
use crate::proof::Proofs;
use crate::store::{self, Judged, Sample, Store, StoreError};

/// Judges items, many at a time.
#[derive(Debug)]
pub struct Judge {
    /// Clients of the miners.
    pub miners: Arc<Miners>,
    /// The validator's own engine.
    pub arbiter: Arbiter,
    /// Bytecode.
    pub codes: Arc<Codes>,
    /// Who serves.
    pub metagraph: Followed,
    /// Which miners are drawn.
    pub draws: Mutex<ChaCha8Rng>,
    /// Where incidents go at once.
    pub store: Store,
    /// Wakes up who reports them.
    pub reports: Arc<Notify>,
    /// How long miners have.
    pub deadline: std::time::Duration,
    /// The share of agreed answers that are executed again.
    pub audit_rate: f64,
    /// Whose agreement stands.
    pub proofs: Proofs,
    /// How many questions have a known answer.
    pub canaries: CanaryParameters,
    /// What these are drawn from.
    pub deck: Mutex<Deck>,
}

/// What the validator holds to be true of an item.
enum Truth {
    /// Everybody says so, or the validator's own engine does.
    Known { verdicts: Verdicts, arbitrated: bool },
    /// Nobody can say, for this reason.
    Unknown(String),
}

impl Judge {
    /// Judges one item; a confirmed violation is recorded before the slowest miner has answered.
    ///
    /// # Errors
    /// The validator's database fails. Whatever is wrong with the item or the miners is part of the result.
    pub async fn judge(self: &Arc<Self>, item: Item) -> Result<Judged, StoreError> {
        let challenge = self.challenge(&item);
        let needed: Vec<engine::B256> = challenge
            .prestate
            .iter()
            .flat_map(|state| state.code_hashes())
            .collect();
        let sealed = Arc::new(Sealed {
            id: challenge.id,
            payload: miners::encode(&challenge),
            codes: self.codes.get(&needed).await?,
            deadline: self.deadline,
        });
        let drawn = self.draw();
        let asked = drawn.len();
        let mut under_way = JoinSet::new();
        for miner in drawn {
            let (miners, sealed) = (Arc::clone(&self.miners), Arc::clone(&sealed));
            // A task of its own, so that its latency is its own.
            under_way.spawn(async move { miners.challenge(&miner, &sealed).await });
        }

        let mut replies: Vec<Reply> = Vec::with_capacity(asked);
        let mut own: Option<Result<Verdicts, ArbiterError>> = None;
        while let Some(joined) = under_way.join_next().await {
            // A reply is lost only when its task panicked; it counts as not asked.
            let Ok(reply) = joined else { continue };
            if own.is_none() && reply.verdicts.as_ref().is_ok_and(consensus::claims_violation) {
                own = Some(self.arbitrate(&item, &challenge, &sealed).await?);
            }
            replies.push(reply);
        }

        let answers: Vec<Verdicts> = replies
            .iter()
            .filter_map(|reply| reply.verdicts.as_ref().ok().cloned())
            .collect();
        let truth = match (own, consensus::decide(&answers, asked)) {
            (Some(own), _) => settle(own, &answers),
            (None, Decision::Agreed(index)) if !self.audits() => match answers.get(index) {
                Some(verdicts) => Truth::Known {
                    verdicts: verdicts.clone(),
                    arbitrated: false,
                },
                None => Truth::Unknown("no answer".to_owned()),
            },
            (None, _) => settle(self.arbitrate(&item, &challenge, &sealed).await?, &answers),
        };
        Ok(conclude(&item, &replies, truth))
    }

    /// The question: pinned, with those invariants that the transaction could touch.
    fn challenge(&self, item: &Item) -> Challenge {
        let touched = |invariant: &&Invariant| {
            item.prestate
                .as_ref()
                .is_none_or(|prestate| prestate.touches(&invariant.contract))
        };
        Challenge {
            id: engine::B256::from(rand::random::<[u8; 32]>()),
            chain_id: item.chain_id,
            head_hash: item.head_hash,
            env: item.env.clone(),
            invariant_set_version: item.set.version,
            invariants: item.set.invariants.iter().filter(touched).cloned().collect(),
            transaction: item.transaction.clone(),
            prestate: item.prestate.clone(),
            deadline: self.deadline,
        }
    }

    fn draw(&self) -> Vec<Serving> {
        let serving = miners::serving(&self.metagraph.borrow());
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        draw::draw(&serving, &mut *draws).into_iter().cloned().collect()
    }

    fn audits(&self) -> bool {
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        draws.random_bool(self.audit_rate)
    }

    /// Executes the transaction here, and records the incidents that it finds.
    async fn arbitrate(
        &self,
        item: &Item,
        challenge: &Challenge,
        sealed: &Sealed,
    ) -> Result<Result<Verdicts, ArbiterError>, StoreError> {
        let own = self.arbiter.judge(challenge, &sealed.codes).await;
        match &own {
            Ok(verdicts) => self.record_incidents(item, challenge, verdicts).await?,
            Err(error) => tracing::warn!(tx = %challenge.transaction.hash(), %error, "cannot arbitrate"),
        }
        Ok(own)
    }

    async fn record_incidents(&self, item: &Item, challenge: &Challenge, own: &Verdicts) -> Result<(), StoreError> {
        for finding in &own.findings {
            if !finding.verdict.is_violated() {
                continue;
            }
            let v1::Judgement {
                verdict: Some(v1::judgement::Verdict::Violated(witness)),
                ..
            } = finding.to_wire()
            else {
                continue;
            };
            let name = challenge
                .invariants
                .iter()
                .find(|invariant| invariant.id == finding.invariant_id)
                .map(|invariant| invariant.name.clone())
                .unwrap_or_default();
            let tx_hash = challenge.transaction.hash();
            let report = v1::IncidentReport {
                cursor: item.cursor,
                invariant_id: finding.invariant_id,
                invariant_name: name.clone(),
                tx_hash: wire::hash_bytes(tx_hash),
                witness: Some(witness),
                seen_to_confirmed_us: u64::try_from(item.seen.elapsed().as_micros()).unwrap_or(u64::MAX),
            };
            if self.store.record_incident(&report).await? {
                metrics::counter!("validator_incidents").increment(1);
                if let FindingVerdict::Violated { pre, post, .. } = &finding.verdict {
                    tracing::warn!(invariant = name, tx = %tx_hash, %pre, %post, "INCIDENT: violation confirmed");
                }
                self.reports.notify_one();
            }
        }
        Ok(())
    }
}

/// Our own verdict decides. Where there is none, 60 % of the answers stand in for it.
fn settle(own: Result<Verdicts, ArbiterError>, answers: &[Verdicts]) -> Truth {
    match own {
        Ok(verdicts) => Truth::Known {
            verdicts,
            arbitrated: true,
        },
        Err(error) => match consensus::majority(answers) {
            // What nobody here has executed fires nothing, so it must not be said either.
            Some(verdicts) if !consensus::claims_violation(verdicts) => Truth::Known {
                verdicts: verdicts.clone(),
                arbitrated: false,
            },
            _ => Truth::Unknown(error.to_string()),
        },
    }
}

/// Holds the replies against the truth, and writes it all down.
fn conclude(item: &Item, replies: &[Reply], truth: Truth) -> Judged {
    let mut report = v1::TransactionReport {
        cursor: item.cursor,
        tx_hash: wire::hash_bytes(item.transaction.hash()),
        invariant_set_version: item.set.version,
        asked: count(replies.len()),
        answered: count(replies.iter().filter(|reply| reply.verdicts.is_ok()).count()),
        ..Default::default()
    };
    match truth {
        Truth::Known { verdicts, arbitrated } => {
            let samples: Vec<Sample> = replies
                .iter()
                .map(|reply| Sample {
                    hotkey: *reply.hotkey.as_bytes(),
                    latency: reply
                        .verdicts
                        .is_ok()
                        .then(|| u64::try_from(reply.latency.as_micros()).unwrap_or(u64::MAX)),
                    correct: reply
                        .verdicts
                        .as_ref()
                        .is_ok_and(|answer| answer.agrees_with(&verdicts)),
                })
                .collect();
            report.judgements = verdicts.findings.iter().map(Wire::to_wire).collect();
            report.execution = verdicts.execution.as_ref().map(Wire::to_wire);
            report.agreed = count(samples.iter().filter(|sample| sample.correct).count());
            report.arbitrated = arbitrated;
            Judged {
                cursor: item.cursor,
                arbitrated,
                samples,
                report,
            }
        }
        Truth::Unknown(reason) => {
            report.judgements = item
                .set
                .invariants
                .iter()
                .map(|invariant| undecided(invariant.id, &reason))
                .collect();
            Judged {
                cursor: item.cursor,
                arbitrated: false,
                samples: Vec::new(),
                report,
            }
        }
    }
}

fn undecided(invariant_id: u64, reason: &str) -> v1::Judgement {
    let verdict = v1::judgement::Verdict::Undecided(v1::Undecided {
        reason: reason.to_owned(),
    });
    v1::Judgement {
        invariant_id,
        verdict: Some(verdict),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
