//! The compiled contract, executed, against the pure rule: KP-01 to KP-09, the tokens that are refused, and any sequence.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall as _, SolConstructor, SolValue as _};
use billing::rule::{Account, Terms};
use contracts::{
    Contract, FeeToken, PermitToken, QuietToken, ServicePayment as Service, ServicePaymentFactory as Factory, Token,
};
use proptest::prelude::*;
use testkit::{Chain, Refused};

const START: u64 = 1_704_067_200;

fn who(number: u8) -> Address {
    Address::with_last_byte(number)
}

fn customer() -> Address {
    who(9)
}

fn ether(tenths: u64) -> U256 {
    U256::from(tenths) * U256::from(10).pow(U256::from(17))
}

/// A chain, a token, a customer who holds all of it, and a service.
struct World {
    chain: Chain,
    token: Address,
    service: Address,
    customer: Address,
    payees: Vec<Address>,
}

fn deploy(chain: &mut Chain, contract: Contract, arguments: &impl SolConstructor) -> Result<Address, Refused> {
    chain.create(who(1), contract.creation(arguments))
}

fn terms_of(token: Address, payees: &[Address], rate: u64, start: u64) -> Service::constructorCall {
    Service::constructorCall {
        token_: token,
        payees_: payees.to_vec(),
        rate_: U256::from(rate),
        start_: U256::from(start),
    }
}

impl World {
    /// `payees` payees, `rate` base units a second; the time is the start.
    fn new(payees: u8, rate: u64) -> Self {
        let arguments = Token::constructorCall {
            name_: "T".into(),
            symbol_: "T".into(),
            supply: U256::from(10).pow(U256::from(30)),
            holder: customer(),
        };
        let payees = (0..payees).map(|number| who(100 + number)).collect();
        Self::over(Contract::Token, &arguments, |_token| payees, rate)
    }

    /// With this token, which may be a payee itself.
    fn over(
        token: Contract,
        arguments: &impl SolConstructor,
        payees: impl FnOnce(Address) -> Vec<Address>,
        rate: u64,
    ) -> Self {
        let mut chain = Chain::at(START);
        let token = deploy(&mut chain, token, arguments).unwrap();
        let payees = payees(token);
        let terms = terms_of(token, &payees, rate, START);
        let service = deploy(&mut chain, Contract::ServicePayment, &terms).unwrap();
        Self {
            chain,
            token,
            service,
            customer: customer(),
            payees,
        }
    }

    fn approve(&mut self, value: U256) {
        let call = Token::approveCall {
            spender: self.service,
            value,
        };
        self.chain.call(self.customer, self.token, &call).unwrap();
    }

    fn pay(&mut self, amount: U256) -> Result<testkit::Receipt, Refused> {
        self.chain
            .call(self.customer, self.service, &Service::payCall { amount })
    }

    fn withdraw(&mut self, payee: Address) -> Result<testkit::Receipt, Refused> {
        self.chain.call(payee, self.service, &Service::withdrawCall {})
    }

    fn balance(&mut self, account: Address) -> U256 {
        self.chain
            .view(self.service, &Service::balanceOfCall { account })
            .unwrap()
    }

    fn units(&mut self, account: Address) -> U256 {
        self.chain.view(self.token, &Token::balanceOfCall { account }).unwrap()
    }

    fn total_paid(&mut self) -> U256 {
        self.chain.view(self.service, &Service::totalPaidCall {}).unwrap()
    }

    fn is_paid(&mut self) -> bool {
        self.chain.view(self.service, &Service::isPaidCall {}).unwrap()
    }
}

