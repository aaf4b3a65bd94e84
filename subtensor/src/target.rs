//! What `--ledger` may say.

use std::str::FromStr;

use chain::remote::AddressError;
use url::Url;

/// The main network's nodes for everybody, and the genesis by which a foreign network is told.
const FINNEY: &str = "wss://entrypoint-finney.opentensor.ai:443";
const FINNEY_GENESIS: [u8; 32] = [
    0x2f, 0x05, 0x55, 0xcc, 0x76, 0xfc, 0x28, 0x40, 0xa2, 0x5a, 0x6e, 0xa3, 0xb9, 0x63, 0x71, 0x46, 0x80, 0x6f, 0x1f,
    0x44, 0xb0, 0x90, 0xc1, 0x75, 0xff, 0xde, 0x2a, 0x7e, 0x5a, 0xb3, 0x6c, 0x03,
];
const TEST: &str = "wss://test.finney.opentensor.ai:443";
const LOCAL: &str = "ws://127.0.0.1:9944";
/// More endpoints than anybody has.
const MOST_ENDPOINTS: usize = 16;

/// Which ledger is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An embedded ledger over gRPC, at this address.
    Grpc(String),
    /// The real chain.
    Chain {
        /// Nodes, in the order in which they are tried.
        endpoints: Vec<String>,
        /// The chain's genesis hash, where it is known; a node of another chain is refused.
        genesis: Option<[u8; 32]>,
    },
}

/// Text that names no ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not an address of the real chain.
    #[error("ledger `{text}`: {reason}; expected http://HOST:PORT, ws://HOST:PORT, wss://HOST, finney, test or local")]
    Chain {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The real chain, and nothing about which of its subnets.
    #[error("ledger `{text}` is the real chain, which has many subnets: say which by --netuid N")]
    NoSubnet {
        /// As given.
        text: String,
    },
    /// Not an address of an embedded ledger.
    #[error(transparent)]
    Grpc(#[from] AddressError),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let chain = |endpoint: &str, genesis| Self::Chain {
            endpoints: vec![endpoint.to_owned()],
            genesis,
        };
        match text {
            "finney" => return Ok(chain(FINNEY, Some(FINNEY_GENESIS))),
            "test" => return Ok(chain(TEST, None)),
            "local" => return Ok(chain(LOCAL, None)),
            _ => {}
        }
        if !text.split(',').any(|part| is_chain(part.trim())) {
            return Ok(Self::Grpc(text.to_owned()));
        }
        let fail = |reason: String| TargetError::Chain {
            text: text.to_owned(),
            reason,
        };
        let mut endpoints = Vec::new();
        for part in text.split(',').map(str::trim) {
            if !is_chain(part) {
                return Err(fail(format!("`{part}` is not ws:// or wss://")));
            }
            let url = Url::parse(part).map_err(|error| fail(error.to_string()))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(fail("a name and password in the address are not supported".to_owned()));
            }
            if !endpoints.iter().any(|known| known == part) {
                endpoints.push(part.to_owned());
            }
        }
        if endpoints.len() > MOST_ENDPOINTS {
            return Err(fail(format!("at most {MOST_ENDPOINTS} endpoints")));
        }
        Ok(Self::Chain {
            endpoints,
            genesis: None,
        })
    }
}

fn is_chain(text: &str) -> bool {
    text.starts_with("ws://") || text.starts_with("wss://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_addresses_and_lists_are_told_apart() {
        let grpc = |text: &str| Target::Grpc(text.to_owned());
        for text in ["http://127.0.0.1:9944", "127.0.0.1:9944", "ledger:50051"] {
            assert_eq!(text.parse(), Ok(grpc(text)));
        }
        assert!(matches!("finney".parse(), Ok(Target::Chain { endpoints, genesis: Some(_) }) if endpoints == [FINNEY]));
        assert!(matches!("test".parse(), Ok(Target::Chain { endpoints, genesis: None }) if endpoints == [TEST]));
        assert!(matches!("local".parse(), Ok(Target::Chain { endpoints, .. }) if endpoints == [LOCAL]));
        let list = "ws://a:1, wss://b ,ws://a:1".parse::<Target>().unwrap();
        assert_eq!(
            list,
            Target::Chain {
                endpoints: vec!["ws://a:1".to_owned(), "wss://b".to_owned()],
                genesis: None
            }
        );
    }

    #[test]
    fn what_names_no_chain_is_refused_with_what_is_expected() {
        for text in ["ws://", "ws://a:1,http://b:2", "wss://name:word@host", "ws://a:1,,"] {
            let reason = text.parse::<Target>().unwrap_err().to_string();
            assert!(reason.contains("expected http://HOST:PORT, ws://HOST:PORT"), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_and_no_panic(text: String) {
            let _target = text.parse::<Target>();
        }
    }
}
