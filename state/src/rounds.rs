//! One transaction: executes on what is known, fetches what was missing, executes again.
//!
//! What always holds: an execution never waits for a node, and a node is asked at most once for a thing at a time.

use std::{sync::Arc, time::Instant};

use engine::Missing;

use crate::{
    ask::{self, Request},
    config::Prefetch,
    engines::{self, MOST_WANTED, Run, Task},
    facts::Facts,
    flight::{What, landed},
    node::NodeError,
    reader::{Reader, Unavailable, pin},
    recording::Recording,
    snapshot::{Snapshot, knows},
};

impl Reader {
    pub(crate) async fn rounds(&self, snapshot: &Arc<Snapshot>, task: &Arc<Task>) -> Result<Recording, Unavailable> {
        let shared = &*self.shared;
        let mut way = shared.config.prefetch;
        let mut round_trips = 0;
        loop {
            let look_ahead = way == Prefetch::Rounds;
            let wants = match self.execute(snapshot, task, look_ahead).await? {
                Run::Done(mut recording) => {
                    recording.round_trips = round_trips;
                    return Ok(*recording);
                }
                Run::Wants(wants) => wants,
            };
            let missing = wants.first().copied().unwrap_or(Missing::Account(task.tx.sender()));
            if round_trips >= shared.config.max_rounds {
                return Err(Unavailable::Rounds {
                    rounds: round_trips,
                    missing,
                });
            }
            match way {
                Prefetch::Trace if shared.node.supports("debug_traceCall") => {
                    way = if self.trace(snapshot, task).await? {
                        Prefetch::Rounds
                    } else {
                        Prefetch::AccessList
                    };
                    round_trips += 1;
                }
                Prefetch::Trace => way = Prefetch::AccessList,
                Prefetch::AccessList => {
                    way = Prefetch::Rounds;
                    if shared.node.supports("eth_createAccessList") {
                        round_trips += self.access_list(snapshot, task).await?;
                    }
                }
                Prefetch::Rounds => {
                    let mut wants = wants;
                    wants.extend(obvious(task));
                    self.fetch(snapshot, wants, task.deadline).await?;
                    round_trips += 1;
                    self.given(snapshot, missing)?;
                }
                Prefetch::OneByOne => {
                    self.fetch(snapshot, vec![missing], task.deadline).await?;
                    round_trips += 1;
                    self.given(snapshot, missing)?;
                }
            }
        }
    }

    /// `Err` when it was fetched and is not there: code of which nobody knows the place.
    fn given(&self, snapshot: &Snapshot, what: Missing) -> Result<(), Unavailable> {
        match what {
            Missing::Code(hash) if !knows(snapshot, what) && self.shared.codes.place_of(hash).is_none() => {
                Err(Unavailable::NotGiven(what))
            }
            _ => Ok(()),
        }
    }

    async fn execute(&self, snapshot: &Snapshot, task: &Arc<Task>, look_ahead: bool) -> Result<Run, Unavailable> {
        let (view, codes, work) = (snapshot.view(), Arc::clone(&self.shared.codes), Arc::clone(task));
        let done = self
            .shared
            .engines
            .run(task.deadline, move |engine| {
                let run = engines::run(engine, &work, &view, &codes, look_ahead);
                (run, view)
            })
            .await?;
        let (run, view) = done;
        let run = run?;
        if let Run::Done(recording) = &run
            && view.is_ageing()
        {
            // Used: it stays.
            snapshot.learn(&Facts::from(&recording.prestate));
        }
        Ok(run)
    }

