//! Whoever deploys, pays or withdraws: a private key, and a node to send through.
//!
//! What always holds: a transaction is tried on the node's newest block first, so that what the contract would refuse costs
//! nothing and is told in the contract's own words; what is sent goes through [`sender`], under a name that stands for its
//! effect: a command that was interrupted and is run again waits for what it began, and begins nothing twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use alloy::network::TransactionBuilder as _;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use contracts::ServicePayment::ServicePaymentErrors;
use contracts::ServicePaymentFactory::ServicePaymentFactoryErrors;
use eyre::{WrapErr as _, eyre};
use node::config::Secret;
use node::exit::{Code, Failure, OrConfiguration as _};
use sender::keys::KeyConfig;
use sender::{Handle, IdempotencyKey, Inclusion, Keys, Lane, Outcome, Request, Sender, State};

use crate::cli::{self, RpcArgs};
use crate::reader::connect;

/// So often one effect is tried before a person has to look.
const MAX_ATTEMPTS: u32 = 100;

/// Flags of every command that sends.
#[derive(Debug, Clone, clap::Args)]
pub struct AccountArgs {
    /// The private key, 64 hexadecimal digits; env:NAME or file:PATH keep it out of the process list
    #[arg(
        long,
        env = "PRIVATE_KEY",
        value_name = "SECRET",
        hide_env_values = true,
        conflicts_with = "keystore"
    )]
    pub private_key: Option<Secret>,
    /// An encrypted key file (version 3, as geth and foundry write it), with --password
    #[arg(long, env = "KEYSTORE", value_name = "FILE", requires = "password")]
    pub keystore: Option<PathBuf>,
    /// The key file's password; better env:NAME or file:PATH
    #[arg(long, env = "KEYSTORE_PASSWORD", value_name = "SECRET", hide_env_values = true)]
    pub password: Option<Secret>,
    /// Never offer more than this for a unit of gas, in gwei
    #[arg(long, env = "MAX_FEE", value_name = "GWEI")]
    pub max_fee: Option<u64>,
    /// So many blocks, its own counted, make a transaction final
    #[arg(long, env = "CONFIRMATIONS", value_name = "N", default_value_t = 1)]
    pub confirmations: u64,
    /// How long to wait for that; what is sent goes on after it
    #[arg(long, env = "WAIT", value_name = "DURATION", default_value = "10min")]
    pub wait: humantime::Duration,
    /// What was sent is written there (default: a file for this account in the user's state folder)
    #[arg(long, env = "SENDER_JOURNAL", value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// An account that sends.
#[derive(Debug)]
pub struct Account {
    node: DynProvider,
    sender: Sender,
    signer: PrivateKeySigner,
    max_fee_cap: Option<u128>,
    wait: Duration,
}

impl AccountArgs {
    fn key(&self) -> Result<PrivateKeySigner, Failure> {
        const NAME: &str = "default";
        if self.private_key.is_none() && self.keystore.is_none() {
            return Err(Failure::configuration(eyre!(
                "PRIVATE_KEY (--private-key) or KEYSTORE (--keystore) should be set"
            )));
        }
        let source = KeyConfig {
            hex: self.private_key.clone(),
            keystore: self.keystore.clone(),
            password: self.password.clone().filter(|_| self.keystore.is_some()),
        };
        let keys = Keys::load(&BTreeMap::from([(NAME.to_owned(), source)])).or_configuration()?;
        keys.get(NAME)
            .cloned()
            .ok_or_else(|| Failure::configuration(eyre!("there is no private key")))
    }

    /// Reads the key, asks the node which chain it serves, and goes on with what an earlier command left unfinished.
    ///
    /// # Errors
    /// Exit code 2: a flag; 3: the node.
    pub async fn open(&self, rpc: &RpcArgs) -> Result<Account, Failure> {
        let (endpoints, timeout) = (rpc.endpoints()?, rpc.rpc_timeout.into());
        let signer = self.key()?;
        let first = endpoints
            .first()
            .ok_or_else(|| Failure::configuration(eyre!("RPC_URL (--rpc) should be set")))?;
        let node = connect(first, timeout)?;
        let journal = match &self.journal {
            Some(path) => path.clone(),
            None => cli::state_folder("SENDER_JOURNAL (--journal)")?
                .join(format!("billing-sender-{:#x}.db", signer.address())),
        };
        if let Some(folder) = journal.parent() {
            std::fs::create_dir_all(folder)
                .wrap_err_with(|| format!("{}: cannot be created", folder.display()))
                .or_configuration()?;
        }
        let config = sender::Config {
            endpoints: endpoints.iter().map(|url| Secret::from(url.to_string())).collect(),
            confirmations: self.confirmations.max(1),
            timeout,
            ..sender::Config::default()
        };
        let sender = Sender::open(&config, &Keys::single(signer.clone()), &journal)
            .await
            .map_err(sender::OpenError::into_failure)?;
        Ok(Account {
            node,
            sender,
            signer,
            max_fee_cap: self.max_fee.map(|gwei| u128::from(gwei) * 1_000_000_000),
            wait: self.wait.into(),
        })
    }
}

