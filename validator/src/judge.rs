//! From a pending transaction to its verdicts: challenge, answers, and the truth among them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chain::Followed;
use defence::violation::NetworkView;
use engine::{Watched, Witness};
use protos::v1;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wire::{Challenge, Verdicts, Wire};

use crate::arbiter::{Arbiter, ArbiterError, Own};
use crate::canary::{self, CanaryParameters, Deck};
use crate::codes::Codes;
use crate::consensus::{self, Decision, Dispute};
use crate::defend::{Defender, Finding};
use crate::draw;
use crate::incident;
use crate::intake::Item;
use crate::miners::{self, Miners, Reply, Sealed, Serving};
use crate::proof::Proofs;
use crate::store::{self, Hotkey, Judged, Sample, Store, StoreError};

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
    /// What is done about incidents; `None`: they are only reported.
    pub defender: Option<Arc<Defender>>,
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

/// A challenge on its way.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Who was asked.
    pub(crate) drawn: Vec<Hotkey>,
    /// Their replies, as they come.
    pub(crate) under_way: JoinSet<Reply>,
}

/// What the validator holds to be true of an item.
enum Truth {
    /// Everybody who answered says so, or most do and nobody else can say.
    Agreed(Verdicts),
    /// The validator's own engine says so.
    Own { dispute: Dispute, verdicts: Verdicts },
    /// Nobody can say, for this reason.
    Unknown(String),
}

impl Judge {
    /// Judges one item; a confirmed violation is recorded before the slowest miner has answered.
    ///
    /// # Errors
    /// The validator's database fails. Whatever is wrong with the item or the miners is part of the result.
    pub async fn judge(self: &Arc<Self>, mut item: Item) -> Result<Judged, StoreError> {
        if let Some(defender) = &self.defender {
            defender.saw(item.head_hash, &item.set);
        }
        let mut span = node::trace::stage(item.transaction.hash(), "judge").began_before(item.seen.elapsed());
        let challenge = Arc::new(self.challenge(&mut item));
        let needed: Vec<engine::B256> = challenge
            .prestate
            .iter()
            .flat_map(|state| state.code_hashes())
            .collect();
        let sealed = Arc::new(Sealed::new(&challenge, self.codes.get(&needed).await?));
        let Asked { drawn, mut under_way } = self.ask(&sealed);
        let asked = drawn.len();

        let mut replies: Vec<Reply> = Vec::with_capacity(asked);
        let mut own: Option<(Dispute, Result<Verdicts, ArbiterError>)> = None;
        // What will be executed whatever the answers are, is executed while they are on their way.
        if let Some(dispute) = self.doubts(&drawn) {
            own = Some((
                dispute,
                self.arbitrate(&item, &challenge, &sealed, asked, &replies).await?,
            ));
        }
        while let Some(joined) = under_way.join_next().await {
            // A reply is lost only when its task panicked; it counts as not asked.
            let Ok(reply) = joined else { continue };
            replies.push(reply);
            if own.is_none()
                && let Some(dispute) = consensus::dispute_already(&answers(&replies))
            {
                own = Some((
                    dispute,
                    self.arbitrate(&item, &challenge, &sealed, asked, &replies).await?,
                ));
            }
        }

        let answers = answers(&replies);
        let truth = match (own, consensus::decide(&answers, asked)) {
            (Some((dispute, own)), _) => settle(dispute, own, &answers),
            (None, Decision::Agreed(index)) if self.proofs.stands(answered(&replies)) => match answers.get(index) {
                Some(&verdicts) => Truth::Agreed(verdicts.clone()),
                None => Truth::Unknown("no answer".to_owned()),
            },
            (None, decision) => {
                let dispute = match decision {
                    Decision::Arbitrate(dispute) => dispute,
                    Decision::Agreed(_) => Dispute::Unproven,
                };
                settle(
                    dispute,
                    self.arbitrate(&item, &challenge, &sealed, asked, &replies).await?,
                    &answers,
                )
            }
        };
        if matches!(truth, Truth::Own { .. }) {
            replies.iter_mut().for_each(Reply::vouch);
        }
        self.remember(&item, &challenge, &truth);
        let judged = conclude(&item, &replies, truth);
        metrics::histogram!("validator_judgement_seconds").record(item.seen.elapsed().as_secs_f64());
        span.set("asked", i64::from(judged.report.asked));
        span.set("answered", i64::from(judged.report.answered));
        self.proofs.note(&judged.samples);
        if let Some(defender) = &self.defender {
            let view = NetworkView {
                asked: judged.report.asked,
                answered: judged.report.answered,
                agreed: judged.report.agreed,
                arbitrated: judged.arbitrated,
            };
            defender.concluded(item.transaction.hash(), view).await?;
        }
        Ok(judged)
    }