#[test]
fn kp_01_what_makes_no_sense_is_not_deployed() {
    let mut world = World::new(2, 1);
    let (token, payees) = (world.token, world.payees.clone());
    let mut refused = |arguments| deploy(&mut world.chain, Contract::ServicePayment, &arguments).unwrap_err();

    assert!(refused(terms_of(token, &[], 1, START)).is::<Service::NoPayees>());
    assert!(refused(terms_of(token, &[payees[0], Address::ZERO], 1, START)).is::<Service::ZeroPayee>());
    let twice = refused(terms_of(token, &[payees[0], payees[0]], 1, START));
    assert_eq!(twice.decode::<Service::DuplicatePayee>().unwrap().payee, payees[0]);
    assert!(refused(terms_of(who(77), &payees, 1, START)).is::<Service::NotAToken>());
    assert!(refused(terms_of(token, &payees, 0, START)).is::<Service::RateOutOfRange>());
    assert!(
        refused(terms_of(token, &payees, 1, START * 1000)).is::<Service::StartOutOfRange>(),
        "milliseconds"
    );
    let many: Vec<_> = (1..=257_u64)
        .map(|number| Address::from_word(B256::from(U256::from(number))))
        .collect();
    assert!(refused(terms_of(token, &many, 1, START)).is::<Service::TooManyPayees>());
}

#[test]
fn kp_02_kp_04_payments_add_up_and_are_shared() {
    let mut world = World::new(2, 1);
    world.approve(ether(30));
    let receipt = world.pay(ether(10)).unwrap();
    assert_eq!(receipt.event::<Service::Paid>().unwrap().amount, ether(10));
    for payee in world.payees.clone() {
        assert_eq!(world.balance(payee), ether(5));
    }
    let service = world.service;
    assert_eq!((world.units(service), world.total_paid()), (ether(10), ether(10)));

    world.pay(ether(20)).unwrap();
    for payee in world.payees.clone() {
        assert_eq!(world.balance(payee), ether(15));
    }
    assert_eq!(world.total_paid(), ether(30));
}

#[test]
fn kp_03_refusals_come_in_order() {
    let mut world = World::new(2, 1);
    assert!(
        world.pay(U256::ZERO).unwrap_err().is::<Service::ZeroAmount>(),
        "before anything else"
    );
    assert!(world.pay(U256::from(5)).unwrap_err().is::<Service::NotDivisible>());
    let short = world
        .pay(U256::from(6))
        .unwrap_err()
        .decode::<Service::InsufficientAllowance>()
        .unwrap();
    assert_eq!((short.allowed, short.needed), (U256::ZERO, U256::from(6)));
    assert_eq!(world.total_paid(), U256::ZERO);
}

#[test]
fn kp_05_kp_06_a_withdrawal_takes_all_of_ones_own() {
    let mut world = World::new(2, 1);
    world.approve(ether(10));
    world.pay(ether(10)).unwrap();
    let (first, second) = (world.payees[0], world.payees[1]);

    let receipt = world.withdraw(first).unwrap();
    assert_eq!(receipt.event::<Service::Withdrawn>().unwrap().amount, ether(5));
    assert_eq!((world.balance(first), world.units(first)), (U256::ZERO, ether(5)));
    assert_eq!((world.balance(second), world.total_paid()), (ether(5), ether(10)));
    assert!(world.withdraw(first).unwrap_err().is::<Service::InsufficientBalance>());
    assert!(
        world.withdraw(who(3)).unwrap_err().is::<Service::InsufficientBalance>(),
        "nobody's payee"
    );
}

#[test]
fn kp_07_kp_08_kp_09_the_edge_is_one_second_wide_and_heals() {
    let mut world = World::new(2, 2);
    world.chain.warp(START - 1);
    assert!(world.is_paid());
    world.chain.warp(START);
    assert!(world.is_paid());
    world.chain.warp(START + 1);
    assert!(!world.is_paid());

    world.approve(ether(10));
    world.pay(U256::from(2 * 1000)).unwrap();
    for (second, paid) in [(999, true), (1000, true), (1001, false), (1100, false)] {
        world.chain.warp(START + second);
        assert_eq!(world.is_paid(), paid, "second {second}");
    }
    let arrears = world.chain.view(world.service, &Service::arrearsCall {}).unwrap();
    assert_eq!(arrears, U256::from(200));
    world.pay(arrears).unwrap();
    assert!(world.is_paid());
    assert_eq!(
        world.chain.view(world.service, &Service::paidUntilCall {}).unwrap(),
        U256::from(START + 1100)
    );
}

