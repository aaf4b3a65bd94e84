//! Reports: counted once, taken only from those who were asked, and never half.

use platform::log::FeedLog;
use platform::registry;
use protos::v1;
use tonic::Code;

use crate::world::{Served, assigned, batch, for_all, head, open, tx_hash};

const INVARIANT: &str = r#"{"name":"floor","contract":"0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d","type":">=","target":"1","storage":"0x0"}"#;

fn execution(gas_used: u64) -> v1::Execution {
    v1::Execution {
        status: v1::ExecutionStatus::Success.into(),
        gas_used,
        logs: 0,
        post_state_digest: vec![9; 32].into(),
    }
}

fn witness() -> v1::Witness {
    v1::Witness {
        pre: vec![1; 32].into(),
        post: vec![0; 32].into(),
        digest: vec![7; 32].into(),
        readings: Vec::new(),
    }
}

fn report(cursor: u64, n: u64, execution: Option<v1::Execution>) -> v1::TransactionReport {
    let verdict = match &execution {
        Some(_) => v1::judgement::Verdict::Holds(v1::Holds::default()),
        None => v1::judgement::Verdict::Undecided(v1::Undecided {
            reason: "missing state".into(),
        }),
    };
    v1::TransactionReport {
        cursor,
        tx_hash: wire::hash_bytes(tx_hash(n)),
        invariant_set_version: 1,
        judgements: vec![v1::Judgement {
            invariant_id: 1,
            verdict: Some(verdict),
        }],
        execution,
        asked: 5,
        answered: 4,
        agreed: 3,
        arbitrated: true,
        skipped: String::new(),
    }
}

fn incident(cursor: u64, n: u64) -> v1::IncidentReport {
    v1::IncidentReport {
        cursor,
        invariant_id: 1,
        invariant_name: "floor".into(),
        tx_hash: wire::hash_bytes(tx_hash(n)),
        witness: Some(witness()),
        seen_to_confirmed_us: 1500,
    }
}

fn of(transactions: Vec<v1::TransactionReport>, incidents: Vec<v1::IncidentReport>) -> v1::ReportRequest {
    v1::ReportRequest {
        transactions,
        incidents,
        timelines: Vec::new(),
        ..v1::ReportRequest::default()
    }
}

fn timeline(n: u64, revision: u64, state: &str) -> v1::ReportRequest {
    let moment = v1::TimelineMoment {
        at_ms: revision,
        moment: state.into(),
        ..Default::default()
    };
    let timeline = v1::IncidentTimeline {
        incident: 4,
        revision,
        invariant_id: 1,
        tx_hash: wire::hash_bytes(tx_hash(n)),
        state: state.into(),
        timeline: vec![moment],
        ..Default::default()
    };
    v1::ReportRequest {
        timelines: vec![timeline],
        ..Default::default()
    }
}

/// A timeline whose suspect changes one balance of ether by so much.
fn moving(change: &str) -> v1::ReportRequest {
    let mut request = timeline(1, 1, "open");
    request.timelines[0].suspects = vec![v1::SuspectTransaction {
        tx_hash: wire::hash_bytes(tx_hash(1)),
        value: vec![0; 32].into(),
        deltas: vec![v1::TokenDelta {
            holder: vec![0xa1; 20].into(),
            change: change.into(),
            ..Default::default()
        }],
        ..Default::default()
    }];
    request
}

/// One invariant (cursor 1), transactions 1 (to validators 1 and 2) and 2 (to validator 1) under cursors 2 and 3.
async fn world(folder: &tempfile::TempDir) -> Served {
    let store = open(folder.path()).await;
    store
        .add_invariants(&registry::parse(INVARIANT).unwrap())
        .await
        .unwrap();
    store
        .append(batch(vec![assigned(1, &[1, 2]), assigned(2, &[1])]))
        .await
        .unwrap();
    Served::start(store, [1, 2]).await
}

