//! The `billing` process on a living chain: KP-10 to KP-17, status, and the monitor as a service.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use alloy::providers::Provider as _;
use testkit::process::Running;
use testkit::{Fault, Mining, PaidService, Proxy, anvil, until};

/// Base units per second.
const RATE: u64 = 2;

/// A service that two payees share, and a folder for what the processes remember.
struct World {
    service: PaidService,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Option<Self> {
        Some(Self {
            service: PaidService::deploy(RATE, 2).await?,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn billing(&self, command: &str) -> Command {
        let mut billing = bare(command);
        billing
            .env("RPC_URL", self.service.anvil.http())
            .env("CONTRACT_ADDRESS", self.service.address.to_string());
        if command == "monitor" {
            billing.env("MONITOR_MEMORY", self.folder.path().join("memory.json"));
        }
        billing
    }

    /// A command line that notes that it ran.
    fn noting(&self, name: &str) -> String {
        format!(
            "echo ran-{name} && echo {name} >> '{}'",
            self.folder.path().join("notes").display()
        )
    }

    fn notes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn bare(command: &str) -> Command {
    let mut billing = Command::new(env!("CARGO_BIN_EXE_billing"));
    billing
        .arg(command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdin(Stdio::null());
    billing
}

/// Exit code and everything printed.
async fn end(mut command: Command) -> (i32, String) {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    (
        status.code().unwrap(),
        format!(
            "{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        ),
    )
}

#[tokio::test]
async fn kp_10_a_paid_service_is_left_alone() {
    let Some(world) = World::new().await else { return };
    world.service.pay(1_000_000).await;
    let mut monitor = world.billing("monitor");
    monitor.env("UNPAID_COMMAND", world.noting("unpaid"));
    let (code, said) = end(monitor).await;
    assert_eq!((code, world.notes().len()), (0, 0), "{said}");
}

#[tokio::test]
async fn kp_11_kp_12_an_unpaid_service_runs_its_command_and_ends_with_one() {
    let Some(world) = World::new().await else { return };
    world.service.pass(100).await;
    let (code, said) = end(world.billing("monitor")).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("not paid sufficiently") && said.contains("UNPAID_COMMAND not specified"),
        "{said}"
    );

    let fresh = |line: String, memory: &str| {
        let mut monitor = world.billing("monitor");
        monitor
            .env("UNPAID_COMMAND", line)
            .env("MONITOR_MEMORY", world.folder.path().join(memory));
        monitor.env("COMMAND_TIMEOUT", "300ms");
        monitor
    };
    let (code, said) = end(fresh(world.noting("unpaid"), "second")).await;
    assert_eq!((code, world.notes()), (1, vec!["unpaid".to_owned()]));
    assert!(
        said.contains("ran-unpaid") && said.contains("executed successfully"),
        "{said}"
    );

    let (code, said) = end(fresh("echo oh no >&2; exit 7".into(), "third")).await;
    assert_eq!(code, 1, "still the unpaid code");
    assert!(
        said.contains("UNPAID_COMMAND failed") && said.contains("oh no"),
        "{said}"
    );

    let (code, said) = end(fresh("sleep 600".into(), "fourth")).await;
    assert_eq!(code, 1);
    assert!(said.contains("UNPAID_COMMAND was killed"), "{said}");
}

#[tokio::test]
async fn kp_13_kp_16_what_is_not_known_runs_nothing() {
    let Some(world) = World::new().await else { return };
    world.service.pass(100).await;
    let unpaid = |rpc: &str| {
        let mut monitor = world.billing("monitor");
        monitor
            .env("UNPAID_COMMAND", world.noting("unpaid"))
            .env("RPC_URL", rpc)
            .env("RPC_TIMEOUT", "500ms");
        monitor
    };
    let (code, said) = end(unpaid("http://127.0.0.1:9")).await;
    assert_eq!((code, world.notes().len()), (3, 0), "{said}");

    let proxy = Proxy::before(&world.service.anvil.http(), Duration::ZERO).await;
    for fault in [
        Fault::Hang,
        Fault::Unavailable,
        Fault::Garbage,
        Fault::Error(-32000, "busy".into()),
    ] {
        proxy.set_fault(Some(fault.clone()));
        let (code, said) = end(unpaid(proxy.url())).await;
        assert_eq!((code, world.notes().len()), (3, 0), "{fault:?}: {said}");
        // Another endpoint knows.
        let (code, said) = end(world.paid_elsewhere(proxy.url())).await;
        assert_eq!(code, 1, "{fault:?}: {said}");
    }

    let Some(old) = anvil(Mining::Manual, &["--timestamp", "1700000000"]) else {
        return;
    };
    let mut stale = unpaid(&old.http());
    stale.env("MAX_HEAD_AGE", "1min");
    let (code, said) = end(stale).await;
    assert!(code == 2 && said.contains("no code"), "nothing is there: {said}");
}

impl World {
    /// A monitor that asks `first`, then the node itself, and runs nothing.
    fn paid_elsewhere(&self, first: &str) -> Command {
        let mut monitor = self.billing("monitor");
        monitor
            .env("RPC_URL", format!("{first},{}", self.service.anvil.http()))
            .env("RPC_TIMEOUT", "500ms");
        monitor.env("MONITOR_MEMORY", self.folder.path().join("elsewhere"));
        monitor
    }
}

#[tokio::test]
async fn kp_16_a_head_that_is_too_old_says_nothing() {
    let Some(world) = World::new().await else { return };
    world.service.pass(100).await;
    let head = world
        .service
        .node
        .get_block(alloy::eips::BlockId::latest())
        .await
        .unwrap()
        .unwrap()
        .header
        .timestamp;
    let source = billing::reader::Source {
        endpoints: vec![world.service.anvil.http().parse().unwrap()],
        contract: world.service.address,
        timeout: Duration::from_secs(60),
        max_head_age: Duration::from_secs(60),
    };
    assert!(source.read(head + 60).await.is_ok());
    let stale = source.read(head + 61).await.unwrap_err().to_string();
    assert!(stale.contains("61 s old, 60 s are allowed"), "{stale}");
}

#[tokio::test]
async fn kp_14_a_wrong_setting_is_named() {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("RPC_URL", "http://127.0.0.1:9")], "CONTRACT_ADDRESS"),
        (&[], "CONTRACT_ADDRESS"),
        (
            &[("CONTRACT_ADDRESS", "0x12"), ("RPC_URL", "http://127.0.0.1:9")],
            "`0x12` is not an address",
        ),
        (
            &[("CONTRACT_ADDRESS", "0x00000000000000000000000000000000000c0de5")],
            "RPC_URL",
        ),
        (
            &[
                ("CONTRACT_ADDRESS", "0x00000000000000000000000000000000000c0de5"),
                ("RPC_URL", "nowhere"),
            ],
            "RPC_URL",
        ),
    ];
    for (settings, named) in cases {
        let mut monitor = bare("monitor");
        monitor.envs(settings.iter().copied());
        let (code, said) = end(monitor).await;
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(named) && said.lines().count() == 1, "{said}");
    }
    let Some(world) = World::new().await else { return };
    let mut wrong = world.billing("monitor");
    wrong.env("CONTRACT_ADDRESS", world.service.customer.to_string());
    let (code, said) = end(wrong).await;
    assert!(code == 2 && said.contains("has no code on chain 31337"), "{said}");
}

#[tokio::test]
async fn kp_15_kp_17_the_edge_runs_each_command_once() {
    let Some(world) = World::new().await else { return };
    let check = || {
        let mut monitor = world.billing("monitor");
        monitor
            .env("UNPAID_COMMAND", world.noting("unpaid"))
            .env("PAID_COMMAND", world.noting("paid"));
        monitor.env("WARN_RUNWAY", "1h").env("GRACE", "1min");
        monitor
    };
    world.service.pay(10_000).await;
    assert_eq!(end(check()).await.0, 0);
    world.service.pass(8_000).await;
    let (code, said) = end(check()).await;
    assert!(
        code == 0 && said.contains("not for long") && said.contains("paid_until"),
        "{said}"
    );
    world.service.pass(2_020).await;
    let (code, said) = end(check()).await;
    assert!(code == 0 && said.contains("seconds of grace are left"), "{said}");
    world.service.pass(100).await;
    for _ in 0..10 {
        assert_eq!(end(check()).await.0, 1);
    }
    assert_eq!(world.notes(), ["unpaid"]);
    world.service.pay(100_000).await;
    for _ in 0..2 {
        assert_eq!(end(check()).await.0, 0);
    }
    assert_eq!(world.notes(), ["unpaid", "paid"]);
}

#[tokio::test]
async fn a_service_is_stopped_at_the_edge_and_may_run_again_after_payment() {
    let Some(world) = World::new().await else { return };
    world.service.pay(1_000).await;
    // The service: a process that the command ends, and that health allows to be started.
    let mut service = Command::new("sleep").arg("600").spawn().unwrap();
    let mut monitor = world.billing("monitor");
    monitor
        .args(["--watch", "--every", "100ms", "--listen", "127.0.0.1:0"])
        .env("UNPAID_COMMAND", format!("kill {}", service.id()));
    let monitor = Running::start(monitor.into(), world.folder.path()).await;
    let health = async || monitor.get("/health").await.0;
    until("it is well", health, |code| *code == 200).await;
    assert!(service.try_wait().unwrap().is_none(), "it runs while it is paid");

    world.service.pass(2_000).await;
    until("the payment ends", health, |code| *code == 503).await;
    service.wait().unwrap();
    world.service.pay(10_000).await;
    until("it is paid again", health, |code| *code == 200).await;
    monitor.kill().await;
}

#[tokio::test]
async fn status_says_until_when_and_what_is_missing() {
    let Some(world) = World::new().await else { return };
    world.service.pay(1_000).await;
    world.service.pass(2_000).await;
    let (code, said) = end(world.billing("status")).await;
    assert!(code == 0 && said.contains("NO") && said.contains("ended"), "{said}");
    let mut json = world.billing("status");
    json.arg("--json");
    let (code, said) = end(json).await;
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 0);
    assert_eq!(status["is_paid"], false);
    assert!(status["runway"].as_i64().unwrap() < 0, "{said}");
}
