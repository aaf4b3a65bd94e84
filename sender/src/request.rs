//! What is asked of the sender, and what can be seen of it afterwards.

use std::fmt;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use tokio::sync::watch;

use crate::fees::Fees;
use crate::lane::Lane;
use crate::machine::{Failure, Inclusion, State};

/// The longest idempotency key, in bytes.
pub const MAX_KEY: usize = 200;

/// The name of an effect: however often it is submitted, before or after a restart, it is mined once at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

/// A name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {MAX_KEY} printable characters, this one has {0} bytes")]
pub struct InvalidKey(pub usize);

impl IdempotencyKey {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidKey`]: empty, longer than [`MAX_KEY`] bytes, or with control characters.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidKey> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_KEY || name.chars().any(char::is_control) {
            return Err(InvalidKey(name.len()));
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = InvalidKey;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// A transaction to get mined.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Request {
    /// The name of its effect.
    pub key: IdempotencyKey,
    /// How urgent it is; the configuration gives each lane its key.
    pub lane: Lane,
    /// Receiver; `None` creates a contract.
    pub to: Option<Address>,
    /// Wei to transfer.
    pub value: U256,
    /// Input.
    pub data: Bytes,
    /// Gas limit; `None`: estimated, with a fifth added. An urgent request gives it: estimating costs a round trip.
    pub gas: Option<u64>,
    /// Never offer more than this `maxFeePerGas`, in wei; the lane's own limit holds as well.
    pub max_fee_cap: Option<u128>,
    /// Not to be mined when the chain's time is after this, in seconds. What is out by then is withdrawn; it may win
    /// that race, and is then reported as mined.
    pub deadline: Option<u64>,
    /// The fees of the transaction that it must stand ahead of in the block. Legacy: both are its gas price.
    pub beat: Option<Fees>,
    /// The fees of the transaction that it must stand right behind in the block, since it builds on its effect; in place of `beat`.
    /// Until [`follow`](crate::Sender::follow) says otherwise its own offer is never raised past that one's.
    #[serde(default)]
    pub behind: Option<Fees>,
}

impl Request {
    /// A call without value, everything else left to the configuration.
    #[must_use]
    pub const fn call(key: IdempotencyKey, lane: Lane, to: Address, data: Bytes) -> Self {
        Self {
            key,
            lane,
            to: Some(to),
            value: U256::ZERO,
            data,
            gas: None,
            max_fee_cap: None,
            deadline: None,
            beat: None,
            behind: None,
        }
    }

    /// What makes the effect: the same key with another digest is a mistake of the caller.
    pub(crate) fn digest(&self) -> B256 {
        let mut bytes = Vec::with_capacity(self.data.len() + 64);
        bytes.push(u8::from(self.to.is_some()));
        bytes.extend_from_slice(self.to.unwrap_or_default().as_slice());
        bytes.extend_from_slice(&self.value.to_be_bytes::<32>());
        bytes.extend_from_slice(&self.data);
        keccak256(&bytes)
    }
}

/// How long the steps until the first endpoint's acceptance took, each measured from the call of `submit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Until the request was on disk.
    pub stored: Option<Duration>,
    /// Until its first transaction was signed.
    pub signed: Option<Duration>,
    /// Until the signed bytes were on disk, and their broadcast began.
    pub sent: Option<Duration>,
    /// Until the first endpoint had taken it.
    pub accepted: Option<Duration>,
}

/// What is known of a request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub key: IdempotencyKey,
    /// Its lane.
    pub lane: Lane,
    /// The account that sends it.
    pub account: Address,
    /// Where it is.
    pub state: State,
    /// Hash of the newest transaction of its.
    pub transaction: Option<B256>,
    /// How often its fees were raised.
    pub bumps: u32,
    /// Its fees cannot be raised further, although it waits: the cap is reached, and what is there stays.
    pub capped: bool,
    /// Whether its offer stands ahead of the transaction that it is to beat; true where there is none.
    pub ahead: bool,
    /// Whether only the relay has it.
    pub private: bool,
    /// The newest complaint of an endpoint about it.
    pub note: Option<String>,
    /// Latency of its first transaction; empty after a restart.
    pub timing: Timing,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In a block: [`Inclusion::success`] tells whether it reverted.
    Mined(Inclusion),
    /// Not mined.
    Failed(Failure),
}

