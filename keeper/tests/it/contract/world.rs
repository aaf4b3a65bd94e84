//! A chain with an Agent, a stake token, an obedient job, and people who are told apart by a number.

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::{SolCall, SolError};
/// What the vectors of the specification have.
pub(crate) use contracts::parameters::agent as config;
use contracts::{Agent, Contract, TestJob, Token};
use keeper::rule::{ActiveSet, Caller, Kind, Limits, Member, Periods, Rates, Retry, Slashing, Turn, Wanted};
use testkit::{Chain, Receipt, Refused};

/// One whole token, one ether.
pub(crate) const WHOLE: u128 = 1_000_000_000_000_000_000;
pub(crate) const START: u64 = 1_600_000_000;
pub(crate) const GWEI: u64 = 1_000_000_000;

pub(crate) const ACTIVE: u8 = 1;
pub(crate) const OWNER_CREDITS: u8 = 2;
pub(crate) const CHECK_SELECTOR: u8 = 4;
pub(crate) const CALL_RESOLVER: u8 = 16;
pub(crate) const DEFENCE: u8 = 32;

pub(crate) const ACCEPT_MAX_BASE_FEE: u64 = 1;
pub(crate) const ACCRUE_REWARD: u64 = 2;

/// A person.
pub(crate) fn who(number: u64) -> Address {
    Address::from_word(B256::from(U256::from(0x00ab_0000_u64 + number)))
}

pub(crate) fn owner() -> Address {
    who(1)
}

pub(crate) fn customer() -> Address {
    who(2)
}

pub(crate) fn admin(keeper: u32) -> Address {
    who(1_000 + u64::from(keeper))
}

pub(crate) fn worker(keeper: u32) -> Address {
    who(2_000 + u64::from(keeper))
}

/// Whole tokens or ether.
pub(crate) fn whole(units: u64) -> U256 {
    U256::from(units) * U256::from(WHOLE)
}

/// Tenths of whole ones.
pub(crate) fn tenths(units: u64) -> U256 {
    U256::from(units) * U256::from(WHOLE / 10)
}

pub(crate) fn u96(units: U256) -> U96 {
    U96::from(units)
}

pub(crate) fn number(value: impl TryInto<u128>) -> u128 {
    value.try_into().unwrap_or_else(|_| panic!("above 128 bits"))
}

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) token: Address,
    pub(crate) agent: Address,
    pub(crate) lens: Address,
    pub(crate) job: Address,
}

impl World {
    /// The parameters of the specification's vectors, and draws that do not look at stakes.
    pub(crate) fn new() -> Self {
        Self::with(config(), U256::from(10).pow(U256::from(30)))
    }

    pub(crate) fn with(config: Agent::Config, ticket_stake: U256) -> Self {
        let mut chain = Chain::at(START);
        let arguments = Token::constructorCall {
            name_: "Stake".into(),
            symbol_: "STK".into(),
            supply: U256::from(10).pow(U256::from(30)),
            holder: owner(),
        };
        let token = chain.create(owner(), Contract::Token.creation(&arguments)).unwrap();
        let agent = deploy(&mut chain, token, config, ticket_stake).unwrap();
        let lens = chain.view(agent, &Agent::lensCall {}).unwrap();
        let job = chain.create(owner(), Contract::TestJob.bytecode().clone()).unwrap();
        for person in [owner(), customer()] {
            chain.fund(person, whole(1_000_000));
        }
        // Away from the first epochs, which have no block before them.
        for _ in 0..30 {
            chain.warp(START);
        }
        Self {
            chain,
            token,
            agent,
            lens,
            job,
        }
    }

    pub(crate) fn act<C: SolCall>(&mut self, from: Address, call: &C) -> Result<Receipt, Refused> {
        self.chain.call(from, self.agent, call)
    }

    pub(crate) fn pay<C: SolCall>(&mut self, from: Address, wei: U256, call: &C) -> Result<Receipt, Refused> {
        self.chain.call_with_value(from, self.agent, wei, call)
    }

    pub(crate) fn ask<C: SolCall>(&mut self, call: &C) -> C::Return {
        self.chain.view(self.agent, call).unwrap()
    }

    /// So many blocks, no time.
    pub(crate) fn blocks(&mut self, count: u64) {
        for _ in 0..count {
            self.chain.pass(0);
        }
    }

    // keepers

    /// Gives `person` tokens that the Agent may take.
    pub(crate) fn endow(&mut self, person: Address, amount: U256) {
        let (token, spender) = (self.token, self.agent);
        let transfer = Token::transferCall {
            to: person,
            value: amount,
        };
        self.chain.call(owner(), token, &transfer).unwrap();
        let approve = Token::approveCall {
            spender,
            value: U256::MAX,
        };
        self.chain.call(person, token, &approve).unwrap();
    }

    /// Registers the next keeper.
    pub(crate) fn register(&mut self, stake: U256) -> Result<u32, Refused> {
        let id = self.ask(&Agent::keeperCountCall {}).to::<u32>() + 1;
        self.endow(admin(id), stake);
        let call = Agent::registerAsKeeperCall {
            worker: worker(id),
            amount: stake,
        };
        self.act(admin(id), &call).map(|_| id)
    }