#[tokio::test]
async fn a_report_counts_once_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let served = world(&folder).await;
    let both = of(vec![report(2, 1, Some(execution(21_000))), report(3, 2, None)], vec![]);
    assert_eq!(served.report(1, &both).await.unwrap(), 2);
    assert_eq!(served.report(1, &both).await.unwrap(), 0);
    assert_eq!(
        served
            .report(2, &of(vec![report(2, 1, Some(execution(21_000)))], vec![]))
            .await
            .unwrap(),
        1
    );

    let status = served.status().await;
    assert_eq!((status.transactions, status.assigned, status.reported), (2, 3, 3));
    assert_eq!((status.judged, status.executed), (2, 1));
    assert_eq!((status.holds, status.violated, status.undecided), (2, 0, 1));
    assert_eq!(
        (status.challenges, status.answers, status.agreed, status.arbitrated),
        (15, 12, 9, 3)
    );

    let executions = served
        .client
        .clone()
        .executions(v1::ExecutionsRequest { after: 0, limit: 0 })
        .await
        .unwrap();
    let executions = executions.into_inner().executions;
    assert_eq!(
        executions.iter().map(|e| (e.cursor, e.disputed)).collect::<Vec<_>>(),
        [(2, false), (3, false)]
    );
    assert_eq!(executions[0].execution, Some(execution(21_000)));
    assert_eq!(executions[1].execution, None);
    let rest = served
        .client
        .clone()
        .executions(v1::ExecutionsRequest { after: 2, limit: 1 })
        .await
        .unwrap();
    assert_eq!(rest.into_inner().executions.len(), 1);
}

#[tokio::test]
async fn different_executions_of_one_item_make_it_disputed() {
    let folder = tempfile::tempdir().unwrap();
    let served = world(&folder).await;
    served.report(2, &of(vec![report(2, 1, None)], vec![])).await.unwrap();
    let executions = served.store.executions(0, 0).await.unwrap();
    assert_eq!((executions[0].execution.clone(), executions[0].disputed), (None, false));
    served
        .report(1, &of(vec![report(2, 1, Some(execution(21_000)))], vec![]))
        .await
        .unwrap();
    assert!(
        !served.store.executions(0, 0).await.unwrap()[0].disputed,
        "no execution contradicts nothing"
    );

    let folder = tempfile::tempdir().unwrap();
    let served = world(&folder).await;
    served
        .report(1, &of(vec![report(2, 1, Some(execution(21_000)))], vec![]))
        .await
        .unwrap();
    served
        .report(2, &of(vec![report(2, 1, Some(execution(21_001)))], vec![]))
        .await
        .unwrap();
    let executions = served.store.executions(0, 0).await.unwrap();
    assert_eq!(
        (executions[0].execution.clone(), executions[0].disputed),
        (Some(execution(21_000)), true)
    );
}

#[tokio::test]
async fn what_was_not_asked_for_or_does_not_fit_is_refused_with_the_whole_request() {
    let folder = tempfile::tempdir().unwrap();
    let served = world(&folder).await;
    let good = report(2, 1, Some(execution(21_000)));
    let bad = |change: &dyn Fn(&mut v1::TransactionReport)| {
        let mut report = report(3, 2, None);
        change(&mut report);
        of(vec![good.clone(), report], vec![])
    };
    for (request, validator, code, says) in [
        (bad(&|_| {}), 2, Code::FailedPrecondition, "transactions[1]: cursor 3"),
        (bad(&|r| r.cursor = 99), 1, Code::FailedPrecondition, "cursor 99"),
        (
            bad(&|r| r.tx_hash = wire::hash_bytes(tx_hash(7))),
            1,
            Code::FailedPrecondition,
            "cursor 3",
        ),
        (
            bad(&|r| r.tx_hash = vec![1; 31].into()),
            1,
            Code::InvalidArgument,
            "transactions[1]: field `tx_hash` has 31",
        ),
        (
            bad(&|r| r.judgements[0].verdict = None),
            1,
            Code::InvalidArgument,
            "judgement.verdict",
        ),
        (bad(&|r| r.answered = 6), 1, Code::InvalidArgument, "6 of 5 asked"),
        (bad(&|r| r.agreed = 5), 1, Code::InvalidArgument, "5 of 4 answered"),
        (
            of(
                vec![good.clone()],
                vec![v1::IncidentReport {
                    witness: None,
                    ..incident(2, 1)
                }],
            ),
            1,
            Code::InvalidArgument,
            "witness",
        ),
        (
            of(
                vec![good.clone()],
                vec![v1::IncidentReport {
                    invariant_id: 5,
                    ..incident(2, 1)
                }],
            ),
            1,
            Code::InvalidArgument,
            "no invariant 5",
        ),
        (
            of(vec![good.clone()], vec![incident(3, 2)]),
            2,
            Code::FailedPrecondition,
            "incidents[0]",
        ),
        (
            v1::ReportRequest {
                timelines: moving("1e18").timelines,
                ..of(vec![good.clone()], vec![incident(2, 1)])
            },
            1,
            Code::InvalidArgument,
            "timelines[0]: field `suspects.deltas.change`",
        ),
        (of(vec![good.clone()], vec![]), 3, Code::PermissionDenied, "permit"),
    ] {
        let refused = served.report(validator, &request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(says), "{} lacks {says}", refused.message());
    }
    assert_eq!(
        served.status().await.reported,
        0,
        "nothing of a refused request is stored"
    );
}

