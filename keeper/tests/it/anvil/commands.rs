//! The command line, from registration to the last token; and that none of it shows a secret.

use alloy::primitives::{Address, Bytes, U256};
use contracts::{Agent, Contract, TestJob, Token};
use serde_json::{Value, json};

use super::world::{ACTIVE, SELECTOR, World, terms, whole};

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_comes_earns_and_goes_by_the_command_line_without_a_secret_in_any_output() {
    let Some(world) = World::start().await else { return };
    let shown = std::cell::RefCell::new(String::new());
    let note = |(code, out, err): (i32, String, String)| {
        *shown.borrow_mut() += &format!("{out}{err}");
        (code, out, err)
    };

    // An encrypted key file, made and used by the binary itself.
    let keystore = world.folder.path().join("worker.json");
    let made = world
        .command(
            1,
            &[
                "key",
                keystore.to_str().unwrap(),
                "--password",
                "env:PASSWORD",
                "--import",
                "env:WORKER_KEY",
            ],
        )
        .env("PASSWORD", "correct horse")
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(
        String::from_utf8_lossy(&made.stdout).trim(),
        world.account(4).to_string()
    );

    world.join(1, 1_000, "[jobs]\naccrue = true\n").await;
    world.join(2, 500, "").await;
    let (code, out, _) = note(world.keeper(1, &["status", "--json"]).await);
    assert_eq!(code, 0);
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["keepers"][0]["active"], true);
    assert_eq!(status["keepers"][1]["stake"], json!(whole(500)));
    assert_eq!(note(world.keeper(1, &["status"]).await).0, 0);

    // More stake than there is: a negative answer, nothing sent.
    let (code, _, err) = note(world.keeper(1, &["stake", "5"]).await);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("too little"), "{err}");
    let gift = Token::transferCall {
        to: world.account(7),
        value: whole(5),
    };
    world.call(0, world.token, U256::ZERO, &gift).await;
    assert_eq!(note(world.keeper(1, &["stake", "5"]).await).0, 0);
    assert_eq!(world.stake(1).await, whole(1_005));

    // A job of the keeper's; it runs with the key file instead of the key.
    let target = world.create(Contract::TestJob.bytecode().clone()).await;
    let mut key;
    loop {
        key = world
            .register(terms(target, SELECTOR, 10, ACTIVE), Address::ZERO, Bytes::new())
            .await;
        if world.job(key).await.keeper.to::<u64>() == 1 {
            break;
        }
    }
    let (code, out, _) = note(world.keeper(1, &["jobs", "--json"]).await);
    assert_eq!(code, 0);
    let jobs: Value = serde_json::from_str(&out).unwrap();
    assert!(
        jobs.as_array()
            .unwrap()
            .iter()
            .any(|job| job["key"] == json!(key) && job["keeper"] == 1)
    );
    assert!(note(world.keeper(1, &["jobs"]).await).1.contains("every 10 s"));
    world.by_hand().await;
    let running = world.run(1).await;
    world
        .until(&[&running], 20, async || {
            world.view(target, &TestJob::countCall {}).await > U256::ZERO
        })
        .await;
    let (status, health) = running.get("/health").await;
    assert_eq!(status, 200, "{health}");
    *shown.borrow_mut() += &health;

    // It leaves: what is assigned to it is handed over, then the stake can go.
    world.rpc("evm_setAutomine", json!([true])).await;
    assert_eq!(note(world.keeper(1, &["disable"]).await).0, 0);
    let (code, _, err) = note(world.keeper(1, &["redeem", "all"]).await);
    let assigned = world
        .view(world.agent, &Agent::keeperInfoCall { keeperId: U256::ONE })
        .await
        .assignedJobs;
    if code != 0 {
        assert!(err.contains("KeeperIsAssignedToJobs"), "{err}");
        assert!(assigned.to::<u64>() > 0);
    }
    world
        .until(&[&running], 20, async || {
            let info = world
                .view(world.agent, &Agent::keeperInfoCall { keeperId: U256::ONE })
                .await;
            info.assignedJobs.to::<u64>() == 0
        })
        .await;
    if code != 0 {
        let (code, _, err) = note(world.keeper(1, &["redeem", "all"]).await);
        assert_eq!(code, 0, "{err}");
    }
    let (code, _, err) = note(world.keeper(1, &["redeem", "--finish"]).await);
    if code != 0 {
        assert!(code == 1 && err.contains("possible in"), "{err}");
        world.rpc("anvil_mine", json!(["0xc"])).await;
        world.mine().await;
        let (code, _, err) = note(world.keeper(1, &["redeem", "--finish"]).await);
        assert_eq!(code, 0, "{err}");
    }
    let account = world.account(7);
    assert_eq!(
        world.view(world.token, &Token::balanceOfCall { account }).await,
        whole(1_005)
    );

    // What it earned was kept for it.
    let earned = world
        .view(world.agent, &Agent::keeperInfoCall { keeperId: U256::ONE })
        .await
        .compensation;
    assert!(U256::from(earned) > U256::ZERO);
    assert_eq!(note(world.keeper(1, &["withdraw"]).await).0, 0);
    let left = world
        .view(world.agent, &Agent::keeperInfoCall { keeperId: U256::ONE })
        .await
        .compensation;
    assert_eq!(U256::from(left), U256::ZERO);

    // Coming back takes a cool-down.
    let (code, _, err) = note(world.keeper(2, &["disable"]).await);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = note(world.keeper(2, &["activate"]).await);
    assert!(code == 1 && err.contains("possible in"), "{code} {err}");
    world.rpc("anvil_mine", json!(["0xc"])).await;
    world.mine().await;
    assert_eq!(note(world.keeper(2, &["activate"]).await).0, 0);

    *shown.borrow_mut() += &running.log();
    let shown = shown.into_inner();
    for index in 0..10 {
        let secret = world.private_key(index);
        assert!(!shown.contains(&secret), "the key of account {index} was shown");
    }
    assert!(!shown.contains("correct horse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_the_exit_code_for_it() {
    let Some(world) = World::start().await else { return };
    world.configure(1, "");
    // Nobody's worker.
    let (code, _, err) = world.keeper(1, &["run"]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("keeper register"), "{err}");
    // No Agent there.
    let wrong = format!("{}", world.account(0));
    let (code, _, err) = world.keeper(1, &["status", "--agent", &wrong]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("is no Agent"), "{err}");
    // A node that does not answer.
    let (code, _, err) = world.keeper(1, &["status", "--rpc", "http://127.0.0.1:1"]).await;
    assert_eq!(code, 3, "{err}");
    // A key that is unknown.
    let path = world.configure(1, "[jobz]\n");
    let (code, _, err) = world.keeper(1, &["status"]).await;
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("jobz") && err.contains(path.file_name().unwrap().to_str().unwrap()),
        "{err}"
    );
    // The environment alone is enough.
    let ended = world
        .command(1, &["status", "--json"])
        .env("PORTCULLIS_KEEPER_AGENT", world.agent.to_string())
        .env("PORTCULLIS_KEEPER_ENDPOINTS", format!("[\"{}\"]", world.anvil.http()))
        .output()
        .await
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