    /// Draws miners and asks them all at once, each in a task of its own, so that its latency is its own.
    pub(crate) fn ask(&self, sealed: &Arc<Sealed>) -> Asked {
        let mut under_way = JoinSet::new();
        let mut drawn = Vec::new();
        for miner in self.draw() {
            drawn.push(*miner.hotkey.as_bytes());
            let (miners, sealed) = (Arc::clone(&self.miners), Arc::clone(sealed));
            under_way.spawn(async move { miners.challenge(&miner, &sealed).await });
        }
        Asked { drawn, under_way }
    }

    /// Why this challenge is executed here whatever these miners answer; `None` when their agreement may stand.
    fn doubts(&self, drawn: &[Hotkey]) -> Option<Dispute> {
        if !self.proofs.stands(drawn) {
            Some(Dispute::Unproven)
        } else if self.audits() {
            Some(Dispute::Audit)
        } else {
            None
        }
    }

    /// Canaries are made of what was judged.
    fn remember(&self, item: &Item, challenge: &Arc<Challenge>, truth: &Truth) {
        let ran = match truth {
            Truth::Agreed(verdicts) | Truth::Own { verdicts, .. } => canary::ran(verdicts),
            Truth::Unknown(_) => false,
        };
        let mut deck = self.deck.lock().unwrap_or_else(PoisonError::into_inner);
        deck.put(challenge, &item.set, ran);
    }

