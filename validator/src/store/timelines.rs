//! What the platform is told of incidents: each change once, and only after the incident itself.

use alloy::primitives::keccak256;
use prost::Message;
use protos::v1;

use super::{Store, StoreError, outbox, signed, unsigned};

/// What became of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is in the outbox.
    Posted,
    /// It says what the last one said.
    Same,
    /// The incident's own report is not there yet: it would come first.
    TooEarly,
}

impl Store {
    /// Puts a timeline into the outbox, under a revision of its own, unless it says nothing new.
    ///
    /// # Errors
    /// The database fails.
    pub async fn post_timeline(&self, mut timeline: v1::IncidentTimeline) -> Result<Told, StoreError> {
        timeline.revision = 0;
        let digest = keccak256(timeline.encode_to_vec());
        let incident = signed(timeline.incident);
        // It reads before it writes: as a reader that becomes a writer it could find the database locked.
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM incident WHERE tx_hash = ? AND invariant_id = ?")
            .bind(&timeline.tx_hash[..])
            .bind(signed(timeline.invariant_id))
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_none() {
            return Ok(Told::TooEarly);
        }
        let last: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT revision, digest FROM timeline WHERE incident = ?")
            .bind(incident)
            .fetch_optional(&mut *tx)
            .await?;
        let revision = match last {
            Some((_, last)) if last == digest.as_slice() => return Ok(Told::Same),
            Some((revision, _)) => revision.saturating_add(1),
            None => 1,
        };
        sqlx::query(
            "INSERT INTO timeline (incident, revision, digest) VALUES (?1, ?2, ?3)
             ON CONFLICT (incident) DO UPDATE SET revision = ?2, digest = ?3",
        )
        .bind(incident)
        .bind(revision)
        .bind(digest.as_slice())
        .execute(&mut *tx)
        .await?;
        timeline.revision = unsigned(revision);
        outbox::post_timeline(&mut tx, &timeline).await?;
        tx.commit().await?;
        Ok(Told::Posted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::store;
    use super::*;

    fn timeline(state: &str) -> v1::IncidentTimeline {
        v1::IncidentTimeline {
            incident: 9,
            invariant_id: 3,
            tx_hash: vec![1; 32].into(),
            state: state.into(),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn each_change_is_told_once_and_after_the_incident() {
        let (store, _folder) = store().await;
        assert_eq!(store.post_timeline(timeline("open")).await.unwrap(), Told::TooEarly);
        let incident = v1::IncidentReport {
            tx_hash: vec![1; 32].into(),
            invariant_id: 3,
            ..Default::default()
        };
        store.record_incident(&incident).await.unwrap();
        assert_eq!(store.post_timeline(timeline("open")).await.unwrap(), Told::Posted);
        assert_eq!(store.post_timeline(timeline("open")).await.unwrap(), Told::Same);
        assert_eq!(store.post_timeline(timeline("fired")).await.unwrap(), Told::Posted);
        let told = store.outbox(10).await.unwrap().request.timelines;
        let told: Vec<(u64, &str)> = told.iter().map(|told| (told.revision, told.state.as_str())).collect();
        assert_eq!(told, [(1, "open"), (2, "fired")]);
    }
}
