// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @notice The parameters. Times are seconds, amounts base units of the token, `Bps` 1/10,000. They count at once, for running epochs too.
struct Config {
    /// From one bounty to the next: a node's epoch; at most 366 days.
    uint32 rewardPeriod;
    /// The verdict window before the reward date, and the time after it in which a claim is not late; not 0.
    uint32 deltaPeriod;
    /// One interval of measuring; not 0. An epoch without its window has at least one.
    uint32 checkTime;
    /// Latency up to which the bounty is whole, in microseconds; not 0.
    uint32 allowableLatency;
    /// Downtime up to this part (1/n) of the epoch's intervals costs nothing; not 0.
    uint16 toleranceDivisor;
    /// The part of a group whose verdicts are needed for any bounty; not 0, at most 10,000. One verdict is needed in any case.
    uint16 quorumBps;
    /// The part of the epoch's intervals that an auditor has to know for its verdict to count; at most 10,000.
    uint16 coverageBps;
    /// The part of a node's bounty that it loses for missing all of its own verdicts; at most 10,000.
    uint16 dutyBps;
    /// How many audit a node, where there are so many others; from 1 to `MAX_GROUP`.
    uint8 groupSize;
    /// Stake below which nobody registers, and the bounty is halved.
    uint128 minStake;
}

/// @notice Where a node is in its life.
enum State {
    /// Never registered.
    None,
    /// Audited, an auditor of others, and paid.
    Active,
    /// It audits its running groups and may claim once more.
    Leaving,
    /// Only its stake is left to it.
    Left
}

/// @notice A node.
struct Node {
    /// Who registered it, holds its stake and receives its bounties.
    address owner;
    /// What it does: 0 platform, 1 validator, 2 miner, 3 keeper.
    uint8 kind;
    State state;
    /// Its place among the active nodes, from 1; 0: not active.
    uint32 position;
    /// The account that reports and claims in its name.
    address operator;
    /// When it was paid last, or registered: the beginning of its epoch.
    uint40 lastReward;
    /// Verdicts of its own that were due since its last bounty.
    uint24 owed;
    /// How many of them were sent and agreed with the median.
    uint24 kept;
    uint128 stake;
    /// What every node had been promised when this epoch began.
    uint128 mark;
    /// What was promised to one that is leaving.
    uint128 due;
    /// Which members of its group have sent their verdict of this epoch, by place.
    uint64 spent;
    /// The number of its running epoch, from 1.
    uint32 epoch;
    /// Verdicts of this epoch that count.
    uint8 count;
    /// Its hotkey on the subnet (sr25519 public key); zero: none.
    bytes32 hotkey;
    /// What its next group is drawn from: fixed by the first verdict that counts; of an epoch before while there is none.
    bytes32 seed;
    /// Where it is measured: `http://HOST:PORT`.
    string endpoint;
    /// Who audits it in this epoch.
    uint32[] group;
}

/// @notice What one auditor measured of one peer in one epoch of the peer's.
struct Verdict {
    uint32 subject;
    /// The subject's epoch that was measured.
    uint32 epoch;
    /// Intervals of `checkTime` in which it did not serve; at most `known`.
    uint32 failed;
    /// Intervals in which the auditor measured at all; at most `intervals()`.
    uint32 known;
    /// Average over the answered probes, in microseconds; `NO_LATENCY` when none was answered.
    uint32 latency;
}

/// @notice What became of a verdict. The first three consume it; the others leave everything as it was.
enum Outcome {
    /// It counts.
    Stored,
    /// The window had closed; it does not count.
    Late,
    /// The auditor knows too little of the epoch; it does not count.
    LowCoverage,
    /// The window is not open yet.
    TooEarly,
    /// The auditor is not in the subject's group.
    NotAuditor,
    /// It was sent already.
    AlreadySent,
    /// The subject's running epoch is another.
    WrongEpoch,
    /// More failed than known, or more known than there are intervals.
    Malformed
}

/// @notice One peer that a node has to measure and report.
struct Duty {
    uint32 subject;
    uint32 epoch;
    uint8 kind;
    /// Whether the verdict of this epoch was consumed.
    bool sent;
    /// The beginning of the subject's epoch.
    uint40 epochStart;
    /// From when a verdict is accepted; what is measured ends here.
    uint40 windowStart;
    /// From when it is not; the subject's reward date.
    uint40 windowEnd;
    bytes32 hotkey;
    string endpoint;
}

