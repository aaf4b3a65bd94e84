// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {AgentTypes, Config, Job, Keeper} from "./AgentTypes.sol";

/// @title What the two halves of the Agent share: its storage, and the set of active keepers.
/// @dev   `AgentKeepers` runs by delegatecall on the Agent's storage, so both have exactly this layout and no more.
abstract contract AgentBase is AgentTypes {
    /// @notice The ERC-20 that keepers stake.
    IERC20 public immutable stakeToken;
    /// @notice Base units of stake for one ticket in the draw. Stake below it counts as one ticket.
    uint256 public immutable ticketStake;
    /// @dev The Agent, whose storage this code may change, and no other's.
    address private immutable _home;

    /// @notice May set the configuration, slash, withdraw fees and release any job.
    address public owner;
    /// @notice Whom the owner offered its place.
    address public pendingOwner;
    /// @notice The number of keepers; the last one's id.
    uint256 public keeperCount;
    /// @notice Fees that the owner may withdraw, in wei.
    uint256 public fees;
    /// @notice Credits by owner, for all jobs that draw on them, in wei.
    mapping(address jobOwner => uint256 credits) public ownerCredits;
    /// @notice The id of the last job of a contract.
    mapping(address target => uint256 id) public lastJobId;
    /// @notice The keeper of a worker; 0: none.
    mapping(address worker => uint256 keeperId) public keeperOf;

    Config internal _config;
    mapping(uint256 keeperId => Keeper) internal _keepers;
    mapping(bytes32 jobKey => Job) internal _jobs;
    /// @dev Ids, in an order that changes when one leaves (the last takes its place).
    uint24[] internal _active;
    /// @dev A Fenwick tree of tickets by position, from 1: node `i` sums the positions `(i - lowbit(i), i]`.
    mapping(uint256 node => uint256 tickets) internal _tree;
    bool internal transient _locked;

    modifier unlocked() {
        _requireUnlocked();
        _;
    }

    /// @dev For what hands control to the stake token.
    modifier lock() {
        _requireUnlocked();
        _locked = true;
        _;
        _locked = false;
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert OnlyOwner();
        _;
    }

    constructor(address home, IERC20 stakeToken_, uint256 ticketStake_) {
        (_home, stakeToken, ticketStake) = (home, stakeToken_, ticketStake_);
    }

    function _requireUnlocked() internal view {
        if (_locked) revert ExecutionReentrancyLocked();
        if (address(this) != _home) revert OnlySelf();
    }

    function _keeper(uint256 keeperId) internal view returns (Keeper storage) {
        if (keeperId == 0 || keeperId > keeperCount) revert InvalidKeeperId();
        return _keepers[keeperId];
    }

    function _setStake(Keeper storage keeper, uint256 staked) internal {
        if (staked > type(uint96).max) revert StakeAmountOverflow();
        if (keeper.position != 0) _addTickets(keeper.position, _tickets(keeper.stake), _tickets(staked));
        keeper.stake = uint96(staked);
    }

    function _tickets(uint256 staked) internal view returns (uint256 count) {
        count = staked / ticketStake;
        if (count == 0) count = 1;
    }

    function _addTickets(uint256 position, uint256 before, uint256 after_) internal {
        if (before == after_) return;
        for (uint256 node = position; node <= MAX_ACTIVE_KEEPERS; node += node & (~node + 1)) {
            _tree[node] = _tree[node] + after_ - before;
        }
    }

    function _deactivate(uint256 keeperId, Keeper storage keeper) internal {
        uint256 position = keeper.position;
        uint256 last = _active.length;
        _addTickets(position, _tickets(keeper.stake), 0);
        if (position != last) {
            uint24 moved = _active[last - 1];
            uint256 tickets = _tickets(_keepers[moved].stake);
            _addTickets(last, tickets, 0);
            _addTickets(position, 0, tickets);
            _active[position - 1] = moved;
            _keepers[moved].position = uint32(position);
        }
        _active.pop();
        keeper.position = 0;
        emit DisableKeeper(keeperId);
    }

    function _sendEther(address to, uint256 amount) internal {
        if (to == address(0)) revert ZeroAddress();
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed();
    }
}
