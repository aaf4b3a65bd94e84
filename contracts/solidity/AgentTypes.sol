// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @notice Where a job's calldata comes from.
enum CalldataSource {
    /// Four bytes of the job's terms; by interval.
    Selector,
    /// Bytes that the owner stored; by interval.
    PreDefined,
    /// What the resolver answers, when it says that the job is due.
    Resolver
}

/// @notice The contract's parameters. Stakes are base units of the stake token, ether is wei, times are seconds.
struct Config {
    /// The least stake of an active keeper; not 0.
    uint96 minKeeperStake;
    /// What a slash takes in any case; at most half of `minKeeperStake`.
    uint96 slashingFeeFixed;
    /// From the request to the withdrawal of stake; at most 30 days.
    uint32 withdrawalTimeout;
    /// What a slash takes of the stake, in 1/10,000; at most 5,000.
    uint16 slashingFeeBps;
    /// Stake above it counts neither for compensation nor for slashing; 0: no limit.
    uint96 maxStake;
    /// Credits below which a job has no keeper.
    uint96 jobMinCredits;
    /// From the request to the activation of a keeper that was disabled; at most 30 days.
    uint32 activationTimeout;
    /// What is kept of a deposit, in 1/1,000,000; at most 50,000.
    uint24 feePpm;
    /// Blocks for which one keeper is the slasher; at least 3.
    uint8 slashingEpochBlocks;
    /// What a successful execution earns besides gas.
    uint64 jobFixedReward;
    /// A successful execution earns the executor's stake divided by this; not 0.
    uint64 stakeDivisor;
    /// The grace period of the assigned keeper; at least 15.
    uint24 period1;
    /// The slasher's window; at least 15.
    uint24 period2;
    /// What gas is multiplied by after a success, in 1/10,000; at least 10,000.
    uint16 compensationMultiplierBps;
    /// Gas that is paid besides what was measured; at most 1,000,000.
    uint32 gasOverhead;
    /// Until a failed job may be tried again, doubled with each failure in a row; not 0.
    uint16 retryBase;
    /// The greatest of these delays.
    uint16 retryCap;
}

/// @notice What a job's owner agrees to.
struct JobTerms {
    /// The contract that is called. Neither the Agent nor its stake token. It stays.
    address target;
    /// What is called of it; for RESOLVER what the calldata has to begin with, if CHECK_SELECTOR is set.
    bytes4 selector;
    /// Where the calldata comes from. It stays.
    CalldataSource source;
    /// Seconds between executions; 0 exactly for RESOLVER.
    uint24 interval;
    /// ACTIVE 1, OWNER_CREDITS 2, CHECK_SELECTOR 4, CALL_RESOLVER 16, DEFENCE 32.
    uint8 flags;
    /// Base fee above which the job need not be executed, in gwei; not 0. A defence job has no such cap, only its credits.
    uint16 maxBaseFeeGwei;
    /// Blocks from when a defence job is due until any active keeper may execute it.
    uint8 defenceWindow;
    /// Gas of the job's body; from 1 to 15,000,000.
    uint32 gasLimit;
    /// Stake that its keeper should have.
    uint96 minStake;
    /// Stake above it counts neither for compensation nor for slashing; 0: no limit.
    uint96 maxStake;
}

/// @notice A job as it is stored.
struct Job {
    address owner;
    /// Wei.
    uint96 credits;
    JobTerms terms;
    /// The assigned keeper; 0: none.
    uint24 keeper;
    /// Who initiated slashing; 0: nobody.
    uint24 reservedSlasher;
    /// Failures in a row.
    uint8 failures;
    /// When the reserved slasher may execute; 0: not initiated.
    uint40 slashingPossibleAfter;
    /// 0: never.
    uint40 lastExecutionAt;
    /// From when the first interval counts.
    uint40 anchorAt;
    /// When the keeper was assigned.
    uint40 assignedAt;
    /// Not to be executed before; 0: no failure.
    uint40 retryAt;
    address pendingOwner;
    /// The block in which the defence lane was opened; 0: it was not.
    uint40 defenceOpenAt;
    uint40 createdAt;
    address resolver;
    /// Predefined calldata, or the call of the resolver.
    bytes data;
}

