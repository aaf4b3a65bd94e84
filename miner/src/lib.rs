//! The miner: answers challenges with the engine.
//!
//! A challenge is checked (signature, receiver, freshness, sender's permit), given to an engine's thread through a bounded queue,
//! and the answer is signed for the validator that asked. What does not fit into the queue is refused at once, with a status
//! that says so: a late answer is worth no more than none. The state comes with the challenge, or from a node of the miner's own
//! ([`own_node`]), which also checks what came ([`check`]).

pub mod behaviour;
pub mod check;
pub mod codes;
pub mod conduct;
pub mod config;
pub mod own_node;
pub mod service;

use node::exit::Failure;
use subtensor::neuron::Neuron;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::own_node::OwnNode;
use crate::service::ChallengeService;

async fn connect(config: &Config) -> Result<OwnNode, Failure> {
    let nodes = state::NodeConfig {
        endpoints: config.nodes.clone(),
        ..state::NodeConfig::default()
    };
    let own = OwnNode::connect(nodes, state::ReaderConfig::default()).await;
    let own = own.map_err(|error| Failure::new(node::exit::Code::Indeterminate, error))?;
    tracing::info!(
        chain_id = own.chain_id(),
        nodes = config.nodes.len(),
        "reading state from nodes of its own"
    );
    Ok(own)
}

/// Runs a miner until `shutdown`.
///
/// # Errors
/// A hotkey that is not registered, a port in use, a ledger that cannot be reached.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let Neuron {
        hotkey,
        uid,
        ledger,
        metagraph,
    } = config
        .identity()
        .join(config.metagraph_period, shutdown.clone())
        .await?;
    let account = hotkey.account();
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let own = match config.nodes.is_empty() {
        true => None,
        false => Some(connect(&config).await?),
    };
    let service = ChallengeService::start(&config, hotkey.clone(), metagraph, own, shutdown.clone())?;
    let routes = tonic::service::Routes::new(service.into_server());
    let server = tokio::spawn(node::server::serve(
        listener,
        routes,
        &["portcullis.v1.Miner"],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));

    tokio::select! {
        () = shutdown.cancelled() => return server.await?,
        announced = chain::announce_axon(ledger.as_ref(), &hotkey, config.axon.unwrap_or(address)) => {
            announced.map_err(|error| Failure::new(node::exit::Code::Restart, error))?;
        }
    }
    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }
    tracing::info!(uid, %account, %address, threads = config.threads, "serving challenges");
    server.await?
}
