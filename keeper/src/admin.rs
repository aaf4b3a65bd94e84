//! What an admin does to its keeper, from the command line: each command reads how things stand, sends what is needed, and waits for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::utils::format_units;
use alloy::primitives::{Address, Bytes, U256};
use alloy::rpc::types::Header;
use alloy::sol_types::SolCall;
use contracts::{Agent, Token};
use eyre::eyre;
use node::exit::{Code, Failure};
use sender::machine::Failure as SendFailure;
use sender::{IdempotencyKey, Lane, Outcome, Request, Sender};

use crate::agent::Purse;
use crate::blame::of_words;
use crate::cli::Amount;
use crate::config::{Config, Role};
use crate::job::Keeper;
use crate::run::{Place, connect, open_sender, unreachable};

/// How long a command waits for its transaction.
const PATIENCE: Duration = Duration::from_secs(300);

/// An admin at its keeper.
pub struct Admin {
    config: Config,
    place: Place,
    sender: Sender,
}

impl Admin {
    /// Connects, and decrypts the key of `role`.
    ///
    /// # Errors
    /// Exit code 2 or 3.
    pub async fn open(config: Config, role: Role) -> Result<Self, Failure> {
        let place = connect(&config).await?;
        let journal = match role {
            Role::Admin => "admin.db",
            Role::Worker => "command.db",
        };
        let sender = open_sender(&config, role, journal).await?;
        Ok(Self { config, place, sender })
    }

    /// Ends the sender.
    ///
    /// # Errors
    /// When its journal failed.
    pub async fn close(self) -> Result<(), Failure> {
        Ok(self.sender.shutdown().await?)
    }

    fn account(&self) -> Address {
        self.sender.account(Lane::Report)
    }

    /// The keeper that is configured, or that of this account as worker, or the only one of this account as admin.
    async fn keeper(&self) -> Result<Keeper, Failure> {
        let at = self.head().await?.hash;
        let all = self.place.agent.keepers(at).await.map_err(unreachable)?;
        let mine: Vec<Keeper> = match self.config.keeper {
            Some(id) => all.into_iter().filter(|keeper| keeper.id == id).collect(),
            None => all
                .into_iter()
                .filter(|keeper| keeper.worker == self.account() || keeper.admin == self.account())
                .collect(),
        };
        let count = mine.len();
        let mut mine = mine.into_iter();
        match (mine.next(), count) {
            (Some(keeper), 1) => Ok(keeper),
            (None, _) => Err(Failure::configuration(match self.config.keeper {
                Some(id) => eyre!("there is no keeper {id}"),
                None => eyre!(
                    "{} has no keeper; run `keeper register` first, or name one by --keeper",
                    self.account()
                ),
            })),
            (Some(_), _) => Err(Failure::configuration(eyre!(
                "{} has {count} keepers; name one by --keeper",
                self.account()
            ))),
        }
    }

    async fn send<C: SolCall>(&self, to: Address, call: &C) -> Result<(), Failure> {
        let name = C::SIGNATURE.split('(').next().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        // Each command is an effect of its own.
        let key = IdempotencyKey::new(format!("command/{name}/{now}"))?;
        let request = Request::call(key, Lane::Report, to, Bytes::from(call.abi_encode()));
        let handle = self.sender.submit(request).await?;
        let outcome = handle.included(PATIENCE).await.map_err(|error| {
            Failure::new(
                Code::Indeterminate,
                eyre!("{name}: {error}; the next command of this keeper goes on with it"),
            )
        })?;
        match outcome {
            Outcome::Mined(inclusion) if inclusion.success => {
                println!(
                    "{name}: block {}, transaction {}",
                    inclusion.block, inclusion.transaction
                );
                Ok(())
            }
            Outcome::Mined(inclusion) => {
                let (_, reason) = of_words(inclusion.revert.as_deref());
                Err(Failure::new(Code::Negative, eyre!("{name}: {reason}")))
            }
            Outcome::Failed(SendFailure::WouldRevert(words)) => {
                let (_, reason) = of_words(Some(&words));
                Err(Failure::new(Code::Negative, eyre!("{name}: not sent: {reason}")))
            }
            Outcome::Failed(failure) => Err(Failure::new(Code::Negative, eyre!("{name}: {failure}"))),
        }
    }

    async fn agent<C: SolCall>(&self, call: &C) -> Result<(), Failure> {
        self.send(self.config.agent, call).await
    }

    /// What the account has of the stake token.
    async fn purse(&self) -> Result<Purse, Failure> {
        let at = self.head().await?.hash;
        self.place.agent.purse(self.account(), at).await.map_err(unreachable)
    }

