// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {AuditRules} from "./AuditRules.sol";
import {AuditBase} from "./AuditBase.sol";
import {Config, Duty, Node, Outcome, Settlement, State, Verdict} from "./AuditTypes.sol";

/// @title Nodes that audit each other, and are paid for what the others measured.
/// @notice Every node stakes, and is audited by a group drawn at random. In the window before its reward date its auditors report; from
///         then on it claims: medians of the verdicts reduce its bounty, and the next group is drawn.
///
///         Tokens that somebody transfers to this contract are released evenly over time, in equal parts to the nodes that are active.
///         What a reduction keeps back is released again.
/// @dev    What always holds: a verdict counts once; a subject is never in its own group, and nobody twice in one; an epoch is paid once.
contract AuditManager is AuditBase {
    /// @notice The most nodes that are active at once.
    uint256 public constant MAX_NODES = 65_535;
    /// @notice The most verdicts of one report.
    uint256 public constant MAX_BATCH = 64;
    /// @notice The longest endpoint, in bytes.
    uint256 public constant MAX_ENDPOINT = 128;
    /// @notice The latency of a verdict whose auditor was never answered.
    uint32 public constant NO_LATENCY = type(uint32).max;

    /// @param owner_  Who sets parameters and releases.
    /// @param token_  An ERC-20 that moves exactly what it is told to.
    /// @param config_ The parameters.
    constructor(address owner_, IERC20 token_, Config memory config_) AuditBase(owner_, token_, config_) {}

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
        Node storage node = _present(id);
        if (msg.sender != node.owner) revert OnlyNodeOwner();
        delete nodeOf[node.operator];
        _describe(id, node, operator, hotkey, endpoint);
        emit NodeChanged(id, operator, hotkey, endpoint);
    }

    /// @notice Adds to the stake of a node. Anybody may.
    function addStake(uint32 id, uint128 amount) external once {
        Node storage node = _present(id);
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
        Node storage node = _nodes[id];
        if (msg.sender != node.owner) revert OnlyNodeOwner();
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
        Node storage node = _present(subject);
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
        _presentOfCaller(auditor);
        if (verdicts.length == 0 || verdicts.length > MAX_BATCH) revert BatchSize(verdicts.length);
        Config memory config_ = _config;
        bool taken;
        for (uint256 i = 0; i < verdicts.length; ++i) {
            if (_take(config_, auditor, verdicts[i])) taken = true;
        }
        if (!taken) {
            (Outcome outcome,) = _judge(config_, auditor, verdicts[0]);
            revert NothingReported(verdicts[0].subject, outcome);
        }
    }

    /// @notice Pays the bounty of the epoch that ended to the node's owner, and begins the next one with another group.
    function claim(uint32 id) external once returns (Settlement memory settled) {
        Node storage node = _presentOfCaller(id);
        if (block.timestamp < nextReward(id)) revert TooEarly(nextReward(id));
        _sync();
        settled = settlement(id);
        _countDuties(id, node, settled.downtime);
        uint32 epoch = node.epoch;
        (node.owed, node.kept) = (0, 0);
        bytes32 seed = node.count == 0 ? _freshSeed(id, epoch) : node.seed;
        (node.spent, node.count) = (0, 0);
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

    // ---- answers

    /// @notice A node; all zero for an id that is none.
    function nodeInfo(uint32 id) external view returns (Node memory) {
        return _nodes[id];
    }

    /// @notice Who audits it.
    function groupOf(uint32 subject) external view returns (uint32[] memory) {
        return _nodes[subject].group;
    }

    /// @notice The verdicts of its running epoch that count, in order of arrival: place in the group (8 bits), downtime in intervals (24),
    ///         latency in microseconds (32).
    function verdictsOf(uint32 subject) public view returns (uint64[] memory verdicts) {
        verdicts = new uint64[](_nodes[subject].count);
        for (uint256 i = 0; i < verdicts.length; ++i) {
            verdicts[i] = _verdicts[subject][i];
        }
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
        uint64[] memory verdicts = verdictsOf(id);
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

    // ---- inside

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

    /// @dev What would become of a verdict now, and the auditor's place in the group.
    function _judge(Config memory config_, uint32 auditor, Verdict calldata verdict) private view returns (Outcome, uint256 place) {
        Node storage subject = _nodes[verdict.subject];
        place = _placeOf(subject, auditor);
        if (place == MAX_GROUP) return (Outcome.NotAuditor, place);
        if (verdict.epoch != subject.epoch) return (Outcome.WrongEpoch, place);
        if (subject.spent & (uint64(1) << uint64(place)) != 0) return (Outcome.AlreadySent, place);
        uint256 all = AuditRules.intervals(config_);
        if (verdict.failed > verdict.known || verdict.known > all) return (Outcome.Malformed, place);
        uint256 date = nextReward(verdict.subject);
        if (block.timestamp < date - config_.deltaPeriod) return (Outcome.TooEarly, place);
        if (block.timestamp >= date) return (Outcome.Late, place);
        if (verdict.known == 0 || uint256(verdict.known) * 10_000 < all * config_.coverageBps) return (Outcome.LowCoverage, place);
        return (Outcome.Stored, place);
    }

    function _take(Config memory config_, uint32 auditor, Verdict calldata verdict) private returns (bool) {
        (Outcome outcome, uint256 place) = _judge(config_, auditor, verdict);
        if (outcome > Outcome.LowCoverage) {
            emit VerdictSkipped(verdict.subject, auditor, outcome);
            return false;
        }
        Node storage subject = _nodes[verdict.subject];
        subject.spent |= uint64(1) << uint64(place);
        uint256 downtime = AuditRules.downtimeOf(verdict, AuditRules.intervals(config_));
        if (outcome == Outcome.Stored) {
            uint8 count = subject.count;
            if (count == 0) subject.seed = _freshSeed(verdict.subject, verdict.epoch);
            _verdicts[verdict.subject][count] = uint64(place << 56 | downtime << 32 | verdict.latency);
            subject.count = count + 1;
        }
        emit VerdictReported(verdict.subject, auditor, verdict.epoch, outcome, uint32(downtime), verdict.latency);
        return true;
    }

    /// @dev Writes down of each auditor whether it did its duty about a subject that is settled.
    function _countDuties(uint32 id, Node storage subject, uint256 medianDowntime) private {
        Config memory config_ = _config;
        uint256 agreed;
        uint64[] memory verdicts = verdictsOf(id);
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
}