/// @notice What a claim gives, and why.
struct Settlement {
    /// The median downtime, in intervals, without what a late claim adds.
    uint32 downtime;
    /// The median latency, in microseconds.
    uint32 latency;
    /// Intervals that a late claim adds.
    uint32 late;
    /// Verdicts that count, of so many auditors.
    uint32 verdicts;
    uint32 groupSize;
    /// Whether they are enough. Without them there is no bounty.
    bool quorum;
    /// Whether its stake is at least `minStake`.
    bool staked;
    /// Its own verdicts that were due, and those among them that were sent and agreed.
    uint32 owed;
    uint32 kept;
    /// The bounty before any reduction.
    uint128 maximum;
    uint128 bounty;
}

/// @title What the AuditManager says and refuses.
abstract contract AuditTypes {
    /// @notice `id` takes part. Its epoch begins now.
    event NodeRegistered(uint32 indexed id, address indexed owner, address indexed operator, uint8 kind, bytes32 hotkey, string endpoint);
    /// @notice Its operator, hotkey or endpoint is another.
    event NodeChanged(uint32 indexed id, address indexed operator, bytes32 hotkey, string endpoint);
    /// @notice `amount` was added to its stake.
    event Staked(uint32 indexed id, uint256 amount, uint256 stake);
    /// @notice It is active no more.
    event NodeExited(uint32 indexed id);
    /// @notice Its stake was paid back.
    event StakeWithdrawn(uint32 indexed id, address indexed to, uint256 amount);
    /// @notice `auditors` audit `subject` in its epoch `epoch`.
    event GroupDrawn(uint32 indexed subject, uint32 indexed epoch, uint32[] auditors);
    /// @notice A verdict was consumed; it counts when `outcome` is Stored. `downtime` is in intervals of the whole epoch.
    event VerdictReported(uint32 indexed subject, uint32 indexed auditor, uint32 indexed epoch, Outcome outcome, uint32 downtime, uint32 latency);
    /// @notice One verdict of a batch was passed over, and may be sent again.
    event VerdictSkipped(uint32 indexed subject, uint32 indexed auditor, Outcome outcome);
    /// @notice `owner` received `settlement.bounty` for the node's epoch `epoch`; the next reward date is `nextReward`.
    event BountyPaid(uint32 indexed id, uint32 indexed epoch, address indexed owner, Settlement settlement, uint40 nextReward);
    /// @notice `rate` base units a second are promised to all active nodes together, until `end`.
    event Released(uint256 rate, uint256 end);
    /// @notice The parameters are these.
    event SetConfig(Config config);
    /// @notice `to` was offered the ownership.
    event OwnershipOffered(address indexed to);
    /// @notice `to` owns the contract.
    event OwnershipTransferred(address indexed to);

    /// @notice Only the contract's owner may.
    error OnlyOwner();
    /// @notice Only whom the ownership was offered.
    error OnlyPendingOwner();
    /// @notice Only the node's owner may.
    error OnlyNodeOwner();
    /// @notice Only the node's operator or owner may.
    error OnlyNode();
    /// @notice There is no such node, or it is not in the state for it.
    error WrongState(uint32 id, State state);
    /// @notice This account is a node's operator already.
    error OperatorTaken(address operator);
    /// @notice The zero address.
    error ZeroAddress();
    /// @notice The endpoint is empty or longer than `MAX_ENDPOINT` bytes.
    error EndpointLength(uint256 length);
    /// @notice `amount` is less than is needed.
    error InsufficientStake(uint256 amount, uint256 needed);
    /// @notice More active nodes than `MAX_NODES`.
    error TooManyNodes();
    /// @notice No verdict of the batch was taken; the first was refused for this.
    error NothingReported(uint32 subject, Outcome outcome);
    /// @notice A batch has 1 to `MAX_BATCH` verdicts.
    error BatchSize(uint256 count);
    /// @notice The reward date is `nextReward`.
    error TooEarly(uint256 nextReward);
    /// @notice Groups are completed until `until` only: who comes later cannot know enough of the epoch.
    error TooLateToFill(uint256 until);
    /// @notice The group is as large as it can be, and all its members are active.
    error GroupIsWhole();
    /// @notice The end lies before now, or there is not one base unit a second to release.
    error NothingToRelease();
    /// @notice This parameter makes no sense.
    error InvalidConfig(string parameter);
    /// @notice The token is no contract.
    error NotAToken(address token);
    /// @notice The token refused, or moved another amount.
    error TransferFailed();
    /// @notice The token called back.
    error Reentered();
}
