//! What can be set about pauses: the table `[pause]`.

use std::time::Duration;

use node::config::Secret;
use serde::Deserialize;

/// Settings of the pauser. Nodes and account are the sender's unless they are given here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PauseConfig {
    /// Nodes (`http`, `https`, `ws`, `wss`) whose state pauses are tried on; the sender's endpoints when it is empty. Each may be
    /// `env:NAME` or `file:PATH`.
    pub nodes: Vec<Secret>,
    /// Most gas that a pause may use.
    pub gas_limit: u64,
    /// Never offer more than this `maxFeePerGas`, in wei; the sender's lane has a limit too.
    pub max_fee_cap: Option<u64>,
    /// What is not mined so long after it was sent is withdrawn.
    #[serde(with = "humantime_serde")]
    pub expire_after: Duration,
    /// How long the simulation may take, with everything that has to be read for it.
    #[serde(with = "humantime_serde")]
    pub simulation: Duration,
    /// How often the nodes are asked for a new head, besides whenever the platform streams one.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// How long a node may take for an answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for PauseConfig {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            gas_limit: 1_000_000,
            max_fee_cap: None,
            expire_after: Duration::from_secs(600),
            simulation: Duration::from_secs(3),
            poll: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
        }
    }
}

impl PauseConfig {
    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(21_000..=16_777_216).contains(&self.gas_limit) {
            return Err(format!(
                "`pause.gas_limit`: {} is not in 21000..=16777216",
                self.gas_limit
            ));
        }
        for (key, value) in [
            ("expire_after", self.expire_after),
            ("simulation", self.simulation),
            ("poll", self.poll),
            ("timeout", self.timeout),
        ] {
            if value.is_zero() || value > Duration::from_secs(24 * 3600) {
                return Err(format!("`pause.{key}`: {value:?} is not above 0 and at most a day"));
            }
        }
        Ok(())
    }
}
