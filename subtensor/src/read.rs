//! Reading the pallet's storages at one block.

use subxt::ext::frame_decode::storage::{IntoDecodableValues, IntoEncodableValues};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::storage::PrefixOf;
use subxt::{OnlineClientAtBlock, SubstrateConfig};

use crate::call::PALLET;
use crate::fault::{self, Fault};

/// Rows of one map that are read at most: a subnet has at most 65,536 uids.
const MOST_ROWS: usize = 1 << 16;

/// The chain at one block.
pub(crate) struct At(pub(crate) OnlineClientAtBlock<SubstrateConfig>);

impl At {
    pub(crate) fn block(&self) -> u64 {
        self.0.block_number()
    }

    pub(crate) fn spec(&self) -> u32 {
        self.0.spec_version()
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        self.0.block_ref().hash().0
    }

    /// Whether this runtime has the storage.
    pub(crate) fn has(&self, entry: &str) -> bool {
        self.keys(entry).is_some()
    }

    /// Of how many parts the storage's key is: 0 for a plain value; `None` where this runtime does not have it.
    pub(crate) fn keys(&self, entry: &str) -> Option<usize> {
        self.0
            .metadata_ref()
            .pallet_by_name(PALLET)?
            .storage()?
            .entry_by_name(entry)
            .map(|entry| entry.keys().len())
    }

    /// The value under `key`, or the runtime's default.
    pub(crate) async fn value<K, V>(&self, entry: &str, key: K) -> Result<V, Fault>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        self.maybe(entry, key).await?.ok_or_else(|| Fault::Missing {
            what: format!("storage {PALLET}.{entry}"),
            spec: self.spec(),
        })
    }

    /// The value under `key`, or the runtime's default; `None` where there is neither.
    pub(crate) async fn maybe<K, V>(&self, entry: &str, key: K) -> Result<Option<V>, Fault>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        let name = format!("{PALLET}.{entry}");
        let address = subxt::dynamic::storage::<K, V>(PALLET, entry);
        let found = self
            .0
            .storage()
            .try_fetch(address, key)
            .await
            .map_err(|error| fault::storage(error, &name, self.spec()))?;
        found
            .map(|value| value.decode())
            .transpose()
            .map_err(|error| Fault::Garbled(format!("storage {name}: {error}")))
    }

    /// The value under `key` as [`At::value`], where this runtime has the storage; else `otherwise`.
    pub(crate) async fn or<K, V>(&self, entry: &str, key: K, otherwise: V) -> Result<V, Fault>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        V: DecodeAsType,
    {
        if self.has(entry) {
            self.value(entry, key).await
        } else {
            Ok(otherwise)
        }
    }

    /// All rows whose key begins with `prefix`.
    pub(crate) async fn rows<K, P, V>(&self, entry: &str, prefix: P) -> Result<Vec<(K, V)>, Fault>
    where
        K: IntoEncodableValues + IntoDecodableValues,
        P: PrefixOf<K>,
        V: DecodeAsType,
    {
        let name = format!("{PALLET}.{entry}");
        let fail = |error| fault::storage(error, &name, self.spec());
        let garbled = |reason: String| Fault::Garbled(format!("storage {name}: {reason}"));
        let address = subxt::dynamic::storage::<K, V>(PALLET, entry);
        let mut entries = self.0.storage().iter(address, prefix).await.map_err(fail)?;
        let mut rows = Vec::new();
        while let Some(row) = entries.next().await {
            let row = row.map_err(fail)?;
            let key = row
                .key()
                .and_then(|key| key.decode())
                .map_err(|error| garbled(error.to_string()))?;
            rows.push((key, row.value().decode().map_err(|error| garbled(error.to_string()))?));
            if rows.len() > MOST_ROWS {
                return Err(garbled(format!("more than {MOST_ROWS} rows")));
            }
        }
        Ok(rows)
    }
}
