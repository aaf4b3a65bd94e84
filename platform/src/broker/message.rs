//! Items of the log as the broker's messages, and back. Pure.
//!
//! What always holds: a message's id is its item's cursor, its payload the item without cursor and codes (none where it is longer than
//! the broker takes), and what is none of ours is an error.

use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, header};
use prost::Message as _;
use prost::bytes::Bytes;
use protos::v1;

use super::BrokerError;
use crate::assignment::Hotkey;
use crate::store::Logged;
use crate::tail::Delivered;

/// For whom an item is: hotkeys in hex with commas between; absent: for all.
const READERS: &str = "Portcullis-Readers";

/// An item as a message that the broker takes only right behind the one with the sequence number `before`. One that is longer than
/// `longest` bytes goes without its payload.
pub(super) fn message(item: Logged, before: u64, longest: usize) -> PublishMessage {
    let payload = if item.payload.len() <= longest {
        item.payload
    } else {
        Vec::new()
    };
    let mut message = PublishMessage::build()
        .payload(payload.into())
        .message_id(item.cursor.to_string())
        .expected_last_sequence(before);
    if let Some(readers) = item.readers {
        let readers: Vec<String> = readers.iter().map(alloy::primitives::hex::encode).collect();
        message = message.header(READERS, readers.join(","));
    }
    message
}

/// The item that a message carries.
///
/// # Errors
/// [`BrokerError::Message`] for one that is none of ours.
pub(super) fn delivered(headers: Option<&HeaderMap>, payload: Bytes) -> Result<Delivered, BrokerError> {
    let empty = HeaderMap::new();
    let headers = headers.unwrap_or(&empty);
    let cursor = cursor_of(headers)?;
    let broken = |what: String| BrokerError::Message {
        id: cursor.to_string(),
        what,
    };
    let hotkey = |hex: &str| -> Result<Hotkey, BrokerError> {
        alloy::primitives::hex::decode_to_array(hex).map_err(|error| broken(format!("a reader: {error}")))
    };
    let readers = headers.get(READERS).map(|list| {
        let each = list.as_str().split(',').filter(|hex| !hex.is_empty());
        each.map(hotkey).collect::<Result<Vec<_>, _>>()
    });
    let bytes = payload.len();
    let item = (bytes > 0)
        .then(|| v1::StreamItem::decode(payload))
        .transpose()
        .map_err(|error| broken(error.to_string()))?;
    Ok(Delivered {
        cursor,
        item: item.map(|item| v1::StreamItem { cursor, ..item }),
        readers: readers.transpose()?,
        bytes,
    })
}

/// The cursor of the item that a message with these headers carries.
///
/// # Errors
/// [`BrokerError::Message`] for one that is none of ours.
pub(super) fn cursor_of(headers: &HeaderMap) -> Result<u64, BrokerError> {
    let id = headers
        .get(header::NATS_MESSAGE_ID)
        .map(|id| id.as_str())
        .unwrap_or_default();
    id.parse().map_err(|error| BrokerError::Message {
        id: id.to_owned(),
        what: format!("its id is no cursor: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(readers: Option<Vec<Hotkey>>, payload: Vec<u8>) -> Logged {
        Logged {
            cursor: 7,
            payload,
            readers,
        }
    }

    #[test]
    fn an_item_comes_back_with_its_readers_and_one_that_is_too_long_without_its_content() {
        let item = v1::StreamItem {
            cursor: 0,
            event: Some(crate::log::Event::FeedEnded(v1::FeedEnded::default())),
            codes: Vec::new(),
        };
        for readers in [None, Some(vec![]), Some(vec![[1; 32], [2; 32]])] {
            let sent = message(logged(readers.clone(), item.encode_to_vec()), 6, 1 << 20).outbound_message("s");
            let expected = sent
                .headers
                .as_ref()
                .and_then(|headers| headers.get("Nats-Expected-Last-Sequence"));
            assert_eq!(expected.map(|id| id.as_str()), Some("6"));
            let got = delivered(sent.headers.as_ref(), sent.payload).unwrap();
            assert_eq!((got.cursor, got.readers), (7, readers));
            assert_eq!(
                got.item.map(|item| (item.cursor, item.event.is_some())),
                Some((7, true))
            );
        }
        let sent = message(logged(None, vec![1; 100]), 0, 99).outbound_message("s");
        assert_eq!(delivered(sent.headers.as_ref(), sent.payload).unwrap().item, None);
    }

    #[test]
    fn what_is_not_ours_is_an_error_and_no_panic() {
        assert!(delivered(None, vec![1].into()).is_err());
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, "7");
        assert!(delivered(Some(&headers), vec![0xff; 3].into()).is_err());
        headers.insert(READERS, "xyz");
        assert!(delivered(Some(&headers), Bytes::new()).is_err());
    }
}