#[tokio::test]
async fn an_incident_is_one_however_many_confirm_it_and_knows_when_it_was_included() {
    let folder = tempfile::tempdir().unwrap();
    let served = world(&folder).await;
    assert_eq!(served.report(1, &of(vec![], vec![incident(2, 1)])).await.unwrap(), 1);
    assert_eq!(served.report(1, &of(vec![], vec![incident(2, 1)])).await.unwrap(), 0);
    assert_eq!(served.report(2, &of(vec![], vec![incident(2, 1)])).await.unwrap(), 1);
    let incidents = async || {
        let request = v1::IncidentsRequest { after: 0, limit: 0 };
        served
            .client
            .clone()
            .incidents(request)
            .await
            .unwrap()
            .into_inner()
            .incidents
    };
    let found = incidents().await;
    assert_eq!(
        (found.len(), found[0].confirmations, found[0].included_at_ms),
        (1, 2, 0)
    );
    assert_eq!(found[0].witness, Some(witness()));
    assert_eq!(found[0].contract, vec![0x1d; 20]);
    assert_eq!(found[0].tx_sender, vec![1; 20]);
    assert!(found[0].logged_at_ms > 0 && found[0].reported_at_ms >= found[0].logged_at_ms);

    // A block includes both; the second one is reported only afterwards.
    served
        .store
        .append(batch(vec![for_all(head(1, &[1, 2]))]))
        .await
        .unwrap();
    served.report(1, &of(vec![], vec![incident(3, 2)])).await.unwrap();
    let found = incidents().await;
    assert_eq!(found.len(), 2);
    for incident in &found {
        assert!(incident.included_at_ms >= incident.logged_at_ms);
    }
    assert_eq!(served.status().await.incidents, 2);
    // Another head that names it again does not move the time.
    let first = found[0].included_at_ms;
    served.store.append(batch(vec![for_all(head(2, &[1]))])).await.unwrap();
    assert_eq!(incidents().await[0].included_at_ms, first);
    let after = served.store.incidents(found[0].id, 10).await.unwrap();
    assert_eq!(
        after.iter().map(|incident| incident.id).collect::<Vec<_>>(),
        [found[1].id]
    );
}

#[tokio::test]
async fn an_incident_shows_the_newest_timeline_of_each_validator_that_confirmed_it() {
    let folder = tempfile::tempdir().unwrap();
    let served = world(&folder).await;
    let refused = served.report(1, &timeline(1, 1, "open")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("confirmed no such incident"), "{refused}");

    let both = v1::ReportRequest {
        timelines: timeline(1, 2, "fired").timelines,
        ..of(vec![], vec![incident(2, 1)])
    };
    served.report(1, &both).await.unwrap();
    served.report(2, &of(vec![], vec![incident(2, 1)])).await.unwrap();
    served.report(2, &timeline(1, 1, "escalated")).await.unwrap();
    assert_eq!(served.report(1, &timeline(1, 3, "contained")).await.unwrap(), 1);
    assert_eq!(
        served.report(1, &timeline(1, 2, "fired")).await.unwrap(),
        0,
        "an older one changes nothing"
    );

    let page = served
        .client
        .clone()
        .incidents(v1::IncidentsRequest::default())
        .await
        .unwrap();
    let incidents = page.into_inner().incidents;
    let [incident] = incidents.as_slice() else {
        panic!("{incidents:?}")
    };
    let mut told: Vec<(&str, u64)> = incident
        .timelines
        .iter()
        .map(|told| (told.state.as_str(), told.revision))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("contained", 3), ("escalated", 1)]);
    assert!(incident.timelines.iter().all(|told| told.validator.len() == 32));
    assert_ne!(incident.timelines[0].validator, incident.timelines[1].validator);
}
