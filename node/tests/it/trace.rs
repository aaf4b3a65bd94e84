//! Stages of several processes meet in one trace, at a collector that speaks the real protocol.

use std::num::NonZeroU64;
use std::time::Duration;

use testkit::Collector;

/// What is process-wide is started once, and by this test alone.
#[tokio::test(flavor = "multi_thread")]
async fn stages_hang_under_their_transaction_and_say_what_failed() {
    let collector = Collector::start().await;
    node::trace::start("validator", &collector.endpoint(), NonZeroU64::MIN).unwrap();
    let (one, other) = ([1u8; 32], [2u8; 32]);

    {
        let mut judge = node::trace::stage(one, "judge").began_before(Duration::from_millis(20));
        judge.set("miners", 5);
        let mut pause = node::trace::stage(one, "pause");
        pause.failed("the attack pays more");
        let _whole = node::trace::transaction(other);
    }
    tokio::task::spawn_blocking(node::trace::flush).await.unwrap();

    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert!(spans.iter().all(|kept| kept.service == "validator"));
    let named = |name: &str| &spans.iter().find(|kept| kept.span.name == name).unwrap().span;

    let (judge, pause, whole) = (named("judge"), named("pause"), named("transaction"));
    assert_eq!(
        (&judge.trace_id[..], &judge.parent_span_id[..]),
        (&[1u8; 16][..], &[1u8; 8][..])
    );
    assert_eq!(judge.trace_id, pause.trace_id);
    assert_ne!(judge.span_id, pause.span_id);
    assert_eq!(judge.attributes[0].key, "miners");
    assert!(judge.end_time_unix_nano - judge.start_time_unix_nano >= 20_000_000);
    assert_eq!(pause.status.as_ref().unwrap().message, "the attack pays more");
    assert_eq!(
        (&whole.trace_id[..], &whole.span_id[..]),
        (&[2u8; 16][..], &[2u8; 8][..])
    );
    assert!(whole.parent_span_id.is_empty());
}
