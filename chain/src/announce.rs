//! Telling the subnet where a neuron is reached.

use std::net::SocketAddr;
use std::time::Duration;

use crate::error::LedgerError;
use crate::ledger::{AxonInfo, Ledger};
use crate::wallet::Keypair;

/// Version of the axon's protocol, as it stands in the axon.
pub const AXON_VERSION: u32 = 1;

/// gRPC, in the axon's `protocol` field.
pub const AXON_PROTOCOL: u8 = 4;

/// How long until the block is read again while a rate limit holds: twice as long each time, from the first to the longest. Blocks may
/// take milliseconds or 12 s, and a public node does not like to be asked all the time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Serves `address` as the hotkey's axon. Nothing is sent when the ledger has it already; a rate limit is waited for.
///
/// # Errors
/// The ledger refuses for another reason, or cannot be reached.
pub async fn announce_axon(ledger: &dyn Ledger, hotkey: &Keypair, address: SocketAddr) -> Result<(), LedgerError> {
    let info = AxonInfo {
        version: AXON_VERSION,
        ip: address.ip(),
        port: address.port(),
        protocol: AXON_PROTOCOL,
    };
    loop {
        let metagraph = ledger.metagraph().await?;
        if metagraph
            .by_hotkey(&hotkey.account())
            .and_then(|neuron| neuron.axon)
            .is_some_and(|axon| axon.info == info)
        {
            return Ok(());
        }
        match ledger.serve_axon(hotkey, info).await {
            Ok(_block) => return Ok(()),
            Err(error) => match error.refusal().and_then(crate::Refusal::retry_at_block) {
                Some(block) => {
                    tracing::info!(%address, block, "the axon may not be changed before this block; waiting");
                    let mut pause = FIRST_PAUSE;
                    while ledger.block().await? < block {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
                None => return Err(error),
            },
        }
    }
}