    /// Registers the next keeper and makes it active.
    pub(crate) fn keeper(&mut self, stake: U256) -> u32 {
        let id = self.register(stake).unwrap();
        self.finalize_activation(id).unwrap();
        id
    }

    pub(crate) fn finalize_activation(&mut self, id: u32) -> Result<Receipt, Refused> {
        let call = Agent::finalizeKeeperActivationCall {
            keeperId: U256::from(id),
        };
        self.act(admin(id), &call)
    }

    pub(crate) fn disable(&mut self, id: u32) -> Result<Receipt, Refused> {
        let call = Agent::disableKeeperCall {
            keeperId: U256::from(id),
        };
        self.act(admin(id), &call)
    }

    pub(crate) fn info(&mut self, id: u32) -> Agent::Keeper {
        self.ask(&Agent::keeperInfoCall {
            keeperId: U256::from(id),
        })
    }

    pub(crate) fn stake_of(&mut self, id: u32) -> u128 {
        number(self.info(id).stake)
    }

    pub(crate) fn tokens(&mut self, account: Address) -> U256 {
        self.chain.view(self.token, &Token::balanceOfCall { account }).unwrap()
    }

    // jobs

    /// By interval, with the selector `0xfeedbeef`.
    pub(crate) fn by_interval(&self, seconds: u32) -> Agent::JobTerms {
        Agent::JobTerms {
            target: self.job,
            selector: [0xfe, 0xed, 0xbe, 0xef].into(),
            source: 0,
            interval: U24::from(seconds),
            flags: ACTIVE,
            maxBaseFeeGwei: 1_000,
            defenceWindow: 0,
            gasLimit: 300_000,
            minStake: U96::ZERO,
            maxStake: U96::ZERO,
        }
    }

    /// By resolver, with these flags besides.
    pub(crate) fn by_resolver(&self, flags: u8) -> Agent::JobTerms {
        Agent::JobTerms {
            selector: TestJob::workCall::SELECTOR.into(),
            source: 2,
            interval: U24::ZERO,
            flags: ACTIVE | flags,
            defenceWindow: 2,
            ..self.by_interval(1)
        }
    }

    pub(crate) fn register_job(&mut self, terms: &Agent::JobTerms, credits: U256) -> Result<B256, Refused> {
        let resolver = if terms.source == 2 { self.job } else { Address::ZERO };
        let call = Agent::registerJobCall {
            terms: terms.clone(),
            resolver,
            data: if terms.source == 2 {
                TestJob::checkCall {}.abi_encode().into()
            } else {
                Bytes::new()
            },
        };
        let receipt = self.pay(customer(), credits, &call)?;
        Ok(receipt.event::<Agent::RegisterJob>().unwrap().jobKey)
    }

    pub(crate) fn job(&mut self, key: B256) -> Agent::Job {
        self.ask(&Agent::jobInfoCall { jobKey: key })
    }

    pub(crate) fn assigned(&mut self, key: B256) -> u32 {
        self.job(key).keeper.to()
    }

    pub(crate) fn credits(&mut self, key: B256) -> u128 {
        number(self.job(key).credits)
    }

    pub(crate) fn executions(&mut self) -> u64 {
        self.chain.view(self.job, &TestJob::countCall {}).unwrap().to()
    }

    pub(crate) fn set_body(&mut self, body: u8) {
        self.chain
            .call(owner(), self.job, &TestJob::setBodyCall { body_: body })
            .unwrap();
    }

    pub(crate) fn set_answer(&mut self, answer: u8, since: u64) {
        let call = TestJob::setAnswerCall {
            answer_: answer,
            since_: U256::from(since),
        };
        self.chain.call(owner(), self.job, &call).unwrap();
    }

    pub(crate) fn execute(&mut self, key: B256, keeper: u32) -> Result<Receipt, Refused> {
        self.execute_with(key, keeper, 0)
    }

    /// With the calldata that the test job's resolver asks for.
    pub(crate) fn execute_with(&mut self, key: B256, keeper: u32, options: u64) -> Result<Receipt, Refused> {
        let call = Agent::executeCall {
            jobKey: key,
            keeperId: U256::from(keeper),
            options: U256::from(options),
            jobCalldata: TestJob::workCall {}.abi_encode().into(),
        };
        self.act(worker(keeper), &call)
    }

    pub(crate) fn initiate(&mut self, key: B256, keeper: u32, use_resolver: bool) -> Result<Receipt, Refused> {
        let call = Agent::initiateKeeperSlashingCall {
            jobKey: key,
            keeperId: U256::from(keeper),
            useResolver: use_resolver,
            jobCalldata: TestJob::workCall {}.abi_encode().into(),
        };
        self.act(worker(keeper), &call)
    }

    pub(crate) fn release(&mut self, key: B256, by: Address) -> Result<Receipt, Refused> {
        self.act(by, &Agent::releaseJobCall { jobKey: key })
    }

