//! The gate, by the binary on a living chain: a protocol's invariants are streamed while its service is paid.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use testkit::process::Running;
use testkit::{Fault, PaidService, Proxy, until};

use crate::world::{address, open, platform, recording, run_alone};

/// Base units a second.
const RATE: u64 = 2;

/// A service, a node in front of its chain that can fail, and a platform's folder.
struct World {
    service: PaidService,
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Option<Self> {
        let service = PaidService::deploy(RATE, 1).await?;
        Some(Self {
            proxy: Proxy::before(&service.anvil.http(), Duration::ZERO).await,
            service,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn database(&self) -> String {
        address(self.folder.path())
    }

    /// What the command prints.
    async fn platform(&self, args: &[&str]) -> Output {
        let mut command = platform(args);
        command.arg("--database").arg(self.database());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    async fn done(&self, args: &[&str]) -> String {
        let output = self.platform(args).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The database with a service that has one invariant, and one invariant of nobody's.
    async fn register(&self) {
        let payment = self.service.address.to_string();
        self.done(&["services", "add", "vault", "--payment", &payment]).await;
        let invariant = ["--type", ">=", "--target", "0", "--slot", "0x0"];
        let vault = [
            "invariants",
            "add",
            "--contract",
            "0x1111111111111111111111111111111111111111",
            "--name",
            "paid",
            "--service",
            "vault",
        ];
        let free = [
            "invariants",
            "add",
            "--contract",
            "0x2222222222222222222222222222222222222222",
            "--name",
            "free",
        ];
        self.done(&[&vault[..], &invariant].concat()).await;
        self.done(&[&free[..], &invariant].concat()).await;
    }

    async fn run(&self) -> Running {
        let config = self.folder.path().join("platform.toml");
        let billing = format!(
            "[billing]\nrpc = [\"{}\"]\nevery = \"100ms\"\nmax_head_age = \"365days\"\n",
            self.proxy.url()
        );
        std::fs::write(&config, billing).unwrap();
        let feed = format!("replay:{}", recording(self.folder.path()).display());
        let mut command = run_alone(&["--feed", &feed, "--database", &self.database(), "--config"]);
        command.arg(&config);
        Running::start(command.into(), self.folder.path()).await
    }

    /// Names of the invariants in force.
    async fn in_force(&self) -> Vec<String> {
        let (_, set) = open(self.folder.path()).await.invariant_set().await.unwrap();
        set.watched()
            .iter()
            .map(|invariant| invariant.name().to_owned())
            .collect()
    }

    /// Waits until those are in force.
    async fn until(&self, names: &[&str]) {
        let _names = until(
            "the wanted invariants are in force",
            async || self.in_force().await,
            |set| set == names,
        )
        .await;
    }

    async fn services(&self) -> Value {
        let listed = self.done(&["services", "list", "--json"]).await;
        serde_json::from_str::<Value>(&listed).unwrap()[0].clone()
    }

    /// Waits until a look had this result.
    async fn until_known(&self, status: &str) -> Value {
        let services = async || self.services().await;
        until("a look had this result", services, |service| {
            service["payment"]["status"] == status
        })
        .await
    }
}

#[tokio::test]
async fn an_unpaid_protocol_is_streamed_no_more_until_it_pays() {
    let Some(world) = World::new().await else { return };
    world.service.pay(1_000).await;
    world.register().await;
    assert_eq!(world.in_force().await, ["paid", "free"]);
    let running = world.run().await;
    let known = world.until_known("paid").await;
    assert!(known["payment"]["runway"].as_u64().unwrap() <= 1_000);
    assert_eq!(world.in_force().await, ["paid", "free"]);

    world.service.pass(2_000).await;
    world.until(&["free"]).await;
    let service = world.services().await;
    assert_eq!(
        (&service["streamed"], &service["payment"]["status"]),
        (&false.into(), &"unpaid".into())
    );
    let table = world.done(&["services", "list"]).await;
    assert!(table.contains("unpaid since") && table.contains("NO"), "{table}");

    world.service.pay(5_000).await;
    world.until(&["paid", "free"]).await;
    running.kill().await;
}

#[tokio::test]
async fn what_nobody_knows_changes_nothing_over_a_restart_as_well() {
    let Some(world) = World::new().await else { return };
    world.service.pay(1_000).await;
    world.register().await;
    world.proxy.set_fault(Some(Fault::Unavailable));
    let running = world.run().await;
    world.service.pass(2_000).await;
    world.until_known("indeterminate").await;
    assert_eq!(
        world.in_force().await,
        ["paid", "free"],
        "a dead node costs nobody the protection"
    );

    world.proxy.set_fault(None);
    world.until(&["free"]).await;
    running.kill().await;
    world.proxy.set_fault(Some(Fault::Unavailable));
    let _platform = world.run().await;
    world.until_known("indeterminate").await;
    assert_eq!(world.in_force().await, ["free"], "nor gives it back for nothing");
}

#[tokio::test]
async fn services_are_named_once_and_not_removed_while_they_protect() {
    let Some(world) = World::new().await else { return };
    world.register().await;
    let payment = world.service.address.to_string();
    for (args, code, words) in [
        (vec!["services", "add", "vault", "--payment", &payment], 2, "already"),
        (vec!["services", "add", "other", "--payment", "0x12"], 2, "--payment"),
        (vec!["services", "remove", "vault"], 2, "1 active invariants"),
        (vec!["services", "remove", "nobody"], 2, "there is no service"),
        (
            vec![
                "invariants",
                "add",
                "--contract",
                &payment,
                "--type",
                "==",
                "--target",
                "1",
                "--slot",
                "0",
                "--service",
                "nobody",
            ],
            2,
            "there is no service",
        ),
    ] {
        let output = world.platform(&args).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(code) && said.contains(words),
            "{args:?}: {said}"
        );
    }
    world.done(&["invariants", "remove", "1"]).await;
    world.done(&["services", "remove", "vault"]).await;
    assert_eq!(world.in_force().await, ["free"]);
}
