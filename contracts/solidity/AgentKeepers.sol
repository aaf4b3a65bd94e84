// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {AgentBase} from "./AgentBase.sol";
import {Config, Keeper} from "./AgentTypes.sol";

/// @title The half of the Agent that looks after keepers and parameters.
/// @notice Created by the Agent, which forwards to it by delegatecall, since both together are longer than EIP-170 allows. It
///         does nothing when it is called directly.
contract AgentKeepers is AgentBase {
    constructor(IERC20 stakeToken_, uint256 ticketStake_) AgentBase(msg.sender, stakeToken_, ticketStake_) {}

    /// @notice Sets all parameters.
    function setConfig(Config calldata config_) external onlyOwner unlocked {
        _setConfig(config_);
    }

    /// @notice Takes `current` of a keeper's stake and `pending` of what it is withdrawing, and sends both to `to`.
    /// @param disable Whether the keeper leaves the active set.
    function ownerSlash(uint256 keeperId, address to, uint256 current, uint256 pending, bool disable) external onlyOwner lock {
        if (current + pending == 0) revert MissingAmount();
        Keeper storage keeper = _keeper(keeperId);
        if (current > keeper.stake) revert AmountGtStake(current, keeper.stake);
        if (pending > keeper.pendingWithdrawal) revert AmountGtStake(pending, keeper.pendingWithdrawal);
        if (disable && keeper.position == 0) revert KeeperIsAlreadyInactive();
        keeper.slashedStake += uint96(current);
        keeper.pendingWithdrawal -= uint96(pending);
        _setStake(keeper, keeper.stake - current);
        if (disable) _deactivate(keeperId, keeper);
        emit OwnerSlash(keeperId, to, current, pending);
        _sendStake(to, current + pending);
    }

    /// @notice Registers a keeper whose admin is the caller, with its first stake. `finalizeKeeperActivation` may follow at once.
    /// @param worker The account that executes; nobody else's worker.
    function registerAsKeeper(address worker, uint256 amount) external lock returns (uint256 keeperId) {
        if (worker == address(0)) revert ZeroAddress();
        if (keeperOf[worker] != 0) revert WorkerAlreadyAssigned();
        if (amount < _config.minKeeperStake) revert InsufficientAmount();
        keeperId = ++keeperCount;
        if (keeperId > type(uint24).max) revert InvalidKeeperId();
        keeperOf[worker] = keeperId;
        Keeper storage keeper = _keepers[keeperId];
        (keeper.admin, keeper.worker, keeper.activationAt) = (msg.sender, worker, uint40(block.timestamp));
        emit RegisterAsKeeper(keeperId, msg.sender, worker);
        emit InitiateKeeperActivation(keeperId, block.timestamp);
        _addStake(keeperId, keeper, amount);
    }

    /// @notice Adds to any keeper's stake.
    function stake(uint256 keeperId, uint256 amount) external lock {
        if (amount == 0) revert MissingAmount();
        _addStake(keeperId, _keeper(keeperId), amount);
    }

    /// @notice Asks to become active; possible after the activation timeout.
    function initiateKeeperActivation(uint256 keeperId) external unlocked {
        Keeper storage keeper = _adminOf(keeperId);
        if (keeper.position != 0) revert KeeperIsAlreadyActive();
        if (keeper.stake < _config.minKeeperStake) revert InsufficientKeeperStake();
        uint256 readyAt = block.timestamp + _config.activationTimeout;
        keeper.activationAt = uint40(readyAt);
        emit InitiateKeeperActivation(keeperId, readyAt);
    }

    /// @notice Becomes active.
    function finalizeKeeperActivation(uint256 keeperId) external unlocked {
        Keeper storage keeper = _adminOf(keeperId);
        uint256 readyAt = keeper.activationAt;
        if (readyAt > block.timestamp) revert TooEarlyForActivationFinalization(block.timestamp, readyAt);
        if (readyAt == 0) revert ActivationNotInitiated();
        if (keeper.stake < _config.minKeeperStake) revert InsufficientKeeperStake();
        if (_active.length >= MAX_ACTIVE_KEEPERS) revert TooManyActiveKeepers();
        keeper.activationAt = 0;
        _active.push(uint24(keeperId));
        uint256 position = _active.length;
        keeper.position = uint32(position);
        _addTickets(position, 0, _tickets(keeper.stake));
        emit FinalizeKeeperActivation(keeperId);
    }

    /// @notice Leaves the active set. Jobs stay assigned until they are executed or handed over by `releaseJob`.
    function disableKeeper(uint256 keeperId) external unlocked {
        Keeper storage keeper = _adminOf(keeperId);
        if (keeper.position == 0) revert KeeperIsAlreadyInactive();
        _deactivate(keeperId, keeper);
    }

    /// @notice Changes the worker; zero frees the old one.
    function setWorkerAddress(uint256 keeperId, address worker) external unlocked {
        Keeper storage keeper = _adminOf(keeperId);
        if (worker != address(0) && keeperOf[worker] != 0) revert WorkerAlreadyAssigned();
        delete keeperOf[keeper.worker];
        if (worker != address(0)) keeperOf[worker] = keeperId;
        emit SetWorkerAddress(keeperId, keeper.worker, worker);
        keeper.worker = worker;
    }

    /// @notice Begins to withdraw stake. What the owner slashed is covered first. A second call adds and starts the time anew.
    function initiateRedeem(uint256 keeperId, uint256 amount) external unlocked returns (uint256 pending) {
        Keeper storage keeper = _adminOf(keeperId);
        if (amount == 0) revert MissingAmount();
        if (keeper.assignedJobs != 0) revert KeeperIsAssignedToJobs(keeper.assignedJobs);
        uint256 slashed = keeper.slashedStake;
        if (amount < slashed) revert InsufficientAmountToCoverSlashedStake(amount, slashed);
        if (amount > keeper.stake + slashed) revert AmountGtStake(amount, keeper.stake + slashed);
        uint256 left = keeper.stake + slashed - amount;
        uint256 minimum = _config.minKeeperStake;
        if (keeper.position != 0 && left < minimum) revert KeeperShouldBeDisabledForStakeLTMinKeeperStake();
        keeper.slashedStake = 0;
        pending = keeper.pendingWithdrawal + amount - slashed;
        keeper.pendingWithdrawal = uint96(pending);
        uint256 readyAt = block.timestamp + _config.withdrawalTimeout;
        keeper.withdrawableAt = uint40(readyAt);
        _setStake(keeper, left);
        emit InitiateRedeem(keeperId, amount, amount - slashed, readyAt);
    }

    /// @notice Sends what was being withdrawn to `to`.
    function finalizeRedeem(uint256 keeperId, address to) external lock returns (uint256 amount) {
        Keeper storage keeper = _adminOf(keeperId);
        if (keeper.withdrawableAt > block.timestamp) revert WithdrawalTimeoutNotReached(block.timestamp, keeper.withdrawableAt);
        amount = keeper.pendingWithdrawal;
        if (amount == 0) revert NoPendingWithdrawal();
        keeper.pendingWithdrawal = 0;
        emit FinalizeRedeem(keeperId, to, amount);
        _sendStake(to, amount);
    }

    /// @notice Sends earned ether to `to`; `type(uint256).max` is all of it. For the admin and the worker.
    function withdrawCompensation(uint256 keeperId, address to, uint256 amount) external lock {
        Keeper storage keeper = _keeper(keeperId);
        uint256 available = keeper.compensation;
        if (amount == type(uint256).max) amount = available;
        if (amount == 0) revert MissingAmount();
        if (msg.sender != keeper.admin && msg.sender != keeper.worker) revert OnlyKeeperAdminOrWorker();
        if (amount > available) revert WithdrawAmountExceedsAvailable(amount, available);
        keeper.compensation = uint96(available - amount);
        emit WithdrawCompensation(keeperId, to, amount);
        _sendEther(to, amount);
    }

    function _setConfig(Config memory c) private {
        if (c.minKeeperStake == 0) revert InvalidConfig("minKeeperStake");
        if (c.slashingFeeFixed > c.minKeeperStake / 2) revert InvalidConfig("slashingFeeFixed");
        if (c.slashingFeeBps > 5_000) revert InvalidConfig("slashingFeeBps");
        if (c.withdrawalTimeout > 30 days) revert InvalidConfig("withdrawalTimeout");
        if (c.activationTimeout > 30 days) revert InvalidConfig("activationTimeout");
        if (c.feePpm > 50_000) revert InvalidConfig("feePpm");
        if (c.slashingEpochBlocks < 3) revert InvalidConfig("slashingEpochBlocks");
        if (c.period1 < 15) revert InvalidConfig("period1");
        if (c.period2 < 15) revert InvalidConfig("period2");
        if (c.stakeDivisor == 0) revert InvalidConfig("stakeDivisor");
        if (c.compensationMultiplierBps < 10_000) revert InvalidConfig("compensationMultiplierBps");
        if (c.gasOverhead > 1_000_000) revert InvalidConfig("gasOverhead");
        if (c.retryBase == 0 || c.retryBase > c.retryCap) revert InvalidConfig("retryBase");
        _config = c;
        emit SetConfig(c);
    }

    function _adminOf(uint256 keeperId) private view returns (Keeper storage keeper) {
        keeper = _keepers[keeperId];
        if (msg.sender != keeper.admin) revert OnlyKeeperAdmin();
    }

    function _addStake(uint256 keeperId, Keeper storage keeper, uint256 amount) private {
        _setStake(keeper, keeper.stake + amount);
        emit Stake(keeperId, msg.sender, amount);
        uint256 before = stakeToken.balanceOf(address(this));
        _token(abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), amount)));
        if (stakeToken.balanceOf(address(this)) - before != amount) revert TokenTookFee();
    }

    function _sendStake(address to, uint256 amount) private {
        if (to == address(0)) revert ZeroAddress();
        _token(abi.encodeCall(IERC20.transfer, (to, amount)));
    }

    /// @dev Tokens that return nothing count as successful when they do not revert.
    function _token(bytes memory data) private {
        (bool ok, bytes memory answer) = address(stakeToken).call(data);
        if (!ok || (answer.length != 0 && (answer.length < 32 || abi.decode(answer, (uint256)) != 1))) revert TransferFailed();
    }
}