#[test]
fn a_price_is_the_least_that_lasts_so_long() {
    let mut world = World::new(3, 5);
    world.approve(ether(10));
    let timestamp = U256::from(START + 2);
    let price = world
        .chain
        .view(world.service, &Service::priceUntilCall { timestamp })
        .unwrap();
    assert_eq!(price, U256::from(12));
    world.pay(price).unwrap();
    let refused = world
        .chain
        .view(world.service, &Service::priceUntilCall { timestamp })
        .unwrap_err();
    assert!(refused.is::<Service::AlreadyPaid>());
}

#[test]
fn what_was_sent_by_mistake_counts_when_somebody_says_so() {
    let mut world = World::new(2, 1);
    let call = Token::transferCall {
        to: world.service,
        value: U256::from(7),
    };
    world.chain.call(world.customer, world.token, &call).unwrap();
    assert_eq!(world.total_paid(), U256::ZERO);
    world
        .chain
        .call(who(3), world.service, &Service::payFromSurplusCall {})
        .unwrap();
    assert_eq!(world.total_paid(), U256::from(6), "what divides");
    let again = world
        .chain
        .call(who(3), world.service, &Service::payFromSurplusCall {})
        .unwrap_err();
    assert!(again.is::<Service::ZeroAmount>());
    let payee = world.payees[0];
    world.withdraw(payee).unwrap();
    assert!(
        world
            .chain
            .call(who(3), world.service, &Service::payFromSurplusCall {})
            .is_err()
    );
}

#[test]
fn a_token_that_keeps_a_fee_is_refused() {
    let arguments = FeeToken::constructorCall {
        supply: ether(10),
        holder: customer(),
    };
    let mut world = World::over(Contract::FeeToken, &arguments, |_token| vec![who(5)], 1);
    world.approve(ether(10));
    let refused = world.pay(U256::from(1000)).unwrap_err();
    let fee = refused.decode::<Service::TokenTookFee>().unwrap();
    assert_eq!((fee.received, fee.expected), (U256::from(990), U256::from(1000)));
}

#[test]
fn a_token_that_answers_nothing_works_and_calling_back_does_not() {
    let payee = who(5);
    let arguments = QuietToken::constructorCall {
        supply: ether(10),
        holder: customer(),
    };
    let mut world = World::over(Contract::QuietToken, &arguments, |token| vec![payee, token], 1);
    world.approve(ether(10));
    world.pay(U256::from(1000)).unwrap();

    // The token is a payee itself and asks for its share in the midst of another's withdrawal.
    let hook = QuietToken::setHookCall {
        target: world.service,
        data: Service::withdrawCall {}.abi_encode().into(),
    };
    world.chain.call(world.customer, world.token, &hook).unwrap();
    world.withdraw(payee).unwrap();
    let succeeded = world.chain.view(world.token, &QuietToken::hookSucceededCall {});
    assert!(!succeeded.unwrap(), "re-entered");
    assert_eq!(world.units(payee), U256::from(500));
}

#[test]
fn a_permit_pays_in_one_transaction_even_when_somebody_used_it_before() {
    let mut chain = Chain::at(START);
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap();
    let customer = key.address();
    let arguments = PermitToken::constructorCall {
        supply: ether(10),
        holder: customer,
    };
    let token = deploy(&mut chain, Contract::PermitToken, &arguments).unwrap();
    let service = deploy(
        &mut chain,
        Contract::ServicePayment,
        &terms_of(token, &[who(5)], 1, START),
    )
    .unwrap();

    let domain = chain.view(token, &PermitToken::DOMAIN_SEPARATORCall {}).unwrap();
    let kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    let (value, deadline) = (U256::from(1000), U256::from(START + 60));
    let permit = keccak256((kind, customer, service, value, U256::ZERO, deadline).abi_encode());
    let digest = keccak256([&[0x19, 0x01], domain.as_slice(), permit.as_slice()].concat());
    let signature = key.sign_hash_sync(&digest).unwrap();
    let (v, r, s) = (
        27 + u8::from(signature.v()),
        B256::from(signature.r()),
        B256::from(signature.s()),
    );

    // A thief of calldata sends the permit alone, first.
    let theft = PermitToken::permitCall {
        owner: customer,
        spender: service,
        value,
        deadline,
        v,
        r,
        s,
    };
    chain.call(who(66), token, &theft).unwrap();
    let pay = Service::payWithPermitCall {
        amount: value,
        deadline,
        v,
        r,
        s,
    };
    chain.call(customer, service, &pay).unwrap();
    assert_eq!(chain.view(service, &Service::totalPaidCall {}).unwrap(), value);
    assert!(
        chain
            .call(customer, service, &pay)
            .unwrap_err()
            .is::<Service::InsufficientAllowance>(),
        "once only"
    );
}