/// @notice A keeper as it is stored.
struct Keeper {
    address admin;
    uint96 stake;
    address worker;
    /// Its place in the active set, from 1; 0: inactive.
    uint32 position;
    /// When it may become active; 0: not asked for.
    uint40 activationAt;
    /// Jobs assigned to it.
    uint24 assignedJobs;
    /// What the owner took and the next redemption covers.
    uint96 slashedStake;
    uint96 pendingWithdrawal;
    uint40 withdrawableAt;
    /// Earned and not withdrawn, in wei.
    uint96 compensation;
}

/// @title Constants, events and errors of the Agent.
abstract contract AgentTypes {
    /// @notice Flag: the job may be executed.
    uint8 internal constant ACTIVE = 0x01;
    /// @notice Flag: it is paid from its owner's credits instead of its own.
    uint8 internal constant OWNER_CREDITS = 0x02;
    /// @notice Flag: a RESOLVER job's calldata has to begin with its selector.
    uint8 internal constant CHECK_SELECTOR = 0x04;
    /// @notice Flag: the resolver is asked in the execution too, and only its calldata is accepted.
    uint8 internal constant CALL_RESOLVER = 0x10;
    /// @notice Flag: any active keeper may execute after the window; nobody is slashed; implies CALL_RESOLVER.
    uint8 internal constant DEFENCE = 0x20;
    uint8 internal constant ALL_FLAGS = 0x37;

    /// @notice Option of `execute`.
    uint256 internal constant ACCEPT_MAX_BASE_FEE = 0x01;
    /// @notice Option of `execute`.
    uint256 internal constant ACCRUE_REWARD = 0x02;

    /// @notice The greatest number of active keepers; a power of two.
    uint256 internal constant MAX_ACTIVE_KEEPERS = 1024;
    /// @notice How many keepers a draw looks at.
    uint256 internal constant MAX_PROBES = 64;
    /// @notice The most gas a job's body may be granted.
    uint256 internal constant MAX_JOB_GAS = 15_000_000;
    /// @notice Gas of a resolver.
    uint256 internal constant RESOLVER_GAS = 1_000_000;
    /// @notice Gas that has to be left after a job's body: the draw, the slash, the payment.
    uint256 internal constant RESERVED_GAS = 500_000;

    event SetConfig(Config config);
    event OwnershipOffered(address indexed to);
    event OwnershipTransferred(address indexed from, address indexed to);
    event WithdrawFees(address indexed to, uint256 amount);
    event OwnerSlash(uint256 indexed keeperId, address indexed to, uint256 current, uint256 pending);

    event RegisterAsKeeper(uint256 indexed keeperId, address indexed admin, address indexed worker);
    event Stake(uint256 indexed keeperId, address indexed staker, uint256 amount);
    event InitiateKeeperActivation(uint256 indexed keeperId, uint256 availableAt);
    event FinalizeKeeperActivation(uint256 indexed keeperId);
    event DisableKeeper(uint256 indexed keeperId);
    event SetWorkerAddress(uint256 indexed keeperId, address indexed previous, address indexed worker);
    event InitiateRedeem(uint256 indexed keeperId, uint256 amount, uint256 stakeAmount, uint256 availableAt);
    event FinalizeRedeem(uint256 indexed keeperId, address indexed to, uint256 amount);
    event WithdrawCompensation(uint256 indexed keeperId, address indexed to, uint256 amount);

    event RegisterJob(bytes32 indexed jobKey, address indexed target, uint256 indexed jobId, address owner, JobTerms terms);
    event UpdateJob(bytes32 indexed jobKey, JobTerms terms);
    event SetResolver(bytes32 indexed jobKey, address resolver, bytes data);
    event SetPreDefinedCalldata(bytes32 indexed jobKey, bytes data);
    event InitiateJobTransfer(bytes32 indexed jobKey, address indexed from, address indexed to);
    event AcceptJobTransfer(bytes32 indexed jobKey, address indexed from, address indexed to);
    event DepositJobCredits(bytes32 indexed jobKey, address indexed depositor, uint256 amount, uint256 fee);
    event DepositOwnerCredits(address indexed jobOwner, address indexed depositor, uint256 amount, uint256 fee);
    event WithdrawJobCredits(bytes32 indexed jobKey, address indexed to, uint256 amount);
    event WithdrawOwnerCredits(address indexed jobOwner, address indexed to, uint256 amount);
    /// @notice The assignment changed, or was confirmed; 0 is nobody.
    event JobKeeperChanged(bytes32 indexed jobKey, uint256 indexed previous, uint256 indexed next);

    event Execute(
        bytes32 indexed jobKey, uint256 indexed keeperId, address indexed target, bool ok, uint256 gasUsed, uint256 gasPrice, uint256 compensation
    );
    /// @notice The job's body failed `failures` times in a row; it may be tried again at `retryAt`.
    event ExecutionReverted(bytes32 indexed jobKey, uint256 indexed keeperId, uint256 failures, uint256 retryAt);
    event InitiateKeeperSlashing(
        bytes32 indexed jobKey, uint256 indexed slasherId, uint256 indexed assignedId, bool useResolver, uint256 possibleAfter
    );
    event SlashKeeper(bytes32 indexed jobKey, uint256 indexed assignedId, uint256 indexed slasherId, uint256 amount, uint256 missing);
    /// @notice Any active keeper may execute the job from block `opensAt` on.
    event OpenDefence(bytes32 indexed jobKey, address indexed by, uint256 opensAt);

    error ActivationNotInitiated();
    error AmountGtStake(uint256 amount, uint256 available);
    error AssignedKeeperCantSlash();
    error BaseFeeGtCap(uint256 baseFee, uint256 cap);
    error CantAssignKeeper();
    error CantRelease();
    error CreditsOverflow();
    error CreditsWithdrawalUnderflow(uint256 amount, uint256 available);
    error DefenceAlreadyOpen(uint256 openAt);
    /// @notice Opens at block `opensAt`; 0: not opened yet.
    error DefenceLaneClosed(uint256 opensAt);
    error ExecutionReentrancyLocked();
    error InactiveJob();
    error InactiveKeeper();
    error InsufficientAmount();
    error InsufficientAmountToCoverSlashedStake(uint256 amount, uint256 slashed);
    error InsufficientGas(uint256 needed);
    error InsufficientJobCredits(uint256 available, uint256 wanted);
    error InsufficientJobOwnerCredits(uint256 available, uint256 wanted);
    error InsufficientKeeperStake();
    error IntervalNotReached(uint256 lastExecutionAt, uint256 interval, uint256 now_);
    error InvalidConfig(string parameter);
    error InvalidFlags();
    error InvalidGasLimit();
    error InvalidInterval();
    error InvalidJobAddress();
    error InvalidKeeperId();
    error JobCheckCalldataError();
    error JobCheckCanBeExecuted();
    error JobCheckCanNotBeExecuted();
    error JobCheckResolverReturnedFalse();
    error JobHasKeeperAssigned(uint256 keeperId);
    error JobHasNoKeeperAssigned();
    error JobIdOverflow();
    error KeeperIsAlreadyActive();
    error KeeperIsAlreadyInactive();
    error KeeperIsAssignedToJobs(uint256 jobs);
    error KeeperShouldBeDisabledForStakeLTMinKeeperStake();
    error KeeperWorkerNotAuthorized();
    error MissingAmount();
    error MissingInputCalldata();
    error MissingMaxBaseFee();
    error MissingResolver();
    error NoPendingWithdrawal();
    error NonEOASender();
    error NonIntervalJob();
    error NotADefenceJob();
    error NotAToken();
    error NotSlashable();
    error NotSupportedByJobCalldataSource();
    error OnlyCurrentSlasher(uint256 slasherId);
    error OnlyJobOwner();
    error OnlyKeeperAdmin();
    error OnlyKeeperAdminOrWorker();
    error OnlyNextKeeper(uint256 assignedId, uint256 lastExecutionAt, uint256 interval, uint256 period1, uint256 now_);
    error OnlyOwner();
    error OnlyPendingOwner();
    error OnlyReservedSlasher(uint256 slasherId);
    error OnlySelf();
    error SelectorCheckFailed();
    error SlashingNotInitiated();
    error SlashingNotInitiatedExecutionReverted();
    error StakeAmountOverflow();
    error TargetAndSourceStay();
    error TokenTookFee();
    error TooEarlyForActivationFinalization(uint256 now_, uint256 availableAt);
    error TooEarlyForSlashing(uint256 now_, uint256 possibleAfter);
    error TooEarlyToReinitiateSlashing(uint256 now_, uint256 availableAt);
    error TooEarlyToRelease(uint256 availableAt, uint256 now_);
    error TooEarlyToRetry(uint256 now_, uint256 retryAt);
    error TooManyActiveKeepers();
    error TransferFailed();
    error UnknownJob();
    error WithdrawAmountExceedsAvailable(uint256 amount, uint256 available);
    error WithdrawalTimeoutNotReached(uint256 now_, uint256 availableAt);
    error WorkerAlreadyAssigned();
    error ZeroAddress();
}