    /// Has enough tokens, and lets the Agent take them. Gives the amount in base units.
    async fn tokens(&self, amount: &Amount) -> Result<U256, Failure> {
        let purse = self.purse().await?;
        let units = amount.units(purse.decimals, purse.balance)?;
        if units > purse.balance {
            let has = format_units(purse.balance, purse.decimals).unwrap_or_default();
            return Err(Failure::new(
                Code::Negative,
                eyre!(
                    "{} has {has} of the stake token {}, too little",
                    self.account(),
                    self.place.agent.token()
                ),
            ));
        }
        if purse.allowance < units {
            let approve = Token::approveCall {
                spender: self.config.agent,
                value: units,
            };
            self.send(self.place.agent.token(), &approve).await?;
        }
        Ok(units)
    }

    /// `keeper register`.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn register(&self, worker: Address, amount: &Amount, activate: bool) -> Result<(), Failure> {
        let units = self.tokens(amount).await?;
        self.agent(&Agent::registerAsKeeperCall { worker, amount: units })
            .await?;
        let id = self
            .place
            .agent
            .keeper_of(worker, self.head().await?.hash)
            .await
            .map_err(unreachable)?;
        println!("keeper {id} with the worker {worker}");
        if activate {
            self.agent(&Agent::finalizeKeeperActivationCall {
                keeperId: U256::from(id),
            })
            .await?;
        }
        Ok(())
    }

    /// `keeper stake`.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn stake(&self, amount: &Amount) -> Result<(), Failure> {
        let keeper = self.keeper().await?;
        let units = self.tokens(amount).await?;
        let call = Agent::stakeCall {
            keeperId: U256::from(keeper.id),
            amount: units,
        };
        self.agent(&call).await
    }

    /// `keeper activate`: asks for it, or completes it. Exit code 1 while its time has not come.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn activate(&self) -> Result<(), Failure> {
        let mut keeper = self.keeper().await?;
        if keeper.active {
            println!("keeper {} is active already", keeper.id);
            return Ok(());
        }
        let id = U256::from(keeper.id);
        if keeper.activation_at == 0 {
            self.agent(&Agent::initiateKeeperActivationCall { keeperId: id })
                .await?;
            keeper = self.keeper().await?;
        }
        let now = self.now().await?;
        if keeper.activation_at > now {
            return Err(Failure::new(
                Code::Negative,
                eyre!(
                    "activation is asked for, and possible in {}; run `keeper activate` again then",
                    seconds(keeper.activation_at - now)
                ),
            ));
        }
        self.agent(&Agent::finalizeKeeperActivationCall { keeperId: id }).await
    }

    /// `keeper disable`.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn disable(&self) -> Result<(), Failure> {
        let keeper = self.keeper().await?;
        self.agent(&Agent::disableKeeperCall {
            keeperId: U256::from(keeper.id),
        })
        .await
    }

    /// `keeper redeem AMOUNT`: begins to withdraw stake.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn redeem(&self, amount: &Amount) -> Result<(), Failure> {
        let keeper = self.keeper().await?;
        let purse = self.purse().await?;
        let amount = amount.units(purse.decimals, keeper.stake + keeper.slashed_stake)?;
        let call = Agent::initiateRedeemCall {
            keeperId: U256::from(keeper.id),
            amount,
        };
        self.agent(&call).await?;
        let (keeper, now) = (self.keeper().await?, self.now().await?);
        println!(
            "{} base units can be taken in {} by `keeper redeem --finish`",
            keeper.pending_withdrawal,
            seconds(keeper.withdrawable_at.saturating_sub(now))
        );
        Ok(())
    }

    /// `keeper redeem --finish`: takes what was being withdrawn. Exit code 1 while its time has not come.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn finish_redeem(&self, to: Option<Address>) -> Result<(), Failure> {
        let (keeper, now) = (self.keeper().await?, self.now().await?);
        if keeper.withdrawable_at > now {
            return Err(Failure::new(
                Code::Negative,
                eyre!("possible in {}", seconds(keeper.withdrawable_at - now)),
            ));
        }
        let call = Agent::finalizeRedeemCall {
            keeperId: U256::from(keeper.id),
            to: to.unwrap_or_else(|| self.account()),
        };
        self.agent(&call).await
    }

    /// `keeper withdraw`: takes what was earned.
    ///
    /// # Errors
    /// With the exit code that a script can act on.
    pub async fn withdraw(&self, amount: &Amount, to: Option<Address>) -> Result<(), Failure> {
        let keeper = self.keeper().await?;
        let amount = match amount {
            Amount::All => U256::MAX,
            some => some.units(18, U256::MAX)?,
        };
        let call = Agent::withdrawCompensationCall {
            keeperId: U256::from(keeper.id),
            to: to.unwrap_or_else(|| self.account()),
            amount,
        };
        self.agent(&call).await
    }

    /// The newest block's header.
    async fn head(&self) -> Result<Header, Failure> {
        let newest = self.place.agent.node().newest().await;
        Ok(newest.map_err(|error| unreachable(error.into()))?.header)
    }

    /// The chain's time: that of the newest block.
    async fn now(&self) -> Result<u64, Failure> {
        Ok(self.head().await?.timestamp)
    }
}

fn seconds(count: u64) -> String {
    humantime::format_duration(Duration::from_secs(count)).to_string()
}