impl Account {
    /// Its address.
    pub const fn address(&self) -> Address {
        self.signer.address()
    }

    /// The key, to sign what is no transaction.
    pub const fn signer(&self) -> &PrivateKeySigner {
        &self.signer
    }

    /// The chain.
    pub const fn chain_id(&self) -> u64 {
        self.sender.chain_id()
    }

    /// Asks a contract at the newest block.
    ///
    /// # Errors
    /// Exit code 2 when it does not answer that; 3 when the node does not.
    pub async fn ask<C: SolCall>(&self, contract: Address, call: C) -> Result<C::Return, Failure> {
        let answer = self.try_on_newest(Some(contract), call.abi_encode().into()).await?;
        C::abi_decode_returns_validate(&answer).map_err(|_| {
            Failure::configuration(eyre!(
                "{contract} does not answer {} on chain {}: is it the right address?",
                C::SIGNATURE,
                self.chain_id()
            ))
        })
    }

    /// Time of the newest block, Unix seconds.
    ///
    /// # Errors
    /// Exit code 3.
    pub async fn time(&self) -> Result<u64, Failure> {
        let head = self.node.get_block(alloy::eips::BlockId::latest());
        let head = head.await.map_err(|error| Failure::new(Code::Indeterminate, error))?;
        let head = head.ok_or_else(|| Failure::new(Code::Indeterminate, eyre!("the node has no block")))?;
        Ok(head.header.timestamp)
    }

    /// Sends `input` (a creation without `to`) and waits until it is final. `effect` names what it brings about.
    ///
    /// # Errors
    /// Exit code 1: the contract refuses, nothing is sent, or it was mined and reverted; 3: not known in time.
    pub async fn mined(&self, effect: String, to: Option<Address>, input: Bytes) -> Result<Inclusion, Failure> {
        let (key, begun) = self.named(&effect).await?;
        let handle = match begun {
            Some(handle) => {
                eprintln!("this was begun before ({key}): waiting for it");
                handle
            }
            None => {
                self.try_on_newest(to, input.clone()).await?;
                let request = Request {
                    key,
                    lane: Lane::Claim,
                    to,
                    value: U256::ZERO,
                    data: input,
                    gas: None,
                    max_fee_cap: self.max_fee_cap,
                    deadline: None,
                    beat: None,
                    behind: None,
                };
                self.sender.submit(request).await?
            }
        };
        self.end(&handle).await
    }

    /// What an earlier command began whose effect begins with `effect` and did not see the end of: its name and its end. So a
    /// command that was interrupted ends what it began, also when that was mined meanwhile.
    ///
    /// # Errors
    /// As [`Account::mined`].
    pub async fn resumed(&self, effect: &str) -> Result<Option<(String, Inclusion)>, Failure> {
        let begins = |key: &IdempotencyKey| key.as_str().starts_with(effect);
        let Some(key) = self.sender.resumed().iter().find(|key| begins(key)) else {
            return Ok(None);
        };
        let Some(handle) = self.sender.find(key).await? else {
            return Ok(None);
        };
        eprintln!("this was begun before ({key}): waiting for it, nothing new is sent");
        let inclusion = self.end(&handle).await?;
        Ok(Some((key.as_str().to_owned(), inclusion)))
    }

    async fn end(&self, handle: &Handle) -> Result<Inclusion, Failure> {
        let outcome = handle.wait(self.wait).await;
        match outcome.map_err(|error| Failure::new(Code::Indeterminate, error))? {
            Outcome::Mined(inclusion) if inclusion.success => Ok(inclusion),
            Outcome::Mined(inclusion) => Err(Failure::new(
                Code::Negative,
                eyre!(
                    "{} reverted in block {}: {}",
                    inclusion.transaction,
                    inclusion.block,
                    inclusion.revert.as_deref().unwrap_or("no reason given")
                ),
            )),
            Outcome::Failed(reason) => Err(Failure::new(Code::Negative, reason)),
        }
    }