    pub(crate) fn slasher(&mut self, key: B256) -> u32 {
        self.ask(&Agent::currentSlasherCall { jobKey: key }).to()
    }

    /// Goes on block by block until the slasher of the job is this keeper.
    pub(crate) fn until_slasher(&mut self, key: B256, keeper: u32) {
        for _ in 0..2_000 {
            if self.slasher(key) == keeper {
                return;
            }
            self.chain.pass(0);
        }
        panic!("keeper {keeper} never becomes the slasher");
    }

    // the rules' side of the same things

    pub(crate) fn active_set(&mut self) -> ActiveSet {
        let ticket = self.ask(&Agent::ticketStakeCall {});
        let ids = self.ask(&Agent::activeKeepersCall {});
        let members: Vec<_> = ids
            .into_iter()
            .map(|id| Member {
                id: id.to(),
                stake: self.stake_of(id.to()),
            })
            .collect();
        ActiveSet::with(number(ticket), members)
    }

    pub(crate) fn wanted(&mut self, key: B256, exclude: Option<u32>) -> Wanted {
        Wanted {
            job_min: number(self.job(key).terms.minStake),
            min: number(self.ask(&Agent::configCall {}).minKeeperStake),
            exclude,
        }
    }

    /// Who the rule says is the slasher.
    pub(crate) fn slasher_by_rule(&mut self, key: B256) -> Option<u32> {
        let epoch = self.ask(&Agent::configCall {}).slashingEpochBlocks;
        let first = keeper::rule::active::epoch_start(self.chain.number(), epoch.into());
        // The test chain's block hashes.
        let random = keccak256((first - 1).to_string());
        let assigned = self.assigned(key);
        let wanted = self.wanted(key, (assigned != 0).then_some(assigned));
        self.active_set().slasher(random.into(), key.into(), wanted)
    }

    /// The job as the rules see it; `since` is what its resolver says.
    pub(crate) fn turn(&mut self, key: B256, since: u64) -> Turn {
        let job = self.job(key);
        let some = |id: U24| (id != U24::ZERO).then(|| id.to::<u32>());
        let kind = match job.terms.interval.to::<u64>() {
            0 if job.terms.flags & DEFENCE != 0 => Kind::Defence {
                window: job.terms.defenceWindow.into(),
            },
            0 => Kind::Resolver,
            seconds => Kind::Interval(seconds),
        };
        let opened: u64 = job.defenceOpenAt.to();
        Turn {
            kind,
            assigned: some(job.keeper),
            assigned_at: job.assignedAt.to(),
            last_execution_at: job.lastExecutionAt.to(),
            anchor_at: job.anchorAt.to(),
            retry_at: job.retryAt.to(),
            reserved_slasher: some(job.reservedSlasher),
            slashing_possible_after: job.slashingPossibleAfter.to(),
            open_at: if opened == 0 || (since != 0 && since < opened) {
                since
            } else {
                opened
            },
        }
    }

    /// What the rule says of `keeper` executing the job now.
    pub(crate) fn may_execute(&mut self, key: B256, keeper: u32, since: u64) -> Result<bool, keeper::rule::Refusal> {
        let caller = self.caller(keeper);
        let slasher = self.slasher_by_rule(key);
        let (now, block) = (self.chain.now(), self.chain.number());
        self.turn(key, since).may_execute(caller, slasher, PERIODS, now, block)
    }

    pub(crate) fn caller(&mut self, keeper: u32) -> Caller {
        Caller {
            id: keeper,
            active: self.info(keeper).position != 0,
        }
    }
}

/// The periods of [`config`].
pub(crate) const PERIODS: Periods = Periods {
    period1: 15,
    period2: 30,
};

pub(crate) const RETRY: Retry = Retry { base: 12, cap: 3_600 };

pub(crate) const LIMITS: Limits = Limits {
    min_stake: 3_000 * WHOLE,
    activation_timeout: 8 * 3_600,
    withdrawal_timeout: 3 * 86_400,
};

pub(crate) const SLASHING: Slashing = Slashing {
    fixed: 50 * WHOLE,
    bps: 300,
    max_stake: 50_000 * WHOLE,
};

pub(crate) const RATES: Rates = Rates {
    fixed_reward: 30_000_000_000_000,
    multiplier_bps: 10_000,
    gas_overhead: 136_000,
    stake_divisor: 50_000_000,
    max_stake: 50_000 * WHOLE,
};

pub(crate) fn deploy(
    chain: &mut Chain,
    token: Address,
    config: Agent::Config,
    ticket_stake: U256,
) -> Result<Address, Refused> {
    let arguments = Agent::constructorCall {
        owner_: owner(),
        stakeToken_: token,
        ticketStake_: ticket_stake,
        config_: config,
    };
    chain.create(owner(), Contract::Agent.creation(&arguments))
}

/// It was refused, and with that error.
#[track_caller]
pub(crate) fn refused<E: SolError>(result: Result<Receipt, Refused>) -> E {
    let refused = result.expect_err(E::SIGNATURE);
    refused
        .decode::<E>()
        .unwrap_or_else(|| panic!("not {}: {refused:?}", E::SIGNATURE))
}
