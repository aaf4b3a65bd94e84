//! A contract asked over a node: the calls of its views, what they returned, and its events.

use std::{ops::RangeInclusive, time::Instant};

use alloy::{
    primitives::{Address, Bytes, U256},
    rpc::types::Log,
    sol_types::SolCall,
};
use serde_json::json;

use super::{Answer, BlockRef, Call, Node, NodeError, read};

const ETH_CALL: &str = "eth_call";

/// The call of a contract's view at a block (`eth_call`; a block hash as of EIP-1898).
#[must_use]
pub fn view<C: SolCall>(to: Address, call: &C, at: BlockRef) -> Call {
    let input = Bytes::from(call.abi_encode());
    Call::new(ETH_CALL, json!([{ "to": to, "input": input }, at.parameter()]))
}

/// What a view returned.
///
/// # Errors
/// [`NodeError::Rpc`] when it reverted, [`NodeError::Malformed`] when that is not what `C` returns, as where there is no contract.
pub fn returned<C: SolCall>(answer: &Answer) -> Result<C::Return, NodeError> {
    let output: Bytes = read(ETH_CALL, answer)?;
    C::abi_decode_returns_validate(&output)
        .map_err(|error| NodeError::malformed(ETH_CALL, format!("{}: {error}", C::SIGNATURE)))
}

impl Node {
    /// What a contract's view returns at a block.
    ///
    /// # Errors
    /// See [`Node::call`] and [`returned`].
    pub async fn view<C: SolCall>(&self, to: Address, call: &C, at: BlockRef) -> Result<C::Return, NodeError> {
        let [answer] = self.batch_of([view(to, call, at)]).await?;
        returned::<C>(&answer)
    }

    /// [`Node::batch`] of so many calls, with the node's own [`patience`](Node::patience).
    ///
    /// # Errors
    /// When no endpoint answers in time.
    pub async fn batch_of<const COUNT: usize>(&self, calls: [Call; COUNT]) -> Result<[Answer; COUNT], NodeError> {
        let answers = self.batch(calls.into(), self.patience()).await?;
        answers.try_into().map_err(|answers: Vec<Answer>| {
            NodeError::malformed("batch", format!("{} answers to {COUNT} calls", answers.len()))
        })
    }

    /// A contract's events in these blocks.
    ///
    /// # Errors
    /// See [`Node::call`].
    pub async fn logs(&self, of: Address, blocks: RangeInclusive<u64>) -> Result<Vec<Log>, NodeError> {
        let (from, to) = (format!("{:#x}", blocks.start()), format!("{:#x}", blocks.end()));
        let filter = json!([{ "address": of, "fromBlock": from, "toBlock": to }]);
        // A long range takes a node its time.
        let deadline = Instant::now() + self.config().request_timeout.saturating_mul(4);
        self.call(Call::new("eth_getLogs", filter), deadline).await
    }

    /// Wei of an account at the newest block.
    ///
    /// # Errors
    /// See [`Node::call`].
    pub async fn balance(&self, of: Address) -> Result<U256, NodeError> {
        let call = Call::new("eth_getBalance", json!([of, BlockRef::Latest.parameter()]));
        self.call(call, self.patience()).await
    }
}

#[cfg(test)]
mod tests {
    use alloy::{primitives::B256, sol};
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::RpcFailure;

    sol! {
        function paid(address who) external view returns (uint256 amount, bool all);
    }

    #[test]
    fn a_view_is_pinned_to_the_block_that_is_asked_for() {
        let (to, who) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let input = Bytes::from(paidCall { who }.abi_encode());
        let asked = |at| view(to, &paidCall { who }, at);
        let hash = B256::repeat_byte(3);
        for (at, parameter) in [
            (BlockRef::Hash(hash), json!({ "blockHash": hash })),
            (BlockRef::Number(10), json!("0xa")),
            (BlockRef::Latest, json!("latest")),
            (BlockRef::Pending, json!("pending")),
        ] {
            assert_eq!(asked(at).params, json!([{ "to": to, "input": input }, parameter]));
        }
    }

    #[test]
    fn what_comes_back_is_exactly_what_the_view_returns() {
        let answer = |words: &[u8]| -> Answer { Ok(to_raw_value(&Bytes::copy_from_slice(words)).unwrap()) };
        let mut words = [0_u8; 64];
        (words[31], words[63]) = (7, 1);
        let paid = returned::<paidCall>(&answer(&words)).unwrap();
        assert_eq!((paid.amount, paid.all), (U256::from(7), true));
        // No contract, half an answer, and a boolean that is none.
        words[63] = 2;
        for wrong in [&[][..], &words[..32], &words] {
            let error = returned::<paidCall>(&answer(wrong)).err().unwrap();
            assert!(error.to_string().contains("paid(address)"), "{error}");
        }
        let reverted = RpcFailure::new(ETH_CALL, 3, "execution reverted");
        assert_eq!(
            returned::<paidCall>(&Err(reverted.clone())).err(),
            Some(NodeError::Rpc(reverted))
        );
    }
}
