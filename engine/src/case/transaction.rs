//! From the fields of a recorded transaction to its signed bytes, and back.

use alloy::{
    consensus::{
        SignableTransaction, Transaction as _, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy, Typed2718,
    },
    eips::{
        eip2718::Encodable2718,
        eip2930::{AccessList, AccessListItem},
        eip7702::{Authorization, SignedAuthorization},
    },
    primitives::{Signature, TxKind},
};

use super::json::{AccessJson, AuthorizationJson, Quantity, TxJson};
use crate::{
    Bytes, U256,
    transaction::{Envelope, Transaction, envelope},
};

/// A field that is missing or out of range: its name and what is wrong.
pub(super) type Problem = (&'static str, String);

/// EIP-2718 bytes of a recorded transaction; without `signed`, with a zero signature.
pub(super) fn encode(tx: &TxJson, signed: bool) -> Result<Bytes, Problem> {
    let tx_type = tx.r#type.to_u64().unwrap_or(u64::MAX);
    let signature = if signed {
        signature(tx, tx_type)?
    } else {
        Signature::new(U256::ZERO, U256::ZERO, false)
    };
    let envelope = match tx_type {
        0 => Envelope::Legacy(legacy(tx)?.into_signed(signature)),
        1 => Envelope::Eip2930(eip2930(tx)?.into_signed(signature)),
        2 => Envelope::Eip1559(eip1559(tx)?.into_signed(signature)),
        3 => Envelope::Eip4844(eip4844(tx)?.into_signed(signature)),
        4 => Envelope::Eip7702(eip7702(tx)?.into_signed(signature)),
        _ => return Err(("type", format!("{:#x} is no transaction type; use 0 to 4", tx.r#type.0))),
    };
    Ok(envelope.encoded_2718().into())
}

fn signature(tx: &TxJson, tx_type: u64) -> Result<Signature, Problem> {
    let (r, s) = (required("r", tx.r)?, required("s", tx.s)?);
    let v = match (tx.y_parity, tx.v) {
        (Some(parity), _) if tx_type != 0 => parity,
        (_, Some(v)) => v,
        (Some(parity), None) => parity,
        (None, None) => return Err(("v", "is missing, and so is yParity".to_owned())),
    };
    let v = u64_of("v", v)?;
    let odd = match v {
        0 | 27 => false,
        1 | 28 => true,
        35.. => v % 2 == 0,
        _ => {
            return Err((
                "v",
                format!("{v} is no recovery id; use 0, 1, 27, 28 or the EIP-155 form"),
            ));
        }
    };
    Ok(Signature::new(r.0, s.0, odd))
}

fn legacy(tx: &TxJson) -> Result<TxLegacy, Problem> {
    // EIP-155: v of 35 and more carries the chain id; 27 and 28 say that there is none.
    let by_v = tx.v.and_then(Quantity::to_u64).map(|v| (v >= 35).then(|| (v - 35) / 2));
    let chain_id = match by_v {
        Some(chain_id) => chain_id,
        None => tx.chain_id.map(|chain_id| u64_of("chain_id", chain_id)).transpose()?,
    };
    Ok(TxLegacy {
        chain_id,
        nonce: u64_of("nonce", tx.nonce)?,
        gas_price: u128_of("gas_price", required("gas_price", tx.gas_price)?)?,
        gas_limit: u64_of("gas_limit", tx.gas_limit)?,
        to: kind(tx),
        value: tx.value.0,
        input: tx.input.clone(),
    })
}

fn eip2930(tx: &TxJson) -> Result<TxEip2930, Problem> {
    Ok(TxEip2930 {
        chain_id: chain_id(tx)?,
        nonce: u64_of("nonce", tx.nonce)?,
        gas_price: u128_of("gas_price", required("gas_price", tx.gas_price)?)?,
        gas_limit: u64_of("gas_limit", tx.gas_limit)?,
        to: kind(tx),
        value: tx.value.0,
        access_list: access_list(tx),
        input: tx.input.clone(),
    })
}

fn eip1559(tx: &TxJson) -> Result<TxEip1559, Problem> {
    let (max_fee_per_gas, max_priority_fee_per_gas) = fees(tx)?;
    Ok(TxEip1559 {
        chain_id: chain_id(tx)?,
        nonce: u64_of("nonce", tx.nonce)?,
        gas_limit: u64_of("gas_limit", tx.gas_limit)?,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to: kind(tx),
        value: tx.value.0,
        access_list: access_list(tx),
        input: tx.input.clone(),
    })
}

fn eip4844(tx: &TxJson) -> Result<TxEip4844, Problem> {
    let (max_fee_per_gas, max_priority_fee_per_gas) = fees(tx)?;
    Ok(TxEip4844 {
        chain_id: chain_id(tx)?,
        nonce: u64_of("nonce", tx.nonce)?,
        gas_limit: u64_of("gas_limit", tx.gas_limit)?,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to: tx
            .to
            .ok_or_else(|| ("to", "a blob transaction cannot create a contract".to_owned()))?,
        value: tx.value.0,
        access_list: access_list(tx),
        blob_versioned_hashes: tx.blob_hashes.clone(),
        max_fee_per_blob_gas: u128_of(
            "max_fee_per_blob_gas",
            required("max_fee_per_blob_gas", tx.max_fee_per_blob_gas)?,
        )?,
        input: tx.input.clone(),
    })
}

fn eip7702(tx: &TxJson) -> Result<TxEip7702, Problem> {
    let (max_fee_per_gas, max_priority_fee_per_gas) = fees(tx)?;
    let authorization_list = tx
        .authorization_list
        .iter()
        .map(authorization)
        .collect::<Result<_, _>>()?;
    Ok(TxEip7702 {
        chain_id: chain_id(tx)?,
        nonce: u64_of("nonce", tx.nonce)?,
        gas_limit: u64_of("gas_limit", tx.gas_limit)?,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to: tx
            .to
            .ok_or_else(|| ("to", "a delegating transaction cannot create a contract".to_owned()))?,
        value: tx.value.0,
        access_list: access_list(tx),
        authorization_list,
        input: tx.input.clone(),
    })
}

fn authorization(json: &AuthorizationJson) -> Result<SignedAuthorization, Problem> {
    let nonce = u64_of("authorization_list", json.nonce)?;
    let y_parity = json.y_parity.to_u64().and_then(|v| u8::try_from(v).ok());
    let y_parity = y_parity.ok_or_else(|| ("authorization_list", "yParity has more than 8 bits".to_owned()))?;
    let inner = Authorization {
        chain_id: json.chain_id.0,
        address: json.address,
        nonce,
    };
    Ok(SignedAuthorization::new_unchecked(inner, y_parity, json.r.0, json.s.0))
}

fn fees(tx: &TxJson) -> Result<(u128, u128), Problem> {
    Ok((
        u128_of("max_fee_per_gas", required("max_fee_per_gas", tx.max_fee_per_gas)?)?,
        u128_of(
            "max_priority_fee_per_gas",
            required("max_priority_fee_per_gas", tx.max_priority_fee_per_gas)?,
        )?,
    ))
}

fn chain_id(tx: &TxJson) -> Result<u64, Problem> {
    u64_of("chain_id", required("chain_id", tx.chain_id)?)
}

fn kind(tx: &TxJson) -> TxKind {
    tx.to.map_or(TxKind::Create, TxKind::Call)
}

fn access_list(tx: &TxJson) -> AccessList {
    let items = tx.access_list.iter();
    AccessList(
        items
            .map(|i| AccessListItem {
                address: i.address,
                storage_keys: i.storage_keys.clone(),
            })
            .collect(),
    )
}

fn required(name: &'static str, value: Option<Quantity>) -> Result<Quantity, Problem> {
    value.ok_or_else(|| (name, "is missing; this type of transaction needs it".to_owned()))
}

fn u64_of(name: &'static str, value: Quantity) -> Result<u64, Problem> {
    value
        .to_u64()
        .ok_or_else(|| (name, format!("{:#x} has more than 64 bits", value.0)))
}

fn u128_of(name: &'static str, value: Quantity) -> Result<u128, Problem> {
    value
        .to_u128()
        .ok_or_else(|| (name, format!("{:#x} has more than 128 bits", value.0)))
}

/// The fields of a transaction as they are written into a case.
pub(super) fn fields(tx: &Transaction) -> TxJson {
    let mut json = TxJson {
        hash: tx.hash(),
        r#type: u64::from(tx.tx_type()).into(),
        from: tx.sender(),
        to: tx.to(),
        nonce: tx.nonce().into(),
        gas_limit: tx.gas_limit().into(),
        value: Quantity(tx.value()),
        input: tx.input().clone(),
        chain_id: tx.chain_id().map(Quantity::from),
        ..TxJson::default()
    };
    // It was decoded from these bytes, so it decodes.
    let Ok(envelope) = envelope(tx.raw()) else { return json };
    let quantity = |value: u128| Some(Quantity(U256::from(value)));
    json.gas_price = quantity(envelope.max_fee_per_gas());
    if envelope.ty() >= 2 {
        json.max_fee_per_gas = quantity(envelope.max_fee_per_gas());
        json.max_priority_fee_per_gas = quantity(envelope.max_priority_fee_per_gas().unwrap_or_default());
    }
    json.max_fee_per_blob_gas = envelope.max_fee_per_blob_gas().and_then(quantity);
    json.blob_hashes = envelope.blob_versioned_hashes().unwrap_or_default().to_vec();
    json.access_list = envelope.access_list().map(access_json).unwrap_or_default();
    json.authorization_list = envelope
        .authorization_list()
        .unwrap_or_default()
        .iter()
        .map(authorization_json)
        .collect();
    if tx.is_unsigned() {
        return json;
    }
    let signature = envelope.signature();
    let parity = u64::from(signature.v());
    json.r = Some(Quantity(signature.r()));
    json.s = Some(Quantity(signature.s()));
    json.v = Some(match (envelope.ty(), envelope.chain_id()) {
        (0, Some(chain_id)) => Quantity(U256::from(chain_id) * U256::from(2) + U256::from(35 + parity)),
        (0, None) => (27 + parity).into(),
        _ => parity.into(),
    });
    if envelope.ty() != 0 {
        json.y_parity = Some(parity.into());
    }
    json.raw = Some(tx.raw().clone());
    json
}

fn access_json(list: &AccessList) -> Vec<AccessJson> {
    list.0
        .iter()
        .map(|i| AccessJson {
            address: i.address,
            storage_keys: i.storage_keys.clone(),
        })
        .collect()
}

fn authorization_json(signed: &SignedAuthorization) -> AuthorizationJson {
    AuthorizationJson {
        chain_id: Quantity(*signed.chain_id()),
        address: *signed.address(),
        nonce: signed.nonce().into(),
        y_parity: u64::from(signed.y_parity()).into(),
        r: Quantity(signed.r()),
        s: Quantity(signed.s()),
    }
}
