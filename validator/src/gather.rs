//! What goes to the database together: as much as comes within a moment of the first.
//!
//! A transaction of the database costs about the same for one item and for many. Nobody waits for the record: what it delays, by
//! [`LINGER`] at most, is the report to the platform; what a crash takes from it comes again with the stream.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Items in one transaction of the database.
pub const BATCH: usize = 64;

/// How long the first of them waits for the others.
pub const LINGER: Duration = Duration::from_millis(10);

/// Takes the next items, at least one and at most [`BATCH`]; none when there will be no more.
pub async fn next<T>(items: &mut mpsc::Receiver<T>) -> Vec<T> {
    let mut batch = Vec::with_capacity(BATCH);
    if items.recv_many(&mut batch, BATCH).await == 0 {
        return batch;
    }
    let until = Instant::now() + LINGER;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        match timeout_at(until, items.recv_many(&mut batch, room)).await {
            Ok(more) if more > 0 => {}
            _ => break,
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_full_or_a_moment_old_and_nothing_is_lost() {
        let (sender, mut items) = mpsc::channel(1_000);
        for n in 0..BATCH + 10 {
            sender.try_send(n).unwrap();
        }
        let begun = Instant::now();
        assert_eq!(next(&mut items).await, (0..BATCH).collect::<Vec<_>>());
        assert_eq!(begun.elapsed(), Duration::ZERO, "a full batch does not wait");
        assert_eq!(next(&mut items).await.len(), 10);
        assert!(begun.elapsed() >= LINGER);

        let late = tokio::spawn(async move {
            for n in 0..3 {
                sender.send(n).await.unwrap();
                tokio::time::sleep(LINGER / 4).await;
            }
        });
        assert_eq!(next(&mut items).await, [0, 1, 2]);
        late.await.unwrap();
        assert!(next(&mut items).await.is_empty(), "there will be no more");
    }
}