    /// The question: pinned, with those invariants that the transaction could touch. It takes state and predecessors out of the item.
    fn challenge(&self, item: &mut Item) -> Challenge {
        let touched = |invariant: &&Watched| {
            item.prestate
                .as_ref()
                .is_none_or(|prestate| invariant.could_change(|account| prestate.touches(account)))
        };
        Challenge {
            id: challenge_id(),
            chain_id: item.chain_id,
            head_hash: item.head_hash,
            env: item.env.clone(),
            invariant_set_version: item.set.version,
            invariants: item.set.invariants.iter().filter(touched).cloned().collect(),
            transaction: item.transaction.clone(),
            predecessors: std::mem::take(&mut item.predecessors),
            prestate: item.prestate.take(),
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
        asked: usize,
        replies: &[Reply],
    ) -> Result<Result<Verdicts, ArbiterError>, StoreError> {
        let claimed = Instant::now();
        let mut span = node::trace::stage(item.transaction.hash(), "arbitrate");
        let own = self.arbiter.judge(challenge, &sealed.codes).await;
        if let Err(error) = &own {
            span.failed(error.to_string());
        }
        drop(span);
        match &own {
            Ok(Own { verdicts, witnesses }) => {
                let stated = |of: &Witness| challenge.invariants.iter().find(|one| one.id() == of.invariant_id);
                let broken = witnesses.iter().filter_map(|witness| Some((stated(witness)?, witness)));
                let broken: Vec<(&Watched, &Witness)> = broken.collect();
                if !broken.is_empty() {
                    let view = incident::votes(asked, replies, verdicts);
                    self.defend(item, challenge, sealed, &broken, claimed, view).await?;
                }
                self.record_incidents(item, challenge, &broken).await?;
            }
            Err(error) => tracing::warn!(tx = %challenge.transaction.hash(), %error, "cannot arbitrate"),
        }
        Ok(own.map(|own| own.verdicts))
    }

    /// Tells the defence, before anybody else: after a crash the item comes again, and what is told again changes nothing.
    async fn defend(
        &self,
        item: &Item,
        challenge: &Challenge,
        sealed: &Sealed,
        broken: &[(&Watched, &Witness)],
        claimed: Instant,
        view: NetworkView,
    ) -> Result<(), StoreError> {
        let Some(defender) = &self.defender else { return Ok(()) };
        let confirmed = Instant::now();
        let complete = |shipped: wire::ShippedPrestate| shipped.complete(|hash| sealed.codes.get(&hash).cloned()).ok();
        let prestate = challenge.prestate.clone().and_then(complete);
        for &(invariant, witness) in broken {
            let finding = Finding {
                challenge,
                prestate: prestate.as_ref(),
                invariant,
                witness,
                seen: item.seen,
                claimed,
                confirmed,
                view,
            };
            defender.confirmed(&finding).await?;
        }
        Ok(())
    }

    async fn record_incidents(
        &self,
        item: &Item,
        challenge: &Challenge,
        broken: &[(&Watched, &Witness)],
    ) -> Result<(), StoreError> {
        for &(invariant, witness) in broken {
            let (name, tx_hash) = (invariant.name(), challenge.transaction.hash());
            let report = v1::IncidentReport {
                cursor: item.cursor,
                invariant_id: witness.invariant_id,
                invariant_name: name.to_owned(),
                tx_hash: wire::hash_bytes(tx_hash),
                witness: Some(incident::evidence(invariant, witness)),
                seen_to_confirmed_us: u64::try_from(item.seen.elapsed().as_micros()).unwrap_or(u64::MAX),
            };
            if self.store.record_incident(&report).await? {
                metrics::counter!("validator_incidents_total").increment(1);
                let (pre, post) = incident::values(invariant, witness);
                tracing::warn!(invariant = name, tx = %tx_hash, %pre, %post, "INCIDENT: violation confirmed");
                self.reports.notify_one();
            }
        }
        Ok(())
    }
}

/// The answers among the replies, in the order in which they came.
fn answers(replies: &[Reply]) -> Vec<&Verdicts> {
    replies
        .iter()
        .filter_map(|reply| reply.verdicts.as_ref().ok())
        .collect()
}

/// Who answered.
fn answered(replies: &[Reply]) -> impl Iterator<Item = &Hotkey> {
    let answered = replies.iter().filter(|reply| reply.verdicts.is_ok());
    answered.map(|reply| reply.hotkey.as_bytes())
}

/// Our own verdict decides. Where there is none, 60 % of the answers stand in for it.
fn settle(dispute: Dispute, own: Result<Verdicts, ArbiterError>, answers: &[&Verdicts]) -> Truth {
    match own {
        Ok(verdicts) => Truth::Own { dispute, verdicts },
        Err(error) => match consensus::majority(answers) {
            // What nobody here has executed fires nothing, so it must not be said either.
            Some(verdicts) if !consensus::claims_violation(verdicts) => Truth::Agreed(verdicts.clone()),
            _ => Truth::Unknown(error.to_string()),
        },
    }
}

/// One reply held against the truth; `known` when that is the own engine's.
pub(crate) fn sample(reply: &Reply, truth: &Verdicts, known: bool) -> Sample {
    let answer = reply.verdicts.as_ref();
    Sample {
        hotkey: *reply.hotkey.as_bytes(),
        latency: answer
            .is_ok()
            .then(|| u64::try_from(reply.latency.as_micros()).unwrap_or(u64::MAX)),
        correct: answer.is_ok_and(|answer| answer.agrees_with(truth)),
        known,
        violating: consensus::claims_violation(truth),
    }
}

/// What is kept of a dispute: all votes beside the verdict that decided. `None` when nobody was wrong and nothing is violated.
pub(crate) fn dispute(
    cursor: u64,
    tx_hash: engine::B256,
    reason: Dispute,
    replies: &[Reply],
    own: &Verdicts,
) -> Option<store::Dispute> {
    let wrong = answers(replies).iter().any(|answer| !answer.agrees_with(own));
    if !wrong && !consensus::claims_violation(own) {
        return None;
    }
    let vote = |reply: &Reply| v1::Vote {
        hotkey: reply.hotkey.as_bytes().to_vec().into(),
        correct: sample(reply, own, true).correct,
        verdicts: reply.verdicts.as_ref().ok().map(Wire::to_wire),
        missed: reply
            .verdicts
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default(),
        answer: reply.signed.clone(),
    };
    Some(store::Dispute {
        cursor,
        tx_hash,
        reason: reason.to_string(),
        verdicts: own.to_wire(),
        votes: replies.iter().map(vote).collect(),
    })
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
    let (verdicts, reason) = match truth {
        Truth::Agreed(verdicts) => (verdicts, None),
        Truth::Own { dispute, verdicts } => (verdicts, Some(dispute)),
        Truth::Unknown(reason) => {
            let invariants = item.set.invariants.iter();
            report.judgements = invariants.map(|invariant| undecided(invariant.id(), &reason)).collect();
            return Judged {
                cursor: item.cursor,
                arbitrated: false,
                samples: Vec::new(),
                report,
                dispute: None,
            };
        }
    };
    let arbitrated = reason.is_some();
    let samples: Vec<Sample> = replies
        .iter()
        .map(|reply| sample(reply, &verdicts, arbitrated))
        .collect();
    report.judgements = verdicts.findings.iter().map(Wire::to_wire).collect();
    report.execution = verdicts.execution.as_ref().map(Wire::to_wire);
    report.agreed = count(samples.iter().filter(|sample| sample.correct).count());
    report.arbitrated = arbitrated;
    Judged {
        cursor: item.cursor,
        arbitrated,
        samples,
        dispute: reason.and_then(|reason| dispute(item.cursor, item.transaction.hash(), reason, replies, &verdicts)),
        report,
    }
}

/// A fresh id, by which nobody can tell one kind of challenge from another.
pub(crate) fn challenge_id() -> engine::B256 {
    engine::B256::from(rand::random::<[u8; 32]>())
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
