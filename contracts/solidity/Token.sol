// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";

/// @title An ERC-20 token of fixed supply.
/// @notice All units are created by the constructor; nothing mints or burns afterwards, so `totalSupply` is constant for
///         ever and equals the sum of all balances.
/// @dev    Storage: 0 name, 1 symbol, 2 totalSupply, 3 balanceOf, 4 allowance. Watchers address these slots: keep them.
contract Token is IERC20 {
    /// @notice Human-readable name.
    string public name;
    /// @notice Ticker symbol.
    string public symbol;
    /// @inheritdoc IERC20
    uint256 public totalSupply;
    /// @inheritdoc IERC20
    mapping(address account => uint256 units) public balanceOf;
    /// @inheritdoc IERC20
    mapping(address owner => mapping(address spender => uint256 units)) public allowance;

    /// @notice Decimal places of one whole token.
    uint8 public constant decimals = 18;

    /// @notice `account` has `held` units, `needed` were asked for.
    error InsufficientBalance(address account, uint256 held, uint256 needed);
    /// @notice `spender` may move `allowed` units, `needed` were asked for.
    error InsufficientAllowance(address spender, uint256 allowed, uint256 needed);
    /// @notice The zero address neither receives nor may spend.
    error ZeroAddress();

    /// @param name_   Human-readable name.
    /// @param symbol_ Ticker symbol.
    /// @param supply  Units created, all given to `holder`.
    /// @param holder  First holder.
    constructor(string memory name_, string memory symbol_, uint256 supply, address holder) {
        if (holder == address(0)) revert ZeroAddress();
        name = name_;
        symbol = symbol_;
        totalSupply = supply;
        balanceOf[holder] = supply;
        emit Transfer(address(0), holder, supply);
    }

    /// @inheritdoc IERC20
    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    /// @inheritdoc IERC20
    function approve(address spender, uint256 value) external returns (bool) {
        if (spender == address(0)) revert ZeroAddress();
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    /// @inheritdoc IERC20
    /// @dev An allowance of `type(uint256).max` is unlimited and is not written back.
    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed != type(uint256).max) {
            if (allowed < value) revert InsufficientAllowance(msg.sender, allowed, value);
            unchecked {
                allowance[from][msg.sender] = allowed - value;
            }
        }
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        if (to == address(0)) revert ZeroAddress();
        uint256 held = balanceOf[from];
        if (held < value) revert InsufficientBalance(from, held, value);
        unchecked {
            // Cannot overflow: the sum of all balances is `totalSupply`.
            balanceOf[from] = held - value;
            balanceOf[to] += value;
        }
        emit Transfer(from, to, value);
    }
}
