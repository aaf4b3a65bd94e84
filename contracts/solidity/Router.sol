// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {Pair} from "./Pair.sol";
import {IFlashBorrower, Vault} from "./Vault.sol";

/// @title The front door of ordinary users.
/// @notice Swaps over one or more pairs, deposits into a vault for the caller, and flash loans that are repaid at once.
///         Honest traffic reaches pairs and vaults through this contract, so `to` tells nothing about who is attacking.
/// @dev    Keeps nothing between transactions; storage: 0 lender.
contract Router is IFlashBorrower {
    /// @notice The vault whose loan is out; zero outside of `flashAndRepay`.
    address public lender;

    /// @notice The block time is past the caller's deadline.
    error Expired(uint256 deadline);
    /// @notice A path needs at least one pair.
    error EmptyPath();
    /// @notice A loan came from someone who was not asked.
    error NotLender(address caller);
    /// @notice `token` refused a transfer.
    error TransferFailed(address token);

    /// @notice Swaps `amountIn` of `tokenIn` along `path`; the last token goes to the caller.
    /// @param minOut   Least amount of the last token.
    /// @param deadline Block time, in seconds, after which the swap must not happen.
    /// @return amount  What the caller got.
    function swap(Pair[] calldata path, IERC20 tokenIn, uint256 amountIn, uint256 minOut, uint256 deadline)
        external
        returns (uint256 amount)
    {
        if (block.timestamp > deadline) revert Expired(deadline);
        if (path.length == 0) revert EmptyPath();
        if (!tokenIn.transferFrom(msg.sender, address(this), amountIn)) revert TransferFailed(address(tokenIn));
        amount = amountIn;
        for (uint256 i = 0; i < path.length; ++i) {
            bool last = i + 1 == path.length;
            Pair pair = path[i];
            if (tokenIn.allowance(address(this), address(pair)) < amount) {
                tokenIn.approve(address(pair), type(uint256).max);
            }
            amount = pair.swap(tokenIn, amount, last ? minOut : 0, last ? msg.sender : address(this));
            IERC20 token0 = pair.token0();
            tokenIn = address(tokenIn) == address(token0) ? pair.token1() : token0;
        }
    }

    /// @notice Deposits the wei sent along into `vault`; the shares go to the caller.
    function deposit(Vault vault) external payable returns (uint256 shares) {
        return vault.deposit{value: msg.value}(msg.sender);
    }

    /// @notice Borrows `amount` wei of `vault` and repays it with the fee, which the caller sends along.
    function flashAndRepay(Vault vault, uint256 amount) external payable {
        lender = address(vault);
        vault.flash(amount);
        lender = address(0);
        (bool paid,) = msg.sender.call{value: address(this).balance}("");
        if (!paid) revert TransferFailed(address(0));
    }

    /// @inheritdoc IFlashBorrower
    function onFlash(uint256 fee) external payable {
        if (msg.sender != lender) revert NotLender(msg.sender);
        (bool paid,) = msg.sender.call{value: msg.value + fee}("");
        if (!paid) revert TransferFailed(address(0));
    }
}
