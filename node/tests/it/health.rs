//! `BINARY health URL`, against a server that every node is started with.

use clap::Parser;
use node::exit::Code;
use node::health::HealthArgs;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    health: HealthArgs,
}

async fn health(args: &[&str]) -> Result<(), (Code, String)> {
    let cli = Cli::parse_from(std::iter::once("node").chain(args.iter().copied()));
    cli.health
        .run()
        .await
        .map_err(|failure| (failure.code(), failure.to_string()))
}

#[tokio::test]
async fn a_node_serves_until_it_ends_and_then_is_not_there() {
    let port = testkit::Port::free();
    let listener = node::server::bind(port.address()).await.unwrap();
    let url = format!("http://{}", port.address());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(node::server::serve(
        listener,
        Routes::default(),
        &["portcullis.v1.Platform"],
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));

    assert_eq!(health(&[&url]).await, Ok(()));
    assert_eq!(health(&[&url, "--service", "portcullis.v1.Platform"]).await, Ok(()));
    let (code, line) = health(&[&url, "--service", "portcullis.v1.Bank"]).await.unwrap_err();
    assert_eq!(
        (code, line.contains("portcullis.v1.Bank")),
        (Code::Configuration, true),
        "{line}"
    );

    shutdown.cancel();
    serving.await.unwrap().unwrap();
    let (code, line) = health(&[&url]).await.unwrap_err();
    assert_eq!((code, line.contains(&url)), (Code::Indeterminate, true), "{line}");
    assert_eq!(health(&["not a url"]).await.unwrap_err().0, Code::Configuration);
}
