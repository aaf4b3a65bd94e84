//! An incident that never was: what templates are checked with, and what a test alert tells of.

use alloy_primitives::{Address, B256, Bytes, I256, U256};

use crate::violation::{BrokenInvariant, ConfirmedViolation, NetworkView, Severity, Suspect, TokenDelta};

/// Somebody moves 1000 units of a token and half an ether out of a vault.
pub(crate) fn violation() -> ConfirmedViolation {
    let vault = Address::repeat_byte(0xaa);
    let change = |token, change: i64| TokenDelta {
        token,
        holder: vault,
        change: I256::try_from(change).unwrap_or_default(),
    };
    ConfirmedViolation {
        chain_id: 1,
        invariant: BrokenInvariant {
            id: 1,
            name: "Example: the vault is solvent".to_owned(),
            condition: "totalAssets >= totalDebt".to_owned(),
            set_version: 1,
            contract: vault,
        },
        severity: Severity::High,
        suspect: Suspect {
            tx_hash: B256::repeat_byte(0x11),
            sender: Address::repeat_byte(0x22),
            target: Some(Address::repeat_byte(0x33)),
            selector: Some([0xde, 0xad, 0xbe, 0xef]),
            path: Vec::new(),
            value: U256::from(1_500_000_000_000_000_000_u64),
            raw: Bytes::new(),
            predecessors: Vec::new(),
            deltas: vec![
                change(Some(Address::repeat_byte(0x44)), -1_000),
                change(None, -500_000_000_000_000_000),
            ],
            more_deltas: 2,
            pre: "1000".to_owned(),
            post: "0".to_owned(),
        },
        seen_ms: 1_800_000_000_000,
        judged_ms: 1_800_000_000_040,
        confirmed_ms: 1_800_000_000_055,
        view: NetworkView {
            asked: 5,
            answered: 5,
            agreed: 4,
            arbitrated: true,
        },
    }
}
