// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {AuditRules} from "./AuditRules.sol";
import {AuditTypes, Config, Duty, Node, Outcome, Settlement, State, Verdict} from "./AuditTypes.sol";

/// @title Nodes that audit each other, and are paid for what the others measured.
/// @notice Every node stakes, and is audited by a group drawn at random. In the window before its reward date its auditors report; from
///         then on it claims: medians of the verdicts reduce its bounty, and the next group is drawn.
///
///         Tokens that somebody transfers to this contract are released evenly over time, in equal parts to the nodes that are active.
///         What a reduction keeps back is released again.
/// @dev    What always holds: the token balance is at least `totalStake + promised + unreleased`; `promised` is the sum of what the
///         nodes' epochs have earned at most; a verdict counts once; a subject is never in its own group, and nobody twice in one.
contract AuditManager is AuditTypes {
    /// @notice The largest group.
    uint256 public constant MAX_GROUP = 64;
    /// @notice The most nodes that are active at once.
    uint256 public constant MAX_NODES = 65_535;
    /// @notice The most verdicts of one report.
    uint256 public constant MAX_BATCH = 64;
    /// @notice The longest endpoint, in bytes.
    uint256 public constant MAX_ENDPOINT = 128;
    /// @notice The latency of a verdict whose auditor was never answered.
    uint32 public constant NO_LATENCY = type(uint32).max;

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
    uint128 private _accrued;
    /// @dev What was promised and not claimed, as of `_syncedAt`.
    uint128 private _promised;
    /// @dev Until when the release is accounted for.
    uint64 private _syncedAt;
    /// @notice When the release ends.
    uint64 public releaseEnd;

    Config private _config;
    mapping(uint32 id => Node) private _nodes;
    /// @dev Ids, in an order that changes when one leaves (the last takes its place).
    uint32[] private _active;
    bool private transient _entered;

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

    // ---- nodes

    /// @notice Takes part, with the caller as owner. The caller has approved `stake` of the token.
    /// @param operator The account that reports and claims; no other node's.
    /// @param kind     0 platform, 1 validator, 2 miner, 3 keeper.
    /// @param hotkey   Its sr25519 public key on the subnet; zero: none.
    /// @param endpoint Where it is measured.
    /// @param stake    At least `minStake`.
    function register(address operator, uint8 kind, bytes32 hotkey, string calldata endpoint, uint128 stake) external once returns (uint32 id) {
        if (stake < _config.minStake) revert InsufficientStake(stake, _config.minStake);
        if (_active.length == MAX_NODES) revert TooManyNodes();
        _sync();
        id = ++nodeCount;
        Node storage node = _nodes[id];
        (node.owner, node.kind, node.state) = (msg.sender, kind, State.Active);
        (node.epoch, node.lastReward, node.mark) = (1, uint40(block.timestamp), _accrued);
        _describe(id, node, operator, hotkey, endpoint);
        _active.push(id);
        node.position = uint32(_active.length);
        emit NodeRegistered(id, msg.sender, operator, kind, hotkey, endpoint);
        _drawGroup(id, node, new uint32[](0), _freshSeed(id, 1));
        _addStake(id, node, stake);
    }

    /// @notice Changes who operates the node and where it is.
    function change(uint32 id, address operator, bytes32 hotkey, string calldata endpoint) external {
        Node storage node = _nodeOfCaller(id);
        if (node.state != State.Active && node.state != State.Leaving) revert WrongState(id, node.state);
        delete nodeOf[node.operator];
        _describe(id, node, operator, hotkey, endpoint);
        emit NodeChanged(id, operator, hotkey, endpoint);
    }

    /// @notice Adds to the stake of a node. Anybody may.
    function addStake(uint32 id, uint128 amount) external once {
        Node storage node = _nodes[id];
        if (node.state != State.Active && node.state != State.Leaving) revert WrongState(id, node.state);
        _addStake(id, node, amount);
    }

    /// @notice Leaves: nothing more is promised to the node, and no new group has it. It may claim once more.
    /// @dev    By anybody for a node that is overdue by a whole period: nothing would be left of its bounty.
    function exit(uint32 id) external {
        Node storage node = _nodes[id];
        if (node.state != State.Active) revert WrongState(id, node.state);
        if (msg.sender != node.owner && block.timestamp < nextReward(id) + _config.rewardPeriod) revert OnlyNodeOwner();
        _sync();
        node.due = _accrued - node.mark;
        node.state = State.Leaving;
        uint32 last = _active[_active.length - 1];
        _active[node.position - 1] = last;
        _nodes[last].position = node.position;
        node.position = 0;
        _active.pop();
        emit NodeExited(id);
    }

    /// @notice Pays the stake back to a node that left, when it claimed for the last time or could have. What it did not claim is released anew.
    function withdrawStake(uint32 id, address to) external once {
        Node storage node = _nodeOfCaller(id);
        if (to == address(0)) revert ZeroAddress();
        if (node.state == State.Leaving) {
            if (block.timestamp < nextReward(id)) revert TooEarly(nextReward(id));
            _leave(node);
        } else if (node.state != State.Left || node.stake == 0) {
            revert WrongState(id, node.state);
        }
        uint256 amount = node.stake;
        node.stake = 0;
        totalStake -= amount;
        emit StakeWithdrawn(id, to, amount);
        if (amount > 0) _move(abi.encodeCall(IERC20.transfer, (to, amount)));
    }

    // ---- the epoch: group, verdicts, claim

    /// @notice Completes the group of a node, where it could be larger or a member left. Anybody may, in the first quarter of the epoch.
    function fillGroup(uint32 subject) external {
        Node storage node = _nodes[subject];
        if (node.state != State.Active && node.state != State.Leaving) revert WrongState(subject, node.state);
        uint256 until = node.lastReward + (_config.rewardPeriod - _config.deltaPeriod) / 4;
        if (block.timestamp > until) revert TooLateToFill(until);
        uint32[] memory kept = node.group;
        uint256 count;
        for (uint256 i = 0; i < kept.length; ++i) {
            if (_nodes[kept[i]].state == State.Active) kept[count++] = kept[i];
        }
        if (count == node.group.length && count >= groupWanted(subject)) revert GroupIsWhole();
        assembly ("memory-safe") {
            mstore(kept, count)
        }
        _drawGroup(subject, node, kept, _freshSeed(subject, node.epoch));
    }

    /// @notice Reports what `auditor` measured. One bad verdict does not keep the others back; a batch of which none is taken reverts.
    function report(uint32 auditor, Verdict[] calldata verdicts) external {
        Node storage sender = _nodes[auditor];
        _requireNode(sender);
        if (sender.state != State.Active && sender.state != State.Leaving) revert WrongState(auditor, sender.state);
        if (verdicts.length == 0 || verdicts.length > MAX_BATCH) revert BatchSize(verdicts.length);
        Config memory config_ = _config;
        bool taken;
        for (uint256 i = 0; i < verdicts.length; ++i) {
            if (_take(config_, auditor, verdicts[i])) taken = true;
        }
        if (!taken) revert NothingReported(verdicts[0].subject, _judge(config_, auditor, verdicts[0]));
    }

    /// @notice Pays the bounty of the epoch that ended to the node's owner, and begins the next one with another group.
    function claim(uint32 id) external once returns (Settlement memory settled) {
        Node storage node = _nodes[id];
        _requireNode(node);
        if (node.state != State.Active && node.state != State.Leaving) revert WrongState(id, node.state);
        if (block.timestamp < nextReward(id)) revert TooEarly(nextReward(id));
        _sync();
        settled = settlement(id);
        _countDuties(node, settled.downtime);
        uint32 epoch = node.epoch;
        bytes32 seed = node.seed == 0 ? _freshSeed(id, epoch) : node.seed;
        (node.owed, node.kept) = (0, 0);
        (node.spent, node.seed) = (0, 0);
        delete node.verdicts;
        if (node.state == State.Active) {
            _promised -= settled.maximum;
            (node.epoch, node.lastReward, node.mark) = (epoch + 1, uint40(block.timestamp), _accrued);
            _drawGroup(id, node, new uint32[](0), seed);
            emit BountyPaid(id, epoch, node.owner, settled, uint40(nextReward(id)));
        } else {
            _leave(node);
            emit BountyPaid(id, epoch, node.owner, settled, 0);
        }
        if (settled.bounty > 0) _move(abi.encodeCall(IERC20.transfer, (node.owner, settled.bounty)));
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

    /// @notice A node; all zero for an id that is none.
    function nodeInfo(uint32 id) external view returns (Node memory) {
        return _nodes[id];
    }

    /// @notice How many nodes are active.
    function activeCount() external view returns (uint256) {
        return _active.length;
    }

    /// @notice Their ids, in the order that draws see.
    function activeNodes() external view returns (uint32[] memory) {
        return _active;
    }

    /// @notice Who audits it.
    function groupOf(uint32 subject) external view returns (uint32[] memory) {
        return _nodes[subject].group;
    }

    /// @notice How large its group would be if it were drawn now.
    function groupWanted(uint32 subject) public view returns (uint256 size) {
        size = _active.length - (_nodes[subject].position == 0 ? 0 : 1);
        if (size > _config.groupSize) size = _config.groupSize;
    }

    /// @notice The group that would be drawn for a node from this seed.
    function drawGroup(uint32 subject, bytes32 seed) external view returns (uint32[] memory) {
        return AuditRules.draw(_active, subject, new uint32[](0), seed, groupWanted(subject));
    }

    /// @notice When it may claim, in Unix seconds.
    function nextReward(uint32 id) public view returns (uint256) {
        return uint256(_nodes[id].lastReward) + _config.rewardPeriod;
    }

    /// @notice Intervals of an epoch that are measured.
    function intervals() external view returns (uint256) {
        return AuditRules.intervals(_config);
    }

    /// @notice Whom `auditor` audits, among the nodes `from` to `from + count - 1`.
    function duties(uint32 auditor, uint32 from, uint32 count) external view returns (Duty[] memory found) {
        uint256 end = uint256(from) + count;
        if (end > uint256(nodeCount) + 1) end = uint256(nodeCount) + 1;
        found = new Duty[](end > from ? end - from : 0);
        uint256 length;
        for (uint32 id = from; id < end; ++id) {
            Node storage subject = _nodes[id];
            uint256 place = _placeOf(subject, auditor);
            if (place == MAX_GROUP || subject.state == State.Left) continue;
            Duty memory duty = found[length++];
            uint256 date = nextReward(id);
            (duty.subject, duty.epoch, duty.kind) = (id, subject.epoch, subject.kind);
            duty.sent = subject.spent & (uint64(1) << uint64(place)) != 0;
            (duty.epochStart, duty.windowStart, duty.windowEnd) = (subject.lastReward, uint40(date - _config.deltaPeriod), uint40(date));
            (duty.hotkey, duty.endpoint) = (subject.hotkey, subject.endpoint);
        }
        assembly ("memory-safe") {
            mstore(found, length)
        }
    }

    /// @notice What a claim in this block would give, were it time.
    function settlement(uint32 id) public view returns (Settlement memory settled) {
        Config memory config_ = _config;
        Node storage subject = _nodes[id];
        uint64[] memory verdicts = subject.verdicts;
        settled.verdicts = uint32(verdicts.length);
        settled.groupSize = uint32(subject.group.length);
        settled.quorum = verdicts.length >= AuditRules.quorumOf(config_, subject.group.length);
        if (verdicts.length > 0) {
            uint256[] memory values = new uint256[](verdicts.length);
            for (uint256 i = 0; i < verdicts.length; ++i) {
                values[i] = uint24(verdicts[i] >> 32);
            }
            settled.downtime = uint32(AuditRules.median(values));
            for (uint256 i = 0; i < verdicts.length; ++i) {
                values[i] = uint32(verdicts[i]);
            }
            settled.latency = uint32(AuditRules.median(values));
        }
        uint256 late = AuditRules.lateness(config_, nextReward(id), block.timestamp);
        settled.late = late > type(uint32).max ? type(uint32).max : uint32(late);
        settled.staked = subject.stake >= config_.minStake;
        (settled.owed, settled.kept) = (subject.owed, subject.kept);
        if (subject.state == State.Active) {
            (, uint256 accrued) = _accrual();
            settled.maximum = uint128(accrued - subject.mark);
        } else {
            settled.maximum = subject.due;
        }
        settled.bounty = uint128(AuditRules.bounty(config_, settled));
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

    function _accrual() private view returns (uint256 promised_, uint256 accrued) {
        (promised_, accrued) = (_promised, _accrued);
        uint256 until = block.timestamp < releaseEnd ? block.timestamp : releaseEnd;
        uint256 nodes = _active.length;
        if (until > _syncedAt && nodes > 0) {
            // What does not divide among them is not promised: it is released anew.
            uint256 each = uint256(rate) * (until - _syncedAt) / nodes;
            (promised_, accrued) = (promised_ + each * nodes, accrued + each);
        }
    }

    function _sync() private {
        (uint256 promised_, uint256 accrued) = _accrual();
        (_promised, _accrued, _syncedAt) = (uint128(promised_), uint128(accrued), uint64(block.timestamp));
    }

    function _setConfig(Config memory config_) private {
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

    function _nodeOfCaller(uint32 id) private view returns (Node storage subject) {
        subject = _nodes[id];
        if (msg.sender != subject.owner) revert OnlyNodeOwner();
    }

    function _requireNode(Node storage subject) private view {
        if (msg.sender != subject.operator && msg.sender != subject.owner) revert OnlyNode();
    }

    function _describe(uint32 id, Node storage subject, address operator, bytes32 hotkey, string calldata endpoint) private {
        if (operator == address(0)) revert ZeroAddress();
        if (nodeOf[operator] != 0) revert OperatorTaken(operator);
        uint256 length = bytes(endpoint).length;
        if (length == 0 || length > MAX_ENDPOINT) revert EndpointLength(length);
        nodeOf[operator] = id;
        (subject.operator, subject.hotkey, subject.endpoint) = (operator, hotkey, endpoint);
    }

    function _addStake(uint32 id, Node storage subject, uint256 amount) private {
        uint256 stake = subject.stake + amount;
        if (stake > type(uint96).max) revert InsufficientStake(amount, type(uint96).max);
        subject.stake = uint128(stake);
        totalStake += amount;
        emit Staked(id, amount, stake);
        uint256 before = token.balanceOf(address(this));
        _move(abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), amount)));
        if (token.balanceOf(address(this)) - before != amount) revert TransferFailed();
    }

    /// @dev The node's last epoch is over.
    function _leave(Node storage subject) private {
        _promised -= subject.due;
        subject.due = 0;
        subject.state = State.Left;
        delete subject.group;
        delete subject.verdicts;
        delete nodeOf[subject.operator];
    }

    function _freshSeed(uint32 subject, uint32 epoch) private view returns (bytes32) {
        return keccak256(abi.encode(blockhash(block.number - 1), subject, epoch));
    }

    function _drawGroup(uint32 subject, Node storage drawn, uint32[] memory kept, bytes32 seed) private {
        uint32[] memory group = AuditRules.draw(_active, subject, kept, seed, groupWanted(subject));
        drawn.group = group;
        emit GroupDrawn(subject, drawn.epoch, group);
    }

    /// @dev `MAX_GROUP` when it is not in the group.
    function _placeOf(Node storage subject, uint32 auditor) private view returns (uint256) {
        uint32[] memory group = subject.group;
        for (uint256 i = 0; i < group.length; ++i) {
            if (group[i] == auditor) return i;
        }
        return MAX_GROUP;
    }

    /// @dev What would become of a verdict now.
    function _judge(Config memory config_, uint32 auditor, Verdict calldata verdict) private view returns (Outcome) {
        Node storage subject = _nodes[verdict.subject];
        uint256 place = _placeOf(subject, auditor);
        if (place == MAX_GROUP) return Outcome.NotAuditor;
        if (verdict.epoch != subject.epoch) return Outcome.WrongEpoch;
        if (subject.spent & (uint64(1) << uint64(place)) != 0) return Outcome.AlreadySent;
        uint256 all = AuditRules.intervals(config_);
        if (verdict.failed > verdict.known || verdict.known > all) return Outcome.Malformed;
        uint256 date = nextReward(verdict.subject);
        if (block.timestamp < date - config_.deltaPeriod) return Outcome.TooEarly;
        if (block.timestamp >= date) return Outcome.Late;
        if (verdict.known == 0 || uint256(verdict.known) * 10_000 < all * config_.coverageBps) return Outcome.LowCoverage;
        return Outcome.Stored;
    }

    function _take(Config memory config_, uint32 auditor, Verdict calldata verdict) private returns (bool) {
        Outcome outcome = _judge(config_, auditor, verdict);
        if (outcome > Outcome.LowCoverage) {
            emit VerdictSkipped(verdict.subject, auditor, outcome);
            return false;
        }
        Node storage subject = _nodes[verdict.subject];
        uint256 place = _placeOf(subject, auditor);
        subject.spent |= uint64(1) << uint64(place);
        uint256 downtime = AuditRules.downtimeOf(verdict, AuditRules.intervals(config_));
        if (outcome == Outcome.Stored) {
            subject.verdicts.push(uint64(place << 56 | downtime << 32 | verdict.latency));
            if (subject.seed == 0) subject.seed = _freshSeed(verdict.subject, verdict.epoch);
        }
        emit VerdictReported(verdict.subject, auditor, verdict.epoch, outcome, uint32(downtime), verdict.latency);
        return true;
    }

    /// @dev Writes down of each auditor whether it did its duty about a subject that is settled.
    function _countDuties(Node storage subject, uint256 medianDowntime) private {
        Config memory config_ = _config;
        uint256 agreed;
        uint64[] memory verdicts = subject.verdicts;
        for (uint256 i = 0; i < verdicts.length; ++i) {
            if (AuditRules.agrees(config_, uint24(verdicts[i] >> 32), medianDowntime)) agreed |= 1 << (verdicts[i] >> 56);
        }
        uint32[] memory group = subject.group;
        for (uint256 i = 0; i < group.length; ++i) {
            Node storage auditor = _nodes[group[i]];
            if (auditor.state != State.Active) continue;
            ++auditor.owed;
            if (agreed >> i & 1 == 1) ++auditor.kept;
        }
    }

    /// @dev Tokens that return nothing count as successful when they do not revert.
    function _move(bytes memory data) private {
        (bool ok, bytes memory answer) = address(token).call(data);
        if (!ok || (answer.length > 0 && (answer.length < 32 || abi.decode(answer, (uint256)) != 1))) revert TransferFailed();
    }
}
