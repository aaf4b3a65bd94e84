//! The way of a transaction as one OpenTelemetry trace: from the moment it is seen to the block that holds its pause.
//!
//! Every process derives the same trace and the same root span from the transaction's hash. So nothing has to travel with the
//! messages, a process that was started again goes on in the same trace, and all of them leave out the same transactions when only
//! some are traced. Off until [`start`]; a stage of a process that does not trace costs one comparison. What the collector does not
//! take in time is dropped: tracing never holds up a transaction.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks,
    SpanProcessor as _,
};

/// Spans that wait for the collector at most; more are dropped.
const QUEUE: usize = 8192;

/// How long the collector may take for a batch.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long a span waits for others to be sent with.
const BATCH: Duration = Duration::from_millis(500);

static EXPORT: OnceLock<Exporter> = OnceLock::new();

/// Starts tracing of this process: one in `one_in` transactions, to the OTLP collector (gRPC) at `endpoint`, as `service`. Needs a
/// runtime. A second start changes nothing.
///
/// # Errors
/// An endpoint that is not a URL. A collector that cannot be reached is no error: its spans are dropped.
pub fn start(service: &str, endpoint: &str, one_in: NonZeroU64) -> Result<(), ExporterBuildError> {
    let exporter = Exporter::new(service, endpoint, one_in)?;
    // Who loses the race has exported nothing yet.
    let _already_set = EXPORT.set(exporter);
    Ok(())
}

/// Sends what waits, where anything does: the last thing that a process does.
pub fn flush() {
    if let Some(exporter) = EXPORT.get() {
        exporter.flush();
    }
}

/// Begins the whole of a transaction's way: the span that all stages hang under. Said once, by who saw it first.
#[must_use = "a span ends when it is dropped"]
pub fn transaction(hash: impl AsRef<[u8]>) -> Span<'static> {
    Span::of(EXPORT.get(), hash.as_ref(), None)
}

/// Begins a stage of a transaction's way.
#[must_use = "a span ends when it is dropped"]
pub fn stage(hash: impl AsRef<[u8]>, name: &'static str) -> Span<'static> {
    Span::of(EXPORT.get(), hash.as_ref(), Some(name))
}

/// Where a process's spans go.
#[derive(Debug)]
struct Exporter {
    processor: BatchSpanProcessor,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    one_in: NonZeroU64,
}

impl Exporter {
    fn new(service: &str, endpoint: &str, one_in: NonZeroU64) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(DEADLINE)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_scheduled_delay(BATCH)
            .build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        processor.set_resource(
            &Resource::builder()
                .with_service_name(service.to_owned())
                .with_attribute(KeyValue::new("service.instance.id", std::process::id().to_string()))
                .build(),
        );
        Ok(Self {
            processor,
            ids: RandomIdGenerator::default(),
            scope: InstrumentationScope::builder("portcullis").build(),
            one_in,
        })
    }

    fn flush(&self) {
        if let Err(error) = self.processor.force_flush() {
            tracing::debug!(%error, "the last spans were not taken");
        }
    }
}

/// The ids that every process gives a transaction: trace and root span. `None` for what is too short to be a hash.
fn ids(hash: &[u8]) -> Option<(TraceId, SpanId)> {
    let (trace, rest) = hash.split_first_chunk::<16>()?;
    let (root, _) = rest.split_first_chunk::<8>()?;
    Some((TraceId::from_bytes(*trace), SpanId::from_bytes(*root)))
}

/// Whether a transaction is one of those that are traced: every process says the same.
fn is_traced(root: SpanId, one_in: NonZeroU64) -> bool {
    u64::from_be_bytes(root.to_bytes()).is_multiple_of(one_in.get())
}

/// A stage under way; it ends when it is dropped.
#[derive(Debug)]
pub struct Span<'a>(Option<Under<'a>>);

#[derive(Debug)]
struct Under<'a> {
    exporter: &'a Exporter,
    trace: TraceId,
    id: SpanId,
    parent: SpanId,
    name: &'static str,
    began: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl<'a> Span<'a> {
    fn of(exporter: Option<&'a Exporter>, hash: &[u8], stage: Option<&'static str>) -> Self {
        Self(exporter.and_then(|exporter| {
            let (trace, root) = ids(hash)?;
            is_traced(root, exporter.one_in).then(|| Under {
                exporter,
                trace,
                id: if stage.is_some() {
                    exporter.ids.new_span_id()
                } else {
                    root
                },
                parent: if stage.is_some() { root } else { SpanId::INVALID },
                name: stage.unwrap_or("transaction"),
                began: SystemTime::now(),
                attributes: Vec::new(),
                status: Status::Unset,
            })
        }))
    }

    /// Says when it began, where that was not now.
    #[must_use = "a span ends when it is dropped"]
    pub fn since(mut self, began: SystemTime) -> Self {
        if let Some(span) = &mut self.0 {
            span.began = began;
        }
        self
    }

    /// Says that it began so long ago.
    #[must_use = "a span ends when it is dropped"]
    pub fn began_before(self, ago: Duration) -> Self {
        match SystemTime::now().checked_sub(ago) {
            Some(began) => self.since(began),
            None => self,
        }
    }

    /// Adds what is known of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.attributes.push(KeyValue::new(key, value));
        }
    }

    /// Says that it failed, and why.
    pub fn failed(&mut self, reason: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.status = Status::error(reason);
        }
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        let Some(span) = self.0.take() else { return };
        let context = SpanContext::new(span.trace, span.id, TraceFlags::SAMPLED, false, TraceState::default());
        span.exporter.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: span.parent,
            parent_span_is_remote: span.parent != SpanId::INVALID,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(span.name),
            start_time: span.began,
            end_time: SystemTime::now().max(span.began),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.status,
            instrumentation_scope: span.exporter.scope.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_gives_a_transaction_the_same_ids() {
        let hash: Vec<u8> = (1..=32).collect();
        let (trace, root) = ids(&hash).unwrap();
        assert_eq!(trace.to_string(), "0102030405060708090a0b0c0d0e0f10");
        assert_eq!(root.to_string(), "1112131415161718");
        assert_eq!(ids(&hash[..23]), None);
    }

    #[test]
    fn one_in_four_is_the_same_fourth_everywhere() {
        let four = NonZeroU64::new(4).unwrap();
        let traced: Vec<u64> = (1..=12)
            .filter(|n: &u64| is_traced(SpanId::from_bytes(n.to_be_bytes()), four))
            .collect();
        assert_eq!(traced, [4, 8, 12]);
        assert!(is_traced(SpanId::from_bytes([7; 8]), NonZeroU64::MIN));
    }

    #[test]
    fn a_process_that_does_not_trace_records_nothing() {
        let mut span = stage([7u8; 32], "judge");
        span.set("miners", 3);
        span.failed("nobody answered");
        assert!(span.0.is_none());
    }
}
