//! The `billing` process deploys, pays and withdraws on a living chain.

use std::process::{Command, Output, Stdio};

use alloy::primitives::{Address, U256};
use alloy::providers::Provider as _;
use alloy::sol_types::{SolCall, SolConstructor};
use contracts::{Contract, PermitToken, QuietToken, ServicePayment as Service};
use serde_json::{Value, json};
use testkit::{Devnet, Fault, Proxy};

/// Base units per second.
const RATE: u64 = 10;

/// A chain, a customer with a token, two payees, and a folder for what the processes remember.
struct World {
    devnet: Devnet,
    token: Address,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Option<Self> {
        Self::with_token(Contract::PermitToken, |holder| PermitToken::constructorCall {
            supply: U256::from(1_000_000),
            holder,
        })
        .await
    }

    async fn with_token<C: SolConstructor>(token: Contract, arguments: impl Fn(Address) -> C) -> Option<Self> {
        let devnet = Devnet::start(&[])?;
        let token = token.creation(&arguments(devnet.account(0)));
        Some(Self {
            token: devnet.create(token).await,
            devnet,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn address(&self, person: usize) -> Address {
        self.devnet.account(person)
    }

    /// `billing COMMAND` as this person.
    fn billing(&self, person: usize, arguments: &[&str]) -> Command {
        let mut billing = Command::new(env!("CARGO_BIN_EXE_billing"));
        billing
            .args(arguments)
            .env_clear()
            .env("RPC_URL", self.devnet.anvil.http())
            .env("THE_KEY", self.devnet.private_key(person))
            .env("PRIVATE_KEY", "env:THE_KEY")
            .env("XDG_STATE_HOME", self.folder.path())
            .stdin(Stdio::null());
        billing
    }

    /// Deploys a service that began when the chain did, shared by persons 1 and 2.
    async fn deploy(&self) -> Address {
        let payees = format!("{},{}", self.address(1), self.address(2));
        let token = self.token.to_string();
        let deploy = self.billing(
            0,
            &[
                "deploy", "--token", &token, "--payees", &payees, "--rate", "10", "--json",
            ],
        );
        let done = done(deploy).await;
        done["contract"].as_str().unwrap().parse().unwrap()
    }

    async fn ask<C: SolCall>(&self, contract: Address, call: C) -> C::Return {
        self.devnet.view(contract, &call).await
    }

    async fn balance(&self, person: usize) -> U256 {
        let account = self.address(person);
        self.ask(self.token, PermitToken::balanceOfCall { account }).await
    }

    async fn blocks(&self) -> u64 {
        self.devnet.provider.get_block_number().await.unwrap()
    }
}

/// Exit code, standard output, standard error.
async fn end(mut command: Command) -> (i32, String, String) {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// What a successful command printed.
async fn done(command: Command) -> Value {
    let (code, out, err) = end(command).await;
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test]
async fn a_protocol_deploys_its_service_pays_for_it_and_the_payees_share_it() {
    let Some(world) = World::new().await else { return };
    let service = world.deploy().await;
    let contract = service.to_string();
    let paid = done(world.billing(0, &["pay", "--contract", &contract, "--amount", "1001", "--json"])).await;
    assert_eq!(paid["amount"], "0x3ea", "1,001 does not divide among two: 1,002");
    assert_eq!(world.ask(service, Service::totalPaidCall {}).await, U256::from(1_002));
    let allowance = PermitToken::allowanceCall {
        owner: world.address(0),
        spender: service,
    };
    assert_eq!(
        world.ask(world.token, allowance).await,
        U256::ZERO,
        "allowed was what was paid"
    );

    let (code, out, err) = end(world.billing(1, &["withdraw", "--contract", &contract])).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("501 base units"), "{out}");
    assert_eq!(world.balance(1).await, U256::from(501));
    let (code, _, err) = end(world.billing(1, &["withdraw", "--contract", &contract])).await;
    assert!(code == 1 && err.contains("has nothing to withdraw"), "{err}");
    let (code, _, err) = end(world.billing(3, &["withdraw", "--contract", &contract])).await;
    assert!(code == 1 && err.contains("has nothing to withdraw"), "{err}");
}

#[tokio::test]
async fn a_permit_needs_no_approval() {
    let Some(world) = World::new().await else { return };
    let service = world.deploy().await;
    let before = world.blocks().await;
    let contract = service.to_string();
    done(world.billing(
        0,
        &["pay", "--contract", &contract, "--amount", "500", "--permit", "--json"],
    ))
    .await;
    assert_eq!(world.blocks().await, before + 1, "one transaction");
    assert_eq!(world.ask(service, Service::totalPaidCall {}).await, U256::from(500));
}

#[tokio::test]
async fn a_time_is_as_good_as_an_amount() {
    let Some(world) = World::new().await else { return };
    let service = world.deploy().await;
    let contract = service.to_string();
    let start: u64 = world.ask(service, Service::startTimestampCall {}).await.to();
    let until = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(start + 600));
    let paid = done(world.billing(
        0,
        &["pay", "--contract", &contract, "--until", &until.to_string(), "--json"],
    ))
    .await;
    assert_eq!(paid["paid_until"], start + 600);
    let paid = done(world.billing(0, &["pay", "--contract", &contract, "--for", "5min", "--json"])).await;
    assert_eq!(paid["paid_until"], start + 900, "on top of what is paid");
    assert_eq!(
        world.ask(service, Service::totalPaidCall {}).await,
        U256::from(900 * RATE)
    );
    let (code, _, err) = end(world.billing(0, &["pay", "--contract", &contract, "--until", &until.to_string()])).await;
    assert!(code == 1 && err.contains("is paid already"), "{err}");
}

#[tokio::test]
async fn an_interrupted_payment_is_waited_for_and_not_made_twice() {
    let Some(world) = World::new().await else { return };
    let service = world.deploy().await;
    let contract = service.to_string();
    world.devnet.rpc("evm_setAutomine", json!([false])).await;
    let pay = ["pay", "--contract", &contract, "--amount", "1000", "--permit"];
    let (code, _, err) = end({
        let mut impatient = world.billing(0, &pay);
        impatient.env("WAIT", "10s");
        impatient
    })
    .await;
    assert!(code == 3 && err.contains("it goes on"), "{err}");

    let again = tokio::spawn(end(world.billing(0, &pay)));
    // Whatever both have sent by then is mined.
    while !again.is_finished() {
        world.devnet.rpc("evm_mine", json!([])).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let (code, out, err) = again.await.unwrap();
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("nothing new is sent") && out.contains("1000 base units"),
        "{out}{err}"
    );
    assert_eq!(
        world.ask(service, Service::totalPaidCall {}).await,
        U256::from(1_000),
        "paid once"
    );
}

#[tokio::test]
async fn the_factory_makes_one_service_for_each_protocol() {
    let Some(world) = World::new().await else { return };
    let factory = Contract::ServicePaymentFactory.bytecode().clone();
    let factory = world.devnet.create(factory).await.to_string();
    let (token, payee) = (world.token.to_string(), world.address(1).to_string());
    let deploy = |rate: &'static str| {
        let terms = ["--token", &token, "--payees", &payee, "--rate", rate];
        let through = ["deploy", "--factory", &factory, "--protocol", "vault", "--json"];
        world.billing(0, &[&through[..], &terms].concat())
    };
    let made = done(deploy("10")).await;
    let contract: Address = made["contract"].as_str().unwrap().parse().unwrap();
    assert_eq!(world.ask(contract, Service::rateCall {}).await, U256::from(10));
    let (code, _, err) = end(deploy("11")).await;
    assert!(
        code == 1 && err.contains("already") && err.contains(&contract.to_string()),
        "{err}"
    );
}

#[tokio::test]
async fn what_the_chain_would_refuse_is_told_in_words_and_costs_nothing() {
    let Some(world) = World::new().await else { return };
    let service = world.deploy().await.to_string();
    let before = world.blocks().await;
    let token = world.token.to_string();
    let payee = world.address(1).to_string();
    let twice = format!("{payee},{payee}");
    let nobody = world.address(5).to_string();
    for (person, arguments, code, words) in [
        (
            0,
            vec!["deploy", "--token", &token, "--payees", &twice, "--rate", "1"],
            1,
            "is listed twice",
        ),
        (
            0,
            vec!["deploy", "--token", &nobody, "--payees", &payee, "--rate", "1"],
            1,
            "it is no token",
        ),
        (
            0,
            vec!["deploy", "--token", &token, "--payees", &payee, "--rate", "0"],
            1,
            "out of range",
        ),
        (
            0,
            vec![
                "deploy",
                "--token",
                &token,
                "--payees",
                &payee,
                "--rate",
                "1",
                "--start",
                "2001-01-01T00:00:00Z",
            ],
            1,
            "366 days",
        ),
        (
            0,
            vec!["pay", "--contract", &service, "--amount", "0"],
            1,
            "nothing to pay",
        ),
        (
            0,
            vec!["pay", "--contract", &service, "--amount", "2000000"],
            1,
            "are to be paid",
        ),
        (
            4,
            vec!["pay", "--contract", &service, "--amount", "2"],
            1,
            "has 0 base units",
        ),
        (
            0,
            vec!["pay", "--contract", &nobody, "--amount", "2"],
            2,
            "is it the right address?",
        ),
        (0, vec!["pay", "--contract", "0x12", "--amount", "2"], 2, "--contract"),
        (0, vec!["pay", "--contract", &service], 2, "--amount"),
    ] {
        let (ended, _, err) = end(world.billing(person, &arguments)).await;
        assert!(ended == code && err.contains(words), "{arguments:?}: {ended} {err}");
        assert!(
            !err.contains(&world.devnet.private_key(person)),
            "the key is not repeated"
        );
    }
    assert_eq!(world.blocks().await, before, "nothing was sent");
}

#[tokio::test]
async fn a_key_that_is_none_and_a_node_that_is_not_there_have_their_own_codes() {
    let Some(world) = World::new().await else { return };
    let service = world.deploy().await.to_string();
    let pay = ["pay", "--contract", &service, "--amount", "2"];
    let run = async |name: &str, value: &str| {
        let mut billing = world.billing(0, &pay);
        billing.env(name, value);
        end(billing).await
    };
    let (code, _, err) = run("THE_KEY", "0xabc").await;
    assert!(
        code == 2 && err.contains("secp256k1") && !err.contains("0xabc"),
        "{err}"
    );
    let (code, _, err) = run("PRIVATE_KEY", "env:NO_SUCH_KEY").await;
    assert!(code == 2 && err.contains("NO_SUCH_KEY"), "{err}");
    let (code, _, err) = run("RPC_URL", "").await;
    assert!(code == 2 && err.contains("RPC_URL"), "{err}");
    let proxy = Proxy::before(&world.devnet.anvil.http(), std::time::Duration::ZERO).await;
    proxy.set_fault(Some(Fault::Unavailable));
    let (code, _, err) = run("RPC_URL", proxy.url()).await;
    assert!(code == 3, "{code} {err}");
}

#[tokio::test]
async fn a_token_that_answers_nothing_is_paid_with() {
    let token = Contract::QuietToken;
    let Some(world) = World::with_token(token, |holder| QuietToken::constructorCall {
        supply: U256::from(1_000_000),
        holder,
    })
    .await
    else {
        return;
    };
    let service = world.deploy().await;
    let contract = service.to_string();
    done(world.billing(0, &["pay", "--contract", &contract, "--amount", "100", "--json"])).await;
    assert_eq!(world.ask(service, Service::totalPaidCall {}).await, U256::from(100));
    let (code, _, err) = end(world.billing(0, &["pay", "--contract", &contract, "--amount", "100", "--permit"])).await;
    assert!(code == 2 && err.contains("has no permits"), "{err}");
}
