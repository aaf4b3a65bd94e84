//! Whether the nodes still know transactions that have waited for a while.

use engine::B256;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::json;

use super::rpc::{self, Call, Client, RpcError};

const METHOD: &str = "eth_getTransactionByHash";

/// What a look at the nodes gave.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// No node knows them, and each one has answered.
    pub(super) forgotten: Vec<B256>,
    /// Included, and the block's number.
    pub(super) included: Vec<(B256, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    No,
    Waits,
    Included(u64),
}

/// Asks every node for these transactions.
pub(super) async fn check(clients: Vec<Client>, hashes: Vec<B256>) -> Checked {
    let answers = join_all(clients.iter().map(|client| ask(client, &hashes))).await;
    let Ok(answers) = answers.into_iter().collect::<Result<Vec<_>, _>>() else {
        return Checked::default();
    };
    let mut checked = Checked::default();
    for (index, hash) in hashes.into_iter().enumerate() {
        let known: Vec<Known> = answers.iter().filter_map(|answer| answer.get(index)).copied().collect();
        if known.iter().all(|known| *known == Known::No) {
            checked.forgotten.push(hash);
        }
        let block = known.iter().find_map(|known| match known {
            Known::Included(number) => Some(*number),
            Known::No | Known::Waits => None,
        });
        checked.included.extend(block.map(|block| (hash, block)));
    }
    checked
}

async fn ask(client: &Client, hashes: &[B256]) -> Result<Vec<Known>, RpcError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Place {
        #[serde(default, with = "alloy::serde::quantity::opt")]
        block_number: Option<u64>,
    }
    let calls = hashes.iter().map(|hash| Call {
        method: METHOD,
        params: json!([hash]),
    });
    let results = client.batch(calls.collect()).await?;
    results
        .into_iter()
        .map(|result| {
            let place: Option<Place> = rpc::parse(METHOD, &result?)?;
            Ok(place.map_or(Known::No, |place| {
                place.block_number.map_or(Known::Waits, Known::Included)
            }))
        })
        .collect()
}