    /// Everything that the transaction reads, in one round trip; false when the node refuses to tell.
    async fn trace(&self, snapshot: &Arc<Snapshot>, task: &Task) -> Result<bool, Unavailable> {
        let (claim, others) = self
            .shared
            .flights
            .claim(snapshot.hash(), [What::Transaction(task.tx.hash())]);
        if claim.mine().is_empty() {
            wait(others, task.deadline).await?;
            return Ok(true);
        }
        let pin = pin(snapshot);
        let mut request = Request::default();
        // Each as if it were alone: what it finds otherwise behind the others is fetched in the next round.
        task.transactions().for_each(|tx| request.add_trace(pin, tx));
        for what in ask::obvious(&task.tx, task.env.beneficiary).into_iter().take(2) {
            if !knows(&**snapshot, what) {
                request.add(pin, what, None);
            }
        }
        let answers = match self.shared.node.batch(request.calls.clone(), task.deadline).await {
            Ok(answers) => answers,
            // Learnt while it was asked.
            Err(NodeError::Unsupported(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if let Some(Err(refused)) = answers.first()
            && answers.iter().all(Result::is_err)
        {
            // It may refuse a whole batch for one call in it.
            tracing::debug!(tx = %task.tx.hash(), error = %refused, "the node refuses to trace");
            return Ok(false);
        }
        let (facts, refused) = request.read(pin, &answers)?;
        if let Some(error) = &refused {
            tracing::debug!(tx = %task.tx.hash(), %error, "the node refuses to trace");
        }
        self.learn(snapshot, facts).await;
        Ok(refused.is_none())
    }

    /// What the node's access list names, in two round trips; gives how many were made.
    async fn access_list(&self, snapshot: &Arc<Snapshot>, task: &Task) -> Result<u32, Unavailable> {
        let call = ask::access_list(pin(snapshot), &task.tx);
        let mut named = obvious(task);
        let asked = self.shared.node.batch(vec![call], task.deadline).await;
        match asked.map(|answers| answers.first().map(ask::read_access_list)) {
            Ok(Some(Ok(list))) => named.extend(list),
            Ok(Some(Err(NodeError::Rpc(error)))) => {
                tracing::debug!(tx = %task.tx.hash(), %error, "the node gives no access list");
            }
            Err(NodeError::Unsupported(_)) => return Ok(0),
            Ok(Some(Err(error))) | Err(error) => return Err(error.into()),
            Ok(None) => {}
        }
        self.fetch(snapshot, named, task.deadline).await?;
        Ok(2)
    }

    /// Fetches what of this the snapshot does not know, in one round trip, and waits for what others are fetching. For who executes on
    /// a snapshot by himself, as several transactions one after the other. Code is given only where it is known whose it is. At most 256
    /// pieces; the rest is left out.
    ///
    /// # Errors
    /// When no node gives it in time.
    pub async fn fetch(
        &self,
        snapshot: &Arc<Snapshot>,
        wanted: Vec<Missing>,
        deadline: Instant,
    ) -> Result<(), Unavailable> {
        let shared = &*self.shared;
        let mut unknown: Vec<Missing> = Vec::new();
        for what in wanted {
            if unknown.len() < MOST_WANTED && !unknown.contains(&what) && !knows(&**snapshot, what) {
                unknown.push(what);
            }
        }
        let (claim, others) = shared
            .flights
            .claim(snapshot.hash(), unknown.into_iter().map(What::Key));
        let pin = pin(snapshot);
        let mut request = Request::default();
        for what in claim.mine() {
            if let What::Key(what) = *what {
                let place = match what {
                    Missing::Code(hash) => shared.codes.place_of(hash),
                    _ => None,
                };
                request.add(pin, what, place);
            }
        }
        if !request.calls.is_empty() {
            let answers = shared.node.batch(request.calls.clone(), deadline).await?;
            let (facts, _) = request.read(pin, &answers)?;
            self.learn(snapshot, facts).await;
        }
        drop(claim);
        wait(others, deadline).await
    }
}

/// What executing the transactions reads in any case.
fn obvious(task: &Task) -> Vec<Missing> {
    let all = task.transactions();
    all.flat_map(|tx| ask::obvious(tx, task.env.beneficiary)).collect()
}

async fn wait(others: Vec<tokio::sync::watch::Receiver<()>>, deadline: Instant) -> Result<(), Unavailable> {
    tokio::time::timeout_at(deadline.into(), landed(others))
        .await
        .map_err(|_| Unavailable::Deadline)
}
