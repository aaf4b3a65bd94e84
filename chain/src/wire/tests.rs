use std::net::IpAddr;

use proptest::prelude::*;
use prost::bytes::Bytes;
use protos::v1;
use tonic::Status;

use super::*;
use crate::auth::AuthKind;
use crate::error::LedgerError;
use crate::ledger::{Axon, AxonInfo, Metagraph, Neuron, WeightsCall};
use crate::wallet::Keypair;

#[test]
fn every_error_of_the_ledger_crosses_the_wire_unchanged() {
    let refusals = crate::error::tests::all().map(LedgerError::Refused);
    let others = [
        LedgerError::Unauthenticated {
            kind: AuthKind::ReplayedRequest,
            message: "seen before".into(),
        },
        LedgerError::Invalid("field `x`: bad".into()),
        LedgerError::Busy,
        LedgerError::Storage("disk full".into()),
        LedgerError::Closed,
    ];
    for error in refusals.chain(others) {
        let status = to_status(&error);
        // As the other side sees it: through HTTP headers.
        let status = Status::from_header_map(status.into_http::<()>().headers()).unwrap();
        assert_eq!(from_status(&status, "http://ledger", 1), error);
    }
}

#[test]
fn a_field_out_of_range_is_named() {
    let neuron = || v1::Neuron::from(&neuron(0, None));
    let refused = |neuron: v1::Neuron| Neuron::try_from(neuron).unwrap_err().to_string();
    assert!(
        refused(v1::Neuron {
            uid: 70_000,
            ..neuron()
        })
        .contains("neuron.uid")
    );
    assert!(
        refused(v1::Neuron {
            hotkey: Bytes::from_static(&[1; 31]),
            ..neuron()
        })
        .contains("neuron.hotkey")
    );
    assert!(
        refused(v1::Neuron {
            incentive_share: f64::NAN,
            ..neuron()
        })
        .contains("incentive_share")
    );
    let axon = v1::Axon {
        ip: Bytes::from_static(&[1; 5]),
        ..v1::Axon::default()
    };
    assert!(
        refused(v1::Neuron {
            axon: Some(axon),
            ..neuron()
        })
        .contains("axon.ip")
    );
    let call = v1::SetWeightsCall {
        uids: vec![1],
        values: vec![65_536],
        version_key: 0,
    };
    assert!(
        WeightsCall::try_from(call)
            .unwrap_err()
            .to_string()
            .contains("set_weights.values")
    );
    let row = v1::WeightRow {
        uids: vec![1, 2],
        values: vec![1],
    };
    assert!(
        read_weight_row(&row)
            .unwrap_err()
            .to_string()
            .contains("weight_row.values")
    );
    let gap = v1::Metagraph {
        neurons: vec![v1::Neuron { uid: 1, ..neuron() }],
        ..v1::Metagraph::default()
    };
    assert!(
        Metagraph::try_from(gap)
            .unwrap_err()
            .to_string()
            .contains("metagraph.neurons")
    );
}

fn neuron(uid: u16, axon: Option<Axon>) -> Neuron {
    let hotkey = Keypair::from_seed([1; 32]).account();
    Neuron {
        uid,
        hotkey,
        coldkey: hotkey,
        stake: 5,
        axon,
        validator_permit: true,
        active: true,
        registered_at: 1,
        last_update: 2,
        incentive: 3,
        dividends: 4,
        incentive_share: 0.5,
        consensus: 8,
        validator_trust: 9,
        emission: 6,
        earned: 7,
        weights_known: true,
    }
}

proptest! {
    #[test]
    fn a_metagraph_crosses_the_wire_unchanged(
        block: u64, netuid: u16, ips in proptest::collection::vec(any::<Option<(IpAddr, u16, u8)>>(), 0..8),
    ) {
        let neurons = (0u16..).zip(ips).map(|(uid, axon)| {
            let axon = axon.map(|(ip, port, protocol)| Axon { block, info: AxonInfo { version: 1, ip, port, protocol } });
            neuron(uid, axon)
        }).collect();
        let metagraph = Metagraph { netuid, block, tempo: 9, last_epoch_block: 8, epoch_index: 7, neurons };
        prop_assert_eq!(Metagraph::try_from(v1::Metagraph::from(&metagraph)).unwrap(), metagraph);
    }

    #[test]
    fn calls_cross_the_wire_unchanged(uids: Vec<u16>, values: Vec<u16>, version_key: u64, ip: IpAddr, port: u16) {
        let call = WeightsCall { uids, values, version_key };
        prop_assert_eq!(WeightsCall::try_from(v1::SetWeightsCall::from(&call)).unwrap(), call);
        let axon = AxonInfo { version: 3, ip, port, protocol: 4 };
        prop_assert_eq!(AxonInfo::try_from(v1::ServeAxonCall::from(&axon)).unwrap(), axon);
    }
}
