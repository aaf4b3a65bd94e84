// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {AuditRules} from "./AuditRules.sol";
import {AuditTypes, Config, Node, State} from "./AuditTypes.sol";

/// @title What the AuditManager keeps: parameters, nodes, and the money that is promised to them.
/// @dev   What always holds: the token balance is at least `totalStake + promised + unreleased`; `promised` is the sum of what the nodes'
///        epochs have earned at most.
abstract contract AuditBase is AuditTypes {
    /// @notice The largest group.
    uint256 public constant MAX_GROUP = 64;

    /// @notice The token of stakes and bounties.
    IERC20 public immutable token;

    /// @notice May set the parameters and release what is not promised.
    address public owner;
    /// @notice Whom the owner offered its place.
    address public pendingOwner;
    /// @notice The number of nodes that ever registered; the last one's id.
    uint32 public nodeCount;
    /// @notice The node of an operator; 0: none.
    mapping(address operator => uint32 id) public nodeOf;
    /// @notice Base units staked.
    uint256 public totalStake;

    /// @notice Base units that are released each second, to all active nodes together.
    uint128 public rate;
    /// @dev What every node that was active all along was promised.
    uint128 internal _accrued;
    /// @dev What was promised and not claimed, as of `_syncedAt`.
    uint128 internal _promised;
    /// @dev Until when the release is accounted for.
    uint64 internal _syncedAt;
    /// @notice When the release ends.
    uint64 public releaseEnd;

    Config internal _config;
    mapping(uint32 id => Node) internal _nodes;
    /// @dev By order of arrival: place in the group (8 bits), downtime in intervals (24), latency in microseconds (32). Only the first
    ///      `count` are of this epoch; the others are written over, which costs less than to clear them.
    mapping(uint32 id => uint64[MAX_GROUP]) internal _verdicts;
    /// @dev Ids, in an order that changes when one leaves (the last takes its place).
    uint32[] internal _active;
    bool internal transient _entered;

    modifier once() {
        if (_entered) revert Reentered();
        _entered = true;
        _;
        _entered = false;
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert OnlyOwner();
        _;
    }

    /// @param owner_  Who sets parameters and releases.
    /// @param token_  An ERC-20 that moves exactly what it is told to.
    /// @param config_ The parameters.
    constructor(address owner_, IERC20 token_, Config memory config_) {
        if (owner_ == address(0)) revert ZeroAddress();
        if (address(token_).code.length == 0) revert NotAToken(address(token_));
        token = token_;
        owner = owner_;
        _setConfig(config_);
        _syncedAt = uint64(block.timestamp);
        emit OwnershipTransferred(owner_);
    }

    // ---- the contract's owner

    /// @notice Releases everything that is neither stake nor promised evenly from now to `end`.
    function release(uint64 end) external onlyOwner {
        _sync();
        if (end <= block.timestamp) revert NothingToRelease();
        uint256 perSecond = (token.balanceOf(address(this)) - totalStake - _promised) / (end - block.timestamp);
        if (perSecond == 0 || perSecond > type(uint96).max) revert NothingToRelease();
        (rate, releaseEnd) = (uint128(perSecond), end);
        emit Released(perSecond, end);
    }

    /// @notice Sets the parameters.
    function setConfig(Config calldata config_) external onlyOwner {
        _setConfig(config_);
    }

    /// @notice Offers the ownership.
    function transferOwnership(address to) external onlyOwner {
        pendingOwner = to;
        emit OwnershipOffered(to);
    }

    /// @notice Accepts it.
    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert OnlyPendingOwner();
        (owner, pendingOwner) = (msg.sender, address(0));
        emit OwnershipTransferred(msg.sender);
    }

    // ---- answers

    /// @notice The parameters.
    function config() external view returns (Config memory) {
        return _config;
    }

    /// @notice How many nodes are active.
    function activeCount() external view returns (uint256) {
        return _active.length;
    }

    /// @notice Their ids, in the order that draws see.
    function activeNodes() external view returns (uint32[] memory) {
        return _active;
    }

    /// @notice When it may claim, in Unix seconds.
    function nextReward(uint32 id) public view returns (uint256) {
        return uint256(_nodes[id].lastReward) + _config.rewardPeriod;
    }

    /// @notice Intervals of an epoch that are measured.
    function intervals() external view returns (uint256) {
        return AuditRules.intervals(_config);
    }

    /// @notice Base units promised to nodes and not claimed.
    function promised() external view returns (uint256 units) {
        (units,) = _accrual();
    }

    /// @notice Base units that are released later.
    function unreleased() public view returns (uint256) {
        return block.timestamp < releaseEnd ? uint256(rate) * (releaseEnd - block.timestamp) : 0;
    }

    // ---- inside

    function _accrual() internal view returns (uint256 promised_, uint256 accrued) {
        (promised_, accrued) = (_promised, _accrued);
        uint256 until = block.timestamp < releaseEnd ? block.timestamp : releaseEnd;
        uint256 nodes = _active.length;
        if (until > _syncedAt && nodes > 0) {
            // What does not divide among them is not promised: it is released anew.
            uint256 each = uint256(rate) * (until - _syncedAt) / nodes;
            (promised_, accrued) = (promised_ + each * nodes, accrued + each);
        }
    }

    function _sync() internal {
        (uint256 promised_, uint256 accrued) = _accrual();
        (_promised, _accrued, _syncedAt) = (uint128(promised_), uint128(accrued), uint64(block.timestamp));
    }

    function _setConfig(Config memory config_) internal {
        if (config_.rewardPeriod > 366 days) revert InvalidConfig("rewardPeriod");
        if (config_.checkTime == 0) revert InvalidConfig("checkTime");
        if (config_.deltaPeriod == 0 || uint256(config_.deltaPeriod) + config_.checkTime > config_.rewardPeriod) revert InvalidConfig("deltaPeriod");
        if (AuditRules.intervals(config_) > type(uint24).max) revert InvalidConfig("checkTime");
        if (config_.allowableLatency == 0) revert InvalidConfig("allowableLatency");
        if (config_.toleranceDivisor == 0) revert InvalidConfig("toleranceDivisor");
        if (config_.quorumBps == 0 || config_.quorumBps > 10_000) revert InvalidConfig("quorumBps");
        if (config_.coverageBps > 10_000) revert InvalidConfig("coverageBps");
        if (config_.dutyBps > 10_000) revert InvalidConfig("dutyBps");
        if (config_.groupSize == 0 || config_.groupSize > MAX_GROUP) revert InvalidConfig("groupSize");
        _config = config_;
        emit SetConfig(config_);
    }

    function _present(uint32 id) internal view returns (Node storage subject) {
        subject = _nodes[id];
        if (subject.state != State.Active && subject.state != State.Leaving) revert WrongState(id, subject.state);
    }

    function _presentOfCaller(uint32 id) internal view returns (Node storage subject) {
        subject = _present(id);
        if (msg.sender != subject.operator && msg.sender != subject.owner) revert OnlyNode();
    }

    /// @dev The node's last epoch is over.
    function _leave(Node storage subject) internal {
        _promised -= subject.due;
        (subject.due, subject.spent, subject.count) = (0, 0, 0);
        subject.state = State.Left;
        delete subject.group;
        delete nodeOf[subject.operator];
    }

    /// @dev Tokens that return nothing count as successful when they do not revert.
    function _move(bytes memory data) internal {
        (bool ok, bytes memory answer) = address(token).call(data);
        if (!ok || (answer.length > 0 && (answer.length < 32 || abi.decode(answer, (uint256)) != 1))) revert TransferFailed();
    }
}
