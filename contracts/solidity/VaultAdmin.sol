// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Vault} from "./Vault.sol";

/// @title The owner of one vault, who lends out the right to pause it.
/// @notice A vault listens to one owner. This is that owner, and pauses for its guardian and for a `PauseGuard`, so that both a
///         person and a keeper's defence job may close the gate.
/// @dev    What always holds: opening the vault again is the guardian's alone.
contract VaultAdmin {
    /// @notice What it owns.
    Vault public immutable vault;
    /// @notice May pause, open again, and name the guard.
    address public immutable guardian;
    /// @notice May pause; zero: nobody besides the guardian.
    address public guard;

    /// @notice The guard is another one now.
    event GuardSet(address indexed guard);

    error NotAllowed();

    modifier onlyGuardian() {
        if (msg.sender != guardian) revert NotAllowed();
        _;
    }

    /// @param flashFeeBps Fee of the vault's flash loans, in basis points. The ether sent along is the vault's seed.
    constructor(address guardian_, uint16 flashFeeBps) payable {
        guardian = guardian_;
        vault = new Vault{value: msg.value}(flashFeeBps);
    }

    /// @notice Names who may pause besides the guardian.
    function setGuard(address guard_) external onlyGuardian {
        guard = guard_;
        emit GuardSet(guard_);
    }

    /// @notice Closes the vault.
    function pause() external {
        if (msg.sender != guardian && msg.sender != guard) revert NotAllowed();
        vault.setPaused(true);
    }

    /// @notice Opens the vault again.
    function unpause() external onlyGuardian {
        vault.setPaused(false);
    }
}
