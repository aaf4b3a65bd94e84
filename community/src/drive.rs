//! The phase driver's shell: looks at a community block by block, asks the rule ([`crate::driver`]), and begins the next phase.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::community::{Community, Home, Means, read};
use crate::driver::{Decision, Driver, Patience};
use crate::error::CommunityError;
use crate::phase::Phase;

/// How often the next phase is tried.
const ATTEMPTS: u32 = 5;

impl<'a> Community<'a> {
    /// Drives the phases of the embedded ledger until `shutdown`: a look at each `block`, the next phase when everybody is done or
    /// nothing happens. With `once` it ends after one phase. `told` hears of each phase that ended, and why.
    ///
    /// # Errors
    /// The ledger is a remote one, or the next phase did not begin in five attempts.
    pub async fn drive(
        home: &Home,
        patience: Patience,
        block: Duration,
        once: bool,
        means: Means<'a>,
        mut told: impl FnMut(u64, Phase, Decision),
        shutdown: &CancellationToken,
    ) -> Result<(), CommunityError> {
        if home.ledger.is_some() {
            return Err(CommunityError::NotDriven);
        }
        let (store, mut held) = read(&home.folder).await?;
        let mut driver = Driver::new(patience);
        let mut seen = held.generation;
        let mut ticks = tokio::time::interval(block);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let before = (held.book.now.number, held.book.phase);
            store.refresh(&mut held).await?;
            let (ceremony, phase) = (held.book.now.number, held.book.phase);
            if (ceremony, phase) != before {
                driver.begin();
            }
            let workers = store.workers(ceremony, phase).await?;
            let decision = driver.observe(held.generation.saturating_sub(seen), &workers);
            seen = held.generation;
            tracing::debug!(?decision, ceremony, %phase, "block");
            if !decision.advances() {
                continue;
            }
            attempts(ATTEMPTS, block, async || {
                let mut community = Self::open(home, means.clone()).await?;
                // Only who has the ledger's lock, as we do now, moves a phase on: nobody else is faster from here.
                let here = (community.held.book.now.number, community.held.book.phase);
                let advanced = match here == (ceremony, phase) {
                    true => community.advance().await,
                    false => Ok(()),
                };
                community.close().await;
                advanced
            })
            .await?;
            told(ceremony, phase, decision);
            driver.begin();
            store.refresh(&mut held).await?;
            seen = held.generation;
            if once {
                return Ok(());
            }
        }
    }
}

/// Tries `step` so often, one `pause` apart; fails with what the last one ended with.
///
/// # Errors
/// [`CommunityError::NotAdvanced`].
pub async fn attempts(
    attempts: u32,
    pause: Duration,
    mut step: impl AsyncFnMut() -> Result<(), CommunityError>,
) -> Result<(), CommunityError> {
    let mut attempt = 1;
    loop {
        match step().await {
            Ok(()) => return Ok(()),
            Err(error) if attempt >= attempts => {
                return Err(CommunityError::NotAdvanced {
                    attempts,
                    reason: Box::new(error),
                });
            }
            Err(error) => tracing::warn!(%error, attempt, "the next phase did not begin; trying again"),
        }
        attempt += 1;
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BOT-16.
    #[tokio::test(start_paused = true)]
    async fn a_phase_that_begins_at_the_third_attempt_begins_once() {
        let (mut tried, mut begun) = (0, 0);
        let result = attempts(5, Duration::from_secs(6), async || {
            tried += 1;
            if tried < 3 {
                return Err(CommunityError::NotDriven);
            }
            begun += 1;
            Ok(())
        })
        .await;
        assert!(result.is_ok());
        assert_eq!((tried, begun), (3, 1));
        let error = attempts(5, Duration::from_secs(6), async || Err(CommunityError::NotDriven)).await;
        assert!(matches!(error, Err(CommunityError::NotAdvanced { attempts: 5, .. })));
    }
}
