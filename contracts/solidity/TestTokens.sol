// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Token} from "./Token.sol";

/// @title A token with EIP-2612 permits.
contract PermitToken is Token {
    /// @notice Uses of `owner`'s signature so far.
    mapping(address owner => uint256) public nonces;
    /// @notice The EIP-712 domain.
    bytes32 public immutable DOMAIN_SEPARATOR;

    bytes32 private constant _PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    /// @notice The signature is not the owner's, or too old.
    error BadPermit();

    constructor(uint256 supply, address holder) Token("Permit", "PMT", supply, holder) {
        DOMAIN_SEPARATOR = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Permit"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    /// @notice Sets an allowance by the owner's signature.
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        bytes32 message = keccak256(abi.encode(_PERMIT, owner, spender, value, nonces[owner]++, deadline));
        address signer = ecrecover(keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR, message)), v, r, s);
        if (block.timestamp > deadline || signer == address(0) || signer != owner) revert BadPermit();
        allowance[owner][spender] = value;
        emit Approval(owner, spender, value);
    }
}

/// @title A token that keeps one part in a hundred of what is moved.
contract FeeToken {
    /// @notice Units by account.
    mapping(address account => uint256) public balanceOf;
    /// @notice Unlimited, to keep the test short.
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    constructor(uint256 supply, address holder) {
        balanceOf[holder] = supply;
    }

    /// @notice ERC-20.
    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        return true;
    }

    /// @notice ERC-20, less the fee.
    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value;
        balanceOf[from] -= value;
        balanceOf[to] += value - value / 100;
        return true;
    }
}

/// @title A token whose transfers return nothing, as some old ones do, and that calls back the receiver's caller when told to.
contract QuietToken {
    /// @notice Units by account.
    mapping(address account => uint256) public balanceOf;
    /// @notice As ERC-20.
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    /// @notice What is called in the midst of a transfer; zero: nothing.
    address public hookTarget;
    /// @notice With which input.
    bytes public hookData;
    /// @notice Whether the last call back went through.
    bool public hookSucceeded;

    constructor(uint256 supply, address holder) {
        balanceOf[holder] = supply;
    }

    /// @notice Calls `target` with `data` in the midst of every transfer from now on.
    function setHook(address target, bytes calldata data) external {
        hookTarget = target;
        hookData = data;
    }

    /// @notice ERC-20 without an answer.
    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
    }

    /// @notice ERC-20 without an answer.
    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }

    /// @notice ERC-20 without an answer.
    function transferFrom(address from, address to, uint256 value) external {
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        if (hookTarget != address(0)) (hookSucceeded,) = hookTarget.call(hookData);
        balanceOf[to] += value;
    }
}