impl Outcome {
    /// `None`: the state is no end.
    fn of(state: State) -> Option<Self> {
        match state {
            State::Final(inclusion) => Some(Self::Mined(inclusion)),
            State::Failed { reason } => Some(Self::Failed(reason)),
            _ => None,
        }
    }
}

/// A wait that ended without an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The time given is over. The request goes on.
    #[error("`{key}` is still {state} after {waited:?}; it goes on, wait again or cancel it")]
    Deadline {
        /// Its name.
        key: IdempotencyKey,
        /// Where it is.
        state: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// The sender was shut down or lost its database. The journal knows the request; it goes on with the next start.
    #[error("the sender stopped before `{0}` ended; it goes on when the sender is opened again")]
    Stopped(IdempotencyKey),
}

/// A submitted request, to watch. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) status: watch::Receiver<Status>,
}

impl Handle {
    /// What is known now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// How it ended; `None` as long as something can change.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        Outcome::of(self.status().state)
    }

    /// Each change of the status.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until nothing can change any more: final, or failed.
    ///
    /// # Errors
    /// [`WaitError`]: not within `limit`, or the sender stopped.
    pub async fn wait(&self, limit: Duration) -> Result<Outcome, WaitError> {
        let status = self.until(limit, |state| state.is_end()).await?;
        Outcome::of(status.state).ok_or(WaitError::Stopped(status.key))
    }

    /// Waits until it is in a block, however shallow, or failed. A reorganisation can still take it out of the block.
    ///
    /// # Errors
    /// [`WaitError`]: not within `limit`, or the sender stopped.
    pub async fn included(&self, limit: Duration) -> Result<Outcome, WaitError> {
        let status = self
            .until(limit, |state| state.is_end() || matches!(state, State::Included(_)))
            .await?;
        match status.state {
            State::Included(inclusion) => Ok(Outcome::Mined(inclusion)),
            end => Outcome::of(end).ok_or(WaitError::Stopped(status.key)),
        }
    }

    /// Waits until `reached`.
    ///
    /// # Errors
    /// [`WaitError`]: not within `limit`, or the sender stopped.
    pub async fn until(&self, limit: Duration, reached: impl Fn(&State) -> bool) -> Result<Status, WaitError> {
        let mut receiver = self.status.clone();
        let waited = tokio::time::timeout(limit, receiver.wait_for(|status| reached(&status.state))).await;
        match waited {
            Ok(Ok(status)) => Ok(status.clone()),
            Ok(Err(_)) => Err(WaitError::Stopped(self.status.borrow().key.clone())),
            Err(_) => {
                let status = self.status.borrow();
                Err(WaitError::Deadline {
                    key: status.key.clone(),
                    state: status.state.name(),
                    waited: limit,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        assert!(IdempotencyKey::new("pause/17").is_ok());
        assert!(IdempotencyKey::new("").is_err());
        assert!(IdempotencyKey::new("a\nb").is_err());
        assert!(IdempotencyKey::new("a".repeat(201)).is_err());
        assert!(serde_json::from_str::<IdempotencyKey>("\"\"").is_err());
    }

    #[test]
    fn the_effect_is_receiver_value_and_data() {
        let key = IdempotencyKey::new("a").unwrap();
        let one = Request::call(key, Lane::Report, Address::ZERO, Bytes::from_static(b"x"));
        let other_terms = Request {
            gas: Some(1),
            lane: Lane::Pause,
            max_fee_cap: Some(1),
            ..one.clone()
        };
        assert_eq!(one.digest(), other_terms.digest());
        assert_ne!(
            one.digest(),
            Request {
                to: None,
                ..one.clone()
            }
            .digest()
        );
        assert_ne!(
            one.digest(),
            Request {
                data: Bytes::new(),
                ..one
            }
            .digest()
        );
    }
}