    /// The name under which `effect` is under way or done; a new name when all attempts so far came to nothing.
    async fn named(&self, effect: &str) -> Result<(IdempotencyKey, Option<Handle>), Failure> {
        for attempt in 1..=MAX_ATTEMPTS {
            let key = IdempotencyKey::new(format!("{effect}, attempt {attempt}"))?;
            match self.sender.find(&key).await? {
                None => return Ok((key, None)),
                Some(handle) if matches!(handle.status().state, State::Failed { .. }) => {}
                Some(handle) => return Ok((key, Some(handle))),
            }
        }
        Err(Failure::new(
            Code::Negative,
            eyre!(
                "{effect} came to nothing {MAX_ATTEMPTS} times; see `reason` in the journal, or give another --journal"
            ),
        ))
    }

    /// Stops sending; what is unfinished goes on with the next command.
    ///
    /// # Errors
    /// When the journal failed.
    pub async fn close(self) -> Result<(), Failure> {
        Ok(self.sender.shutdown().await?)
    }

    async fn try_on_newest(&self, to: Option<Address>, input: Bytes) -> Result<Bytes, Failure> {
        let mut request = TransactionRequest::default()
            .with_from(self.address())
            .with_input(input);
        request.to = Some(to.map_or(alloy::primitives::TxKind::Create, Into::into));
        self.node.call(request).await.map_err(|error| {
            let Some(response) = error.as_error_resp() else {
                return Failure::new(Code::Indeterminate, error);
            };
            let reason = response.as_revert_data().and_then(|data| refusal(&data));
            let reason = reason.unwrap_or_else(|| response.message.to_string());
            Failure::new(Code::Negative, eyre!("the chain refuses: {reason}"))
        })
    }
}

/// A refusal of our contracts, or a plain `revert("..")`, in words.
fn refusal(data: &[u8]) -> Option<String> {
    use alloy::sol_types::SolInterface as _;
    if let Ok(error) = ServicePaymentErrors::abi_decode(data) {
        return Some(words(&error));
    }
    if let Ok(ServicePaymentFactoryErrors::Exists(error)) = ServicePaymentFactoryErrors::abi_decode(data) {
        return Some(format!(
            "there is a service of yours for this protocol already: {}",
            error.service
        ));
    }
    alloy::sol_types::decode_revert_reason(data).filter(|reason| !reason.trim().is_empty())
}

fn words(error: &ServicePaymentErrors) -> String {
    use ServicePaymentErrors as E;
    match error {
        E::NoPayees(_) => "a service needs at least one payee".to_owned(),
        E::TooManyPayees(e) => format!("{} payees are too many, 256 are the most", e.count),
        E::ZeroPayee(_) => "the zero address cannot be a payee".to_owned(),
        E::DuplicatePayee(e) => format!("{} is listed twice", e.payee),
        E::NotAToken(e) => format!("{} has no code: it is no token", e.token),
        E::RateOutOfRange(e) => format!("a rate of {} base units a second is out of range", e.rate),
        E::StartOutOfRange(e) => format!("the start {} is more than 366 days away: is it in seconds?", e.start),
        E::ZeroAmount(_) => "there is nothing to pay".to_owned(),
        E::NotDivisible(e) => format!("{} base units do not divide among {} payees", e.amount, e.payees),
        E::InsufficientAllowance(e) => format!(
            "{} allows the service {} base units, {} are needed: has it that many?",
            e.payer, e.allowed, e.needed
        ),
        E::InsufficientBalance(e) => format!("{} has nothing to withdraw", e.account),
        E::TokenTookFee(e) => format!(
            "the token moved {} base units where {} were due: tokens that take a fee cannot be used",
            e.received, e.expected
        ),
        E::TransferFailed(_) => "the token refused the transfer: is the balance enough?".to_owned(),
        E::Reentered(_) => "the token called back into the service".to_owned(),
        E::AlreadyPaid(e) => format!("everything until second {} is paid already", e.timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::sol_types::SolError as _;
    use contracts::ServicePayment;

    #[test]
    fn a_refusal_is_told_in_words() {
        let data = ServicePayment::NotDivisible {
            amount: U256::from(5),
            payees: U256::from(2),
        };
        assert_eq!(
            refusal(&data.abi_encode()).unwrap(),
            "5 base units do not divide among 2 payees"
        );
        assert_eq!(refusal(&[]), None, "a revert without a word");
    }
}