#[test]
fn a_factory_makes_one_service_for_each_protocol_of_a_creator() {
    let mut world = World::new(2, 1);
    let arguments: Bytes = Contract::ServicePaymentFactory.bytecode().clone();
    let factory = world.chain.create(who(1), arguments).unwrap();
    let protocol = keccak256("vault");
    let create = Factory::createCall {
        protocol,
        token: world.token,
        payees: world.payees.clone(),
        rate: U256::from(3),
        start: U256::from(START),
    };
    let created = world
        .chain
        .call(who(2), factory, &create)
        .unwrap()
        .event::<Factory::Created>()
        .unwrap();
    let found = world
        .chain
        .view(
            factory,
            &Factory::serviceOfCall {
                creator: who(2),
                protocol,
            },
        )
        .unwrap();
    assert_eq!(found, created.service);
    assert_eq!(world.chain.view(found, &Service::rateCall {}).unwrap(), U256::from(3));
    assert!(
        world
            .chain
            .call(who(2), factory, &create)
            .unwrap_err()
            .is::<Factory::Exists>()
    );
    let others = world
        .chain
        .call(who(3), factory, &create)
        .unwrap()
        .event::<Factory::Created>()
        .unwrap();
    assert_ne!(others.service, created.service, "another's protocol of the same name");
}

#[derive(Debug, Clone)]
enum Step {
    Pay(u64),
    Withdraw(u8),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..5_000).prop_map(Step::Pay),
        (0_u8..5).prop_map(Step::Withdraw),
        (0_u64..400).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: nothing is lost, and the contract says what the rule says, at every second around
    /// the edge too.
    #[test]
    fn contract_and_rule_agree(payees in 1_u8..5, rate in 1_u64..9, steps in steps()) {
        let mut world = World::new(payees, rate);
        world.approve(U256::MAX);
        let mut account = Account::new(Terms { rate: U256::from(rate), start: START, payees: u16::from(payees) });
        for step in steps {
            match step {
                Step::Pay(amount) => {
                    let amount = U256::from(amount);
                    prop_assert_eq!(world.pay(amount).is_ok(), account.pay(amount).is_ok());
                }
                Step::Withdraw(payee) => {
                    let address = world.payees.get(usize::from(payee)).copied().unwrap_or(who(50));
                    prop_assert_eq!(world.withdraw(address).is_ok(), account.withdraw(usize::from(payee)).is_ok());
                }
                Step::Wait(seconds) => world.chain.pass(seconds),
            }
            let mut held = U256::ZERO;
            for (place, payee) in world.payees.clone().into_iter().enumerate() {
                let balance = world.balance(payee);
                prop_assert_eq!(balance, account.balance(place));
                held += balance;
            }
            prop_assert_eq!(world.total_paid(), account.total_paid());
            prop_assert_eq!(held + account.total_withdrawn(), account.total_paid());
            let service = world.service;
            prop_assert_eq!(world.units(service), held);
            let now = world.chain.now();
            prop_assert_eq!(world.is_paid(), account.terms().is_paid(account.total_paid(), now));
        }
        let edge = account.terms().paid_until(account.total_paid());
        for second in edge.saturating_sub(20)..edge + 20 {
            world.chain.warp(second);
            prop_assert_eq!(world.is_paid(), account.terms().is_paid(account.total_paid(), second));
            prop_assert_eq!(world.is_paid(), second <= edge);
        }
    }
}
