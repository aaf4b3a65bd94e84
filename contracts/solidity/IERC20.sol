// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title The part of ERC-20 that contracts call on each other.
/// @dev   https://eips.ethereum.org/EIPS/eip-20
interface IERC20 {
    /// @notice `value` units went from `from` to `to`; `from` is zero when they were created.
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// @notice `owner` lets `spender` move up to `value` units.
    event Approval(address indexed owner, address indexed spender, uint256 value);

    /// @notice Units in existence.
    function totalSupply() external view returns (uint256);

    /// @notice Units held by `account`.
    function balanceOf(address account) external view returns (uint256);

    /// @notice Units of `owner` that `spender` may still move.
    function allowance(address owner, address spender) external view returns (uint256);

    /// @notice Moves `value` units of the caller's to `to`.
    function transfer(address to, uint256 value) external returns (bool);

    /// @notice Sets what `spender` may move of the caller's units.
    function approve(address spender, uint256 value) external returns (bool);

    /// @notice Moves `value` units from `from` to `to` under the caller's allowance.
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}
