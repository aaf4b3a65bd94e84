//! Bittensor's golden bytes, and the metadata of specification version 461 that they were made with.

use std::path::PathBuf;

use serde_json::Value;
use subxt::config::substrate::{SpecVersionForRange, SubstrateConfig};
use subxt::metadata::ArcMetadata;
use subxt::{Metadata, OfflineClient};

/// What the vectors were made with.
pub(crate) const SPEC: u32 = 461;
pub(crate) const TRANSACTION_VERSION: u32 = 1;

pub(crate) struct Data {
    pub(crate) vectors: Value,
    /// As a node gives it: `meta`, version 15.
    pub(crate) metadata: Vec<u8>,
}

/// `None` after saying what is missing.
pub(crate) fn data() -> Option<Data> {
    let folder = std::env::var_os("PORTCULLIS_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let read = |name: &str| {
        let path = folder.join("bittensor").join(name);
        std::fs::read(&path)
            .map_err(|error| {
                println!(
                    "SKIPPED: what needs Bittensor's golden bytes, because {}: {error}",
                    path.display()
                )
            })
            .ok()
    };
    Some(Data {
        vectors: serde_json::from_slice(&read("vectors.json")?).unwrap(),
        metadata: read("finney_461_v15.scale")?,
    })
}

impl Data {
    /// The cases of one topic; never none.
    pub(crate) fn cases(&self, topic: &str) -> &[Value] {
        let cases = self.vectors[topic]
            .as_array()
            .unwrap_or_else(|| panic!("no topic `{topic}`"));
        assert!(!cases.is_empty(), "{topic}");
        cases
    }

    pub(crate) fn genesis(&self) -> [u8; 32] {
        fixed(&self.vectors["network_461"]["genesis_hash"])
    }

    pub(crate) fn client(&self) -> OfflineClient<SubstrateConfig> {
        let metadata = Metadata::decode_from(&self.metadata).unwrap();
        let versions = SpecVersionForRange {
            block_range: 0..u64::MAX,
            spec_version: SPEC,
            transaction_version: TRANSACTION_VERSION,
        };
        let config = SubstrateConfig::builder()
            .set_genesis_hash(self.genesis().into())
            .set_spec_version_for_block_ranges([versions])
            .set_metadata_for_spec_versions([(SPEC, ArcMetadata::from(metadata))])
            .build();
        OfflineClient::new_with_config(config)
    }
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("no text: {value}"));
    hex::decode(text.trim_start_matches("0x")).unwrap()
}

pub(crate) fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}
