//! Asks a faucet over HTTP, and believes it account by account.

use std::time::Duration;

use chain::AccountId;
use node::exit::Code;
use url::Url;

use super::rule::Drip;
use super::service::{BATCH, FaucetAnswer};

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// An answer is never longer.
const ANSWER_LIMIT: usize = 1 << 20;
/// What is quoted of an answer that is none.
const QUOTE: usize = 200;

/// A faucet that did not answer as one.
#[derive(Debug, thiserror::Error)]
pub enum FaucetError {
    /// Its address is none.
    #[error("faucet address `{address}`: {reason}; expected http://HOST:PORT/api")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be reached, or does not answer in time.
    #[error("faucet {url} does not answer: {reason}")]
    Unreachable {
        /// Which.
        url: Url,
        /// What happened.
        reason: String,
    },
    /// It answers something else.
    #[error("faucet {url} answered {status}: {said}")]
    Refused {
        /// Which.
        url: Url,
        /// The status.
        status: u16,
        /// What it said.
        said: String,
    },
}

impl FaucetError {
    /// The exit code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Address { .. } => Code::Configuration,
            Self::Unreachable { .. } | Self::Refused { .. } => Code::Indeterminate,
        }
    }
}

/// A faucet somewhere else.
#[derive(Debug, Clone)]
pub struct FaucetClient {
    url: Url,
    client: reqwest::Client,
}

impl FaucetClient {
    /// The faucet at `address`, `http://HOST:PORT/api`.
    ///
    /// # Errors
    /// [`FaucetError::Address`].
    pub fn new(address: &str) -> Result<Self, FaucetError> {
        let fail = |reason: String| FaucetError::Address {
            address: address.to_owned(),
            reason,
        };
        let url: Url = address
            .parse()
            .map_err(|error: url::ParseError| fail(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(fail("not http".to_owned()));
        }
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .build()
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { url, client })
    }

    /// Asks for all of them, in as few requests as the faucet takes; gives one answer for each, in their order.
    ///
    /// # Errors
    /// The first request that has no answer; what was funded before stays so.
    pub async fn drip(&self, accounts: &[AccountId]) -> Result<Vec<Drip>, FaucetError> {
        let mut drips = Vec::with_capacity(accounts.len());
        for batch in accounts.chunks(BATCH) {
            drips.extend(self.ask(batch).await?);
        }
        Ok(drips)
    }

    async fn ask(&self, accounts: &[AccountId]) -> Result<Vec<Drip>, FaucetError> {
        let unreachable = |error: reqwest::Error| FaucetError::Unreachable {
            url: self.url.clone(),
            reason: error.without_url().to_string(),
        };
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .extend_pairs(accounts.iter().map(|account| ("accounts", account.to_string())));
        let mut response = self.client.post(url).send().await.map_err(unreachable)?;
        let status = response.status();
        let refused = |said: String| FaucetError::Refused {
            url: self.url.clone(),
            status: status.as_u16(),
            said: said.chars().take(QUOTE).collect::<String>().trim().to_owned(),
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(refused(format!("more than {ANSWER_LIMIT} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let text = || String::from_utf8_lossy(&body).into_owned();
        if !status.is_success() {
            return Err(refused(text()));
        }
        let answer: FaucetAnswer = serde_json::from_slice(&body).map_err(|_| refused(text()))?;
        if answer.results.len() != accounts.len() {
            let said = format!("{} results for {} accounts", answer.results.len(), accounts.len());
            return Err(refused(said));
        }
        Ok(answer.results)
    }
}
