// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {AgentLens} from "./AgentLens.sol";
import {AgentBase} from "./AgentBase.sol";
import {AgentKeepers} from "./AgentKeepers.sol";
import {CalldataSource, Config, Job, JobTerms, Keeper} from "./AgentTypes.sol";

/// @title Jobs, and the staked keepers that execute them.
/// @notice A job's owner registers a call and when it is due, and pays for its execution in ether. Each job has one assigned
///         keeper, drawn from the active ones by their stake. A keeper that does not act in its grace period may be replaced by
///         a slasher, who takes a part of its stake. A job of the defence lane may be executed by any active keeper after a
///         short window, and nobody is slashed for it.
/// @dev    What always holds: the ether of this contract is at least all credits, compensations and fees; its stake token at
///         least all stakes and pending withdrawals; a job pays no more than the credits it draws on; a slash takes no more
///         than there is. While a job's body runs, only deposits of credits are accepted. The rules stand a second time, over
///         plain numbers, in keeper/src/rule; docs/keepers.md explains them. Times are seconds of the chain, amounts wei and
///         base units of the stake token.
contract Agent is AgentBase {
    /// @notice Answers for jobs and keepers, many in one call.
    AgentLens public immutable lens;
    /// @dev Where the calls of keepers and of parameters are handled.
    address private immutable _keepersPart;

    /// @param owner_       The first owner.
    /// @param stakeToken_  An ERC-20 that moves exactly what it is told to.
    /// @param ticketStake_ Base units for one ticket; not 0.
    /// @param config_      See `setConfig`.
    constructor(address owner_, IERC20 stakeToken_, uint256 ticketStake_, Config memory config_)
        AgentBase(address(this), stakeToken_, ticketStake_)
    {
        if (owner_ == address(0)) revert ZeroAddress();
        if (address(stakeToken_).code.length == 0) revert NotAToken();
        if (ticketStake_ == 0) revert MissingAmount();
        owner = owner_;
        lens = new AgentLens(this);
        _keepersPart = address(new AgentKeepers(stakeToken_, ticketStake_));
        owner = msg.sender;
        (bool ok, bytes memory answer) = _keepersPart.delegatecall(abi.encodeCall(AgentKeepers.setConfig, (config_)));
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        owner = owner_;
        emit OwnershipTransferred(address(0), owner_);
    }

    /// @dev Lets the other half handle what is not here: keepers, parameters, and the owner's slash. The artifact's ABI, as
    ///      `compile.mjs` writes it, has both halves.
    fallback() external {
        address part = _keepersPart;
        assembly ("memory-safe") {
            let input := mload(0x40)
            calldatacopy(input, 0, calldatasize())
            let ok := delegatecall(gas(), part, input, calldatasize(), 0, 0)
            returndatacopy(input, 0, returndatasize())
            if ok { return(input, returndatasize()) }
            revert(input, returndatasize())
        }
    }

    // ---------------------------------------------------------------- the owner

    /// @notice Offers the owner's place; the other has to accept.
    function transferOwnership(address to) external onlyOwner unlocked {
        pendingOwner = to;
        emit OwnershipOffered(to);
    }

    /// @notice Takes the offered place.
    function acceptOwnership() external unlocked {
        if (msg.sender != pendingOwner) revert OnlyPendingOwner();
        emit OwnershipTransferred(owner, msg.sender);
        (owner, pendingOwner) = (msg.sender, address(0));
    }

    /// @notice Sends all fees to `to`.
    function withdrawFees(address to) external onlyOwner lock {
        uint256 amount = fees;
        if (amount == 0) revert MissingAmount();
        fees = 0;
        emit WithdrawFees(to, amount);
        _sendEther(to, amount);
    }

    // ---------------------------------------------------------------- jobs

    /// @notice Registers a job of the caller's and credits the ether sent with it, less the fee.
    /// @param terms    What is called, when, and on what conditions.
    /// @param resolver Who says whether a RESOLVER job is due; zero for the others.
    /// @param data     The calldata of a PRE_DEFINED job; the call of the resolver of a RESOLVER job; empty for a SELECTOR job.
    function registerJob(JobTerms calldata terms, address resolver, bytes calldata data)
        external
        payable
        unlocked
        returns (bytes32 jobKey, uint256 jobId)
    {
        address target = terms.target;
        jobId = ++lastJobId[target];
        if (jobId > type(uint24).max) revert JobIdOverflow();
        if (target == address(0)) revert ZeroAddress();
        if (target == address(stakeToken) || target == address(this)) revert InvalidJobAddress();
        jobKey = keccak256(abi.encodePacked(target, uint24(jobId)));
        Job storage job = _jobs[jobKey];
        (job.owner, job.createdAt) = (msg.sender, uint40(block.timestamp));
        (job.resolver, job.data) = (resolver, data);
        if (terms.source == CalldataSource.Resolver && resolver == address(0)) revert MissingResolver();
        _setTerms(job, terms);
        emit RegisterJob(jobKey, target, jobId, msg.sender, terms);
        if (msg.value != 0) _credit(jobKey, job);
        _settle(jobKey, job, true);
    }

    /// @notice Changes the terms of a job; its target and source stay. Failures are forgotten.
    function updateJob(bytes32 jobKey, JobTerms calldata terms) external unlocked {
        Job storage job = _ownedJob(jobKey);
        if (terms.target != job.terms.target || terms.source != job.terms.source) revert TargetAndSourceStay();
        bool restart = (terms.flags ^ job.terms.flags) & (ACTIVE | OWNER_CREDITS) != 0;
        _setTerms(job, terms);
        _forgive(job);
        emit UpdateJob(jobKey, terms);
        _settle(jobKey, job, restart);
    }

    /// @notice Changes the resolver of a RESOLVER job and its calldata. Failures and slashing under way are forgotten.
    function setResolver(bytes32 jobKey, address resolver, bytes calldata data) external unlocked {
        Job storage job = _ownedJob(jobKey);
        if (job.terms.source != CalldataSource.Resolver) revert NotSupportedByJobCalldataSource();
        if (resolver == address(0)) revert MissingResolver();
        job.resolver = resolver;
        job.data = data;
        _forgive(job);
        emit SetResolver(jobKey, resolver, data);
        _settle(jobKey, job, false);
    }

    /// @notice Changes the calldata of a PRE_DEFINED job. Failures are forgotten.
    function setPreDefinedCalldata(bytes32 jobKey, bytes calldata data) external unlocked {
        Job storage job = _ownedJob(jobKey);
        if (job.terms.source != CalldataSource.PreDefined) revert NotSupportedByJobCalldataSource();
        job.data = data;
        _forgive(job);
        emit SetPreDefinedCalldata(jobKey, data);
        _settle(jobKey, job, false);
    }

    /// @notice Offers a job to `to`, who has to accept. A second offer replaces the first.
    function initiateJobTransfer(bytes32 jobKey, address to) external unlocked {
        _ownedJob(jobKey).pendingOwner = to;
        emit InitiateJobTransfer(jobKey, msg.sender, to);
    }

    /// @notice Takes an offered job.
    function acceptJobTransfer(bytes32 jobKey) external unlocked {
        Job storage job = _jobs[jobKey];
        if (msg.sender != job.pendingOwner) revert OnlyPendingOwner();
        emit AcceptJobTransfer(jobKey, job.owner, msg.sender);
        (job.owner, job.pendingOwner) = (msg.sender, address(0));
        _settle(jobKey, job, true);
    }

    /// @notice Credits a job with the ether sent, less the fee. Anyone may, a job's own body too.
    function depositJobCredits(bytes32 jobKey) external payable {
        Job storage job = _job(jobKey);
        _credit(jobKey, job);
        if (job.keeper == 0) _settle(jobKey, job, true);
    }

    /// @notice Credits an owner with the ether sent, less the fee, and assigns a keeper to those of `jobKeys` that have none.
    function depositOwnerCredits(address jobOwner, bytes32[] calldata jobKeys) external payable {
        uint256 amount = _takeFee();
        ownerCredits[jobOwner] += amount;
        emit DepositOwnerCredits(jobOwner, msg.sender, amount, msg.value - amount);
        for (uint256 i = 0; i < jobKeys.length; ++i) {
            Job storage job = _job(jobKeys[i]);
            if (job.keeper == 0 && job.owner == jobOwner) _settle(jobKeys[i], job, true);
        }
    }

    /// @notice Takes credits out of a job; `type(uint256).max` is all of them. Its keeper is released when too few are left.
    function withdrawJobCredits(bytes32 jobKey, address to, uint256 amount) external lock {
        Job storage job = _ownedJob(jobKey);
        amount = _debitFor(amount, job.credits);
        job.credits -= uint96(amount);
        emit WithdrawJobCredits(jobKey, to, amount);
        _settle(jobKey, job, false);
        _sendEther(to, amount);
    }

    /// @notice Takes the caller's own credits; `type(uint256).max` is all of them.
    function withdrawOwnerCredits(address to, uint256 amount) external lock {
        uint256 available = ownerCredits[msg.sender];
        amount = _debitFor(amount, available);
        ownerCredits[msg.sender] = available - amount;
        emit WithdrawOwnerCredits(msg.sender, to, amount);
        _sendEther(to, amount);
    }

    /// @notice Assigns keepers to the caller's jobs that have none.
    function assignKeeper(bytes32[] calldata jobKeys) external unlocked {
        for (uint256 i = 0; i < jobKeys.length; ++i) {
            Job storage job = _ownedJob(jobKeys[i]);
            if (job.keeper != 0) revert JobHasKeeperAssigned(job.keeper);
            _settle(jobKeys[i], job, true);
            if (job.keeper == 0) revert CantAssignKeeper();
        }
    }

    /// @notice Releases a job's keeper. The job's owner and this contract's may at any time; it stays without a keeper then. The
    ///         keeper itself may when credits are short; when the slasher too let its time pass; or, once it is disabled, while
    ///         nothing is due. Another keeper is drawn then.
    function releaseJob(bytes32 jobKey) external unlocked {
        Job storage job = _job(jobKey);
        uint256 keeperId = job.keeper;
        if (keeperId == 0) revert JobHasNoKeeperAssigned();
        if (msg.sender == job.owner || msg.sender == owner) {
            _assign(jobKey, job, 0);
            return;
        }
        Keeper storage keeper = _keepers[keeperId];
        if (msg.sender != keeper.admin && msg.sender != keeper.worker) revert OnlyKeeperAdminOrWorker();
        if (_eligible(job)) {
            bool interval = job.terms.interval != 0;
            uint256 start = interval ? _graceFrom(job) : job.slashingPossibleAfter;
            uint256 period = interval ? _config.period1 + _config.period2 : _config.period2;
            if (start == 0 || block.timestamp < start + period) {
                bool handsOver = keeper.position == 0 && (interval ? block.timestamp < start : start == 0);
                if (!handsOver) {
                    if (start == 0) revert CantRelease();
                    revert TooEarlyToRelease(start + period, block.timestamp);
                }
            }
        }
        _clearSlashing(job);
        _choose(jobKey, job, keeperId);
    }

    // ---------------------------------------------------------------- execution

    /// @notice Executes a job as `keeperId`, whose worker is the caller, and pays for it.
    /// @param options  ACCEPT_MAX_BASE_FEE: execute although the base fee is above the job's, paid by the job's.
    ///                 ACCRUE_REWARD: keep the payment for `withdrawCompensation`.
    /// @param jobCalldata What a RESOLVER job is called with; ignored by the others.
    function execute(bytes32 jobKey, uint256 keeperId, uint256 options, bytes calldata jobCalldata) external {
        uint256 gasBefore = gasleft();
        if (_locked) revert ExecutionReentrancyLocked();
        _locked = true;
        if (msg.sender != tx.origin) revert NonEOASender();
        Job storage job = _job(jobKey);
        _requireWorker(keeperId);
        if (job.terms.flags & ACTIVE == 0) revert InactiveJob();
        uint256 price = _priceOf(job, keeperId, options);
        bool ok = _perform(jobKey, job, keeperId, jobCalldata);
        uint256 gasUsed = gasBefore - gasleft();
        uint256 amount = _charge(job, keeperId, ok, price, gasUsed);
        _pay(keeperId, amount, options);
        _finish(jobKey, job, keeperId, ok);
        emit Execute(jobKey, keeperId, job.terms.target, ok, gasUsed, price, amount);
        _locked = false;
    }

    /// @notice Begins to slash the assigned keeper of a RESOLVER job that is executable; the caller is reserved as the slasher.
    /// @param useResolver Whether the resolver's answer is enough; otherwise the call itself is tried too, with `jobCalldata`.
    function initiateKeeperSlashing(bytes32 jobKey, uint256 keeperId, bool useResolver, bytes calldata jobCalldata) external lock {
        _requireWorker(keeperId);
        if (_keepers[keeperId].position == 0) revert InactiveKeeper();
        Job storage job = _job(jobKey);
        if (job.terms.flags & ACTIVE == 0) revert InactiveJob();
        if (job.terms.interval != 0) revert NonIntervalJob();
        if (job.terms.flags & DEFENCE != 0) revert NotSlashable();
        uint256 assigned = job.keeper;
        if (assigned == 0) revert JobHasNoKeeperAssigned();
        if (assigned == keeperId) revert AssignedKeeperCantSlash();
        if (job.retryAt > block.timestamp) revert TooEarlyToRetry(block.timestamp, job.retryAt);
        if (block.basefee > uint256(job.terms.maxBaseFeeGwei) * 1 gwei) revert BaseFeeGtCap(block.basefee, uint256(job.terms.maxBaseFeeGwei) * 1 gwei);
        uint256 slasher = currentSlasher(jobKey);
        if (slasher != keeperId) revert OnlyCurrentSlasher(slasher);
        uint256 after_ = job.slashingPossibleAfter;
        if (after_ != 0 && after_ + _config.period2 > block.timestamp) {
            revert TooEarlyToReinitiateSlashing(block.timestamp, after_ + _config.period2);
        }
        if (useResolver) {
            (bool due,,) = _askResolver(job);
            if (!due) revert JobCheckResolverReturnedFalse();
        } else {
            _try(jobKey, job, jobCalldata);
        }
        uint256 readyAt = block.timestamp + _config.period1;
        (job.reservedSlasher, job.slashingPossibleAfter) = (uint24(keeperId), uint40(readyAt));
        emit InitiateKeeperSlashing(jobKey, keeperId, assigned, useResolver, readyAt);
    }

    /// @notice Opens the lane of a defence job whose resolver says that it is due, but not since when. For the worker of an
    ///         active keeper and the job's owner. Any active keeper may execute `defenceWindow` blocks later.
    function openDefence(bytes32 jobKey) external lock {
        Job storage job = _job(jobKey);
        if (job.terms.flags & DEFENCE == 0) revert NotADefenceJob();
        if (job.terms.flags & ACTIVE == 0) revert InactiveJob();
        if (job.defenceOpenAt != 0) revert DefenceAlreadyOpen(job.defenceOpenAt);
        if (msg.sender != job.owner && _keepers[keeperOf[msg.sender]].position == 0) revert InactiveKeeper();
        (bool due,,) = _askResolver(job);
        if (!due) revert JobCheckResolverReturnedFalse();
        job.defenceOpenAt = uint40(block.number);
        emit OpenDefence(jobKey, msg.sender, block.number + job.terms.defenceWindow);
    }

    /// @notice Tries a job's call and reverts always: with `JobCheckCanBeExecuted` when it would go through. For this contract only.
    function simulate(bytes32 jobKey, bytes calldata data) external {
        if (msg.sender != address(this)) revert OnlySelf();
        if (_call(_jobs[jobKey], data)) revert JobCheckCanBeExecuted();
        revert JobCheckCanNotBeExecuted();
    }

    // ---------------------------------------------------------------- views

    /// @notice All parameters.
    function config() external view returns (Config memory) {
        return _config;
    }

    /// @notice A keeper; all zero when there is none.
    function keeperInfo(uint256 keeperId) external view returns (Keeper memory) {
        return _keepers[keeperId];
    }

    /// @notice A job; all zero when there is none.
    function jobInfo(bytes32 jobKey) external view returns (Job memory) {
        return _jobs[jobKey];
    }

    /// @notice The ids of the active keepers, in the order of the draw.
    function activeKeepers() external view returns (uint24[] memory) {
        return _active;
    }

    /// @notice The tickets of all active keepers.
    function totalTickets() public view returns (uint256) {
        return _tree[MAX_ACTIVE_KEEPERS];
    }

    /// @notice The keeper that this random number draws for a job; 0: nobody.
    /// @param exclude A keeper that is passed over; 0: none.
    function draw(bytes32 jobKey, uint256 random, uint256 exclude) public view returns (uint256 keeperId) {
        return _draw(jobKey, random, exclude, _config.minKeeperStake);
    }

    /// @notice Who may slash the job's assigned keeper in this block; 0: nobody.
    /// @dev    Nobody knows it before the epoch begins: it hangs on the hash of the block before the epoch's first. Never the
    ///         assigned keeper itself. A keeper with exactly the least stake is good enough here.
    function currentSlasher(bytes32 jobKey) public view returns (uint256 keeperId) {
        uint256 first = block.number - block.number % _config.slashingEpochBlocks;
        uint256 random = first == 0 ? 0 : uint256(blockhash(first - 1));
        return _draw(jobKey, random, _jobs[jobKey].keeper, uint256(_config.minKeeperStake) - 1);
    }

    /// @notice Whether the job is active and has the credits that a keeper wants to see.
    function isEligible(bytes32 jobKey) external view returns (bool) {
        return _eligible(_jobs[jobKey]);
    }

    /// @notice From when on an INTERVAL job may be executed; a RESOLVER job is not held up before its `retryAt`.
    function dueAt(bytes32 jobKey) external view returns (uint256) {
        return _dueAt(_jobs[jobKey]);
    }

    /// @notice What an execution costs, in wei; each term is rounded down on its own.
    /// @param ok       Whether the call went through; otherwise only gas is paid.
    /// @param gasPrice Wei per gas.
    /// @param staked   The executor's stake.
    /// @param maxStake The job's cap on it; 0: none.
    function compensation(bool ok, uint256 gasPrice, uint256 gasUsed, uint256 staked, uint256 maxStake) public view returns (uint256) {
        Config storage c = _config;
        uint256 gasCost = gasPrice * (gasUsed + c.gasOverhead);
        if (!ok) return gasCost;
        return c.jobFixedReward + gasCost * c.compensationMultiplierBps / 10_000 + _capped(staked, maxStake) / c.stakeDivisor;
    }

    /// @notice What a slash would take of a stake, and what would be missing.
    function slashOf(uint256 staked, uint256 maxStake) public view returns (uint256 taken, uint256 missing) {
        taken = _config.slashingFeeFixed + _capped(staked, maxStake) * _config.slashingFeeBps / 10_000;
        if (taken > staked) (taken, missing) = (staked, taken - staked);
    }

    // ---------------------------------------------------------------- who may execute

    /// @dev Wei per gas. A defence job knows no cap, only the limit of its credits.
    function _priceOf(Job storage job, uint256 keeperId, uint256 options) private view returns (uint256 price) {
        price = block.basefee;
        uint256 cap = uint256(job.terms.maxBaseFeeGwei) * 1 gwei;
        if (price > cap && job.terms.flags & DEFENCE == 0) {
            // Nobody is slashed for not working below cost.
            if (options & ACCEPT_MAX_BASE_FEE == 0 || keeperId != job.keeper) revert BaseFeeGtCap(price, cap);
            price = cap;
        }
    }

    /// @dev Reverts unless the keeper may execute the job now. Answers whether a failing call is recorded and paid.
    function _authorise(bytes32 jobKey, Job storage job, uint256 keeperId, uint256 since) private view returns (bool mayFail) {
        uint256 assigned = job.keeper;
        if (job.retryAt > block.timestamp) revert TooEarlyToRetry(block.timestamp, job.retryAt);
        if (job.terms.flags & DEFENCE != 0) {
            uint256 window = job.terms.defenceWindow;
            uint256 open = job.defenceOpenAt;
            if (since != 0 && since <= block.number && (open == 0 || since < open)) open = since;
            if (keeperId != assigned) {
                if (_keepers[keeperId].position == 0) revert InactiveKeeper();
                if (assigned != 0 && window != 0 && (open == 0 || block.number < open + window)) {
                    revert DefenceLaneClosed(open == 0 ? 0 : open + window);
                }
            }
            return open != 0;
        }
        if (assigned == 0) revert JobHasNoKeeperAssigned();
        if (job.terms.interval != 0) {
            uint256 due = _dueAt(job);
            if (block.timestamp < due) {
                if (keeperId != assigned) _onlyNextKeeper(job, assigned);
                revert IntervalNotReached(job.lastExecutionAt, job.terms.interval, block.timestamp);
            }
            if (keeperId != assigned) {
                if (block.timestamp < _graceFrom(job) + _config.period1) _onlyNextKeeper(job, assigned);
                uint256 slasher = currentSlasher(jobKey);
                if (slasher != keeperId) revert OnlyCurrentSlasher(slasher);
            }
            return true;
        }
        uint256 possibleAfter = job.slashingPossibleAfter;
        if (keeperId != assigned) {
            if (possibleAfter == 0) revert SlashingNotInitiated();
            if (block.timestamp < possibleAfter) revert TooEarlyForSlashing(block.timestamp, possibleAfter);
            if (keeperId != job.reservedSlasher) revert OnlyReservedSlasher(job.reservedSlasher);
        }
        return possibleAfter != 0;
    }

    function _onlyNextKeeper(Job storage job, uint256 assigned) private view {
        revert OnlyNextKeeper(assigned, job.lastExecutionAt, job.terms.interval, _config.period1, block.timestamp);
    }

    function _requireWorker(uint256 keeperId) private view {
        Keeper storage keeper = _keepers[keeperId];
        if (msg.sender != keeper.worker) revert KeeperWorkerNotAuthorized();
        if (keeper.stake < _config.minKeeperStake) revert InsufficientKeeperStake();
    }

    /// @dev The first run too is a whole interval away, for everybody.
    function _dueAt(Job storage job) private view returns (uint256 readyAt) {
        readyAt = job.terms.interval == 0 ? 0 : uint256(job.lastExecutionAt > job.anchorAt ? job.lastExecutionAt : job.anchorAt) + job.terms.interval;
        if (job.retryAt > readyAt) readyAt = job.retryAt;
    }

    /// @dev Whoever was assigned when the job was due already has a grace period of its own.
    function _graceFrom(Job storage job) private view returns (uint256 from) {
        from = _dueAt(job);
        if (job.assignedAt > from) from = job.assignedAt;
    }

    // ---------------------------------------------------------------- the call

    function _perform(bytes32 jobKey, Job storage job, uint256 keeperId, bytes calldata given) private returns (bool ok) {
        (bytes memory data, uint256 since) = _calldataOf(jobKey, job, given, keeperId != job.keeper);
        bool mayFail = _authorise(jobKey, job, keeperId, since);
        ok = _call(job, data);
        if (!ok && !mayFail) revert SlashingNotInitiatedExecutionReverted();
    }

    /// @dev What the job is called with, the job's key included, and the block since when it is due, if its resolver says so. A
    ///      RESOLVER job's calldata is checked as its flags say, and in any case by `check`, for a slasher: nobody is slashed for
    ///      a job that is not due.
    function _calldataOf(bytes32 jobKey, Job storage job, bytes calldata given, bool check)
        private
        view
        returns (bytes memory data, uint256 since)
    {
        if (job.terms.source == CalldataSource.Selector) return (abi.encodePacked(job.terms.selector, jobKey), 0);
        if (job.terms.source == CalldataSource.PreDefined) return (abi.encodePacked(job.data, jobKey), 0);
        if (given.length < 4) revert MissingInputCalldata();
        if (job.terms.flags & CHECK_SELECTOR != 0 && bytes4(given) != job.terms.selector) revert SelectorCheckFailed();
        if (check || job.terms.flags & (CALL_RESOLVER | DEFENCE) != 0) {
            bool due;
            bytes32 wanted;
            (due, wanted, since) = _askResolver(job);
            if (!due) revert JobCheckResolverReturnedFalse();
            if (keccak256(given) != wanted) revert JobCheckCalldataError();
        }
        data = abi.encodePacked(given, jobKey);
    }

    /// @dev The job's body, with the gas that its owner granted and no answer taken. A keeper cannot make it fail by bringing
    ///      too little gas: then nothing happens at all.
    function _call(Job storage job, bytes memory data) private returns (bool ok) {
        uint256 granted = job.terms.gasLimit;
        // EIP-150 keeps one part in 64 back.
        if (gasleft() < granted + granted / 63 + RESERVED_GAS) revert InsufficientGas(granted + granted / 63 + RESERVED_GAS);
        address target = job.terms.target;
        assembly ("memory-safe") {
            ok := call(granted, target, 0, add(data, 32), mload(data), 0, 0)
        }
    }

    /// @dev Asks with bounded gas, and takes only an answer of bounded size that is `(bool, bytes)` or `(bool, bytes, uint256)`.
    ///      Anything else is "not due".
    /// @return due   Whether the job is executable.
    /// @return wanted The hash of the calldata that it asks for.
    /// @return since The block since when it is executable; 0 when it does not say.
    function _askResolver(Job storage job) private view returns (bool due, bytes32 wanted, uint256 since) {
        bytes memory data = job.data;
        address resolver = job.resolver;
        // With too little gas it is "not due", and the whole call reverts: nobody gains by that.
        uint256 limit = RESOLVER_GAS;
        assembly ("memory-safe") {
            let ok := staticcall(limit, resolver, add(data, 32), mload(data), 0, 0)
            let size := returndatasize()
            if and(ok, and(gt(size, 95), lt(size, 16385))) {
                let answer := mload(0x40)
                returndatacopy(answer, 0, size)
                let offset := mload(add(answer, 32))
                if and(eq(mload(answer), 1), lt(offset, sub(size, 31))) {
                    let length := mload(add(answer, offset))
                    if iszero(gt(length, sub(sub(size, 32), offset))) {
                        due := 1
                        wanted := keccak256(add(add(answer, offset), 32), length)
                        if gt(offset, 95) { since := mload(add(answer, 64)) }
                    }
                }
            }
        }
    }

    /// @dev Reverts unless the job's call goes through; nothing of the trial stays.
    function _try(bytes32 jobKey, Job storage job, bytes calldata given) private {
        (bytes memory data,) = _calldataOf(jobKey, job, given, true);
        (, bytes memory answer) = address(this).call(abi.encodeCall(this.simulate, (jobKey, data)));
        if (bytes4(answer) == JobCheckCanBeExecuted.selector) return;
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }

    // ---------------------------------------------------------------- after the call

    function _charge(Job storage job, uint256 keeperId, bool ok, uint256 price, uint256 gasUsed) private returns (uint256) {
        return _debit(job, compensation(ok, price, gasUsed, _keepers[keeperId].stake, job.terms.maxStake), ok);
    }

    /// @dev Takes credits; no more than there are. A call that went through has to be paid in full, except in defence.
    function _debit(Job storage job, uint256 amount, bool ok) private returns (uint256) {
        bool byOwner = job.terms.flags & OWNER_CREDITS != 0;
        uint256 available = byOwner ? ownerCredits[job.owner] : job.credits;
        if (amount > available) {
            if (ok && job.terms.flags & DEFENCE == 0) {
                if (byOwner) revert InsufficientJobOwnerCredits(available, amount);
                revert InsufficientJobCredits(available, amount);
            }
            amount = available;
        }
        if (byOwner) ownerCredits[job.owner] = available - amount;
        else job.credits = uint96(available - amount);
        return amount;
    }

    function _pay(uint256 keeperId, uint256 amount, uint256 options) private {
        if (options & ACCRUE_REWARD == 0) {
            (bool sent,) = msg.sender.call{value: amount}("");
            if (sent) return;
        }
        _keepers[keeperId].compensation += uint96(amount);
    }

    function _finish(bytes32 jobKey, Job storage job, uint256 keeperId, bool ok) private {
        job.lastExecutionAt = uint40(block.timestamp);
        uint256 assigned = job.keeper;
        uint256 exclude;
        if (ok) {
            (job.failures, job.retryAt, job.defenceOpenAt) = (0, 0, 0);
            if (assigned != keeperId && assigned != 0 && job.terms.flags & DEFENCE == 0) _slash(jobKey, job, assigned, keeperId);
        } else {
            uint256 failures = job.failures;
            if (failures < type(uint8).max) job.failures = uint8(failures + 1);
            uint256 wait = retryDelay(job.terms.flags & DEFENCE != 0 ? 0 : failures);
            job.retryAt = uint40(block.timestamp + wait);
            emit ExecutionReverted(jobKey, keeperId, failures + 1, block.timestamp + wait);
            exclude = keeperId;
        }
        _clearSlashing(job);
        _choose(jobKey, job, exclude);
    }

    /// @notice Seconds until a job may be tried again after `failures` earlier failures in a row.
    function retryDelay(uint256 failures) public view returns (uint256 wait) {
        Config storage c = _config;
        wait = failures >= 16 ? c.retryCap : uint256(c.retryBase) << failures;
        if (wait > c.retryCap) wait = c.retryCap;
    }

    function _slash(bytes32 jobKey, Job storage job, uint256 victimId, uint256 slasherId) private {
        Keeper storage victim = _keepers[victimId];
        (uint256 taken, uint256 missing) = slashOf(victim.stake, job.terms.maxStake);
        _setStake(victim, victim.stake - taken);
        Keeper storage slasher = _keepers[slasherId];
        _setStake(slasher, slasher.stake + taken);
        emit SlashKeeper(jobKey, victimId, slasherId, taken, missing);
        if (victim.position != 0 && victim.stake < _config.minKeeperStake) _deactivate(victimId, victim);
    }

    // ---------------------------------------------------------------- the draw

    /// @dev Draws by tickets, then goes on in the order of the set to the first with enough stake. When nobody has what the job
    ///      wants, the one with the most, if it is above `floor`.
    function _draw(bytes32 jobKey, uint256 random, uint256 exclude, uint256 floor) private view returns (uint256 best) {
        uint256 count = _active.length;
        if (count == 0) return 0;
        uint256 required = _jobs[jobKey].terms.minStake;
        uint256 minimum = _config.minKeeperStake;
        if (required < minimum) required = minimum;
        uint256 index;
        unchecked {
            index = _find((random + uint256(jobKey)) % totalTickets());
        }
        uint256 most = floor;
        uint256 probes = count < MAX_PROBES ? count : MAX_PROBES;
        for (uint256 i = 0; i < probes; ++i) {
            uint256 id = _active[(index + i) % count];
            if (id == exclude) continue;
            uint256 staked = _keepers[id].stake;
            if (staked >= required) return id;
            if (staked > most) (most, best) = (staked, id);
        }
    }

    /// @dev The index in the active set that holds this ticket.
    function _find(uint256 ticket) private view returns (uint256 index) {
        for (uint256 step = MAX_ACTIVE_KEEPERS; step != 0; step >>= 1) {
            if (index + step > _active.length) continue;
            uint256 below = _tree[index + step];
            if (below <= ticket) {
                ticket -= below;
                index += step;
            }
        }
    }

    // ---------------------------------------------------------------- assignment

    /// @dev Brings the assignment in line with the job's state: a keeper when it is eligible, none when it is not.
    /// @param restart Whether an INTERVAL job that gets a keeper begins a whole interval.
    function _settle(bytes32 jobKey, Job storage job, bool restart) private {
        if (!_eligible(job)) {
            if (job.keeper != 0) _assign(jobKey, job, 0);
        } else if (job.keeper == 0 && restart) {
            job.anchorAt = uint40(block.timestamp);
            _choose(jobKey, job, 0);
        }
    }

    /// @dev Draws anew; whoever is excluded gets it only when there is nobody else.
    function _choose(bytes32 jobKey, Job storage job, uint256 exclude) private {
        uint256 next;
        if (_eligible(job)) {
            next = draw(jobKey, block.prevrandao, exclude);
            if (next == 0 && exclude != 0) next = draw(jobKey, block.prevrandao, 0);
        }
        _assign(jobKey, job, next);
    }

    function _assign(bytes32 jobKey, Job storage job, uint256 next) private {
        uint256 previous = job.keeper;
        if (next != 0) job.assignedAt = uint40(block.timestamp);
        if (previous != next) {
            if (previous != 0) --_keepers[previous].assignedJobs;
            if (next != 0) ++_keepers[next].assignedJobs;
            job.keeper = uint24(next);
        }
        if (next == 0) _clearSlashing(job);
        emit JobKeeperChanged(jobKey, previous, next);
    }

    function _eligible(Job storage job) private view returns (bool) {
        if (job.terms.flags & ACTIVE == 0) return false;
        uint256 credits = job.terms.flags & OWNER_CREDITS != 0 ? ownerCredits[job.owner] : job.credits;
        return credits >= _config.jobMinCredits;
    }

    function _clearSlashing(Job storage job) private {
        if (job.slashingPossibleAfter != 0) (job.slashingPossibleAfter, job.reservedSlasher) = (0, 0);
    }

    function _forgive(Job storage job) private {
        (job.failures, job.retryAt) = (0, 0);
        _clearSlashing(job);
    }

    // ---------------------------------------------------------------- small parts

    function _setTerms(Job storage job, JobTerms calldata terms) private {
        if ((terms.interval == 0) != (terms.source == CalldataSource.Resolver)) revert InvalidInterval();
        if (terms.flags & ~ALL_FLAGS != 0 || (terms.flags & DEFENCE != 0 && terms.interval != 0)) revert InvalidFlags();
        if (terms.maxBaseFeeGwei == 0) revert MissingMaxBaseFee();
        if (terms.gasLimit == 0 || terms.gasLimit > MAX_JOB_GAS) revert InvalidGasLimit();
        job.terms = terms;
    }

    function _credit(bytes32 jobKey, Job storage job) private {
        uint256 amount = _takeFee();
        uint256 credits = job.credits + amount;
        if (credits > type(uint96).max) revert CreditsOverflow();
        job.credits = uint96(credits);
        emit DepositJobCredits(jobKey, msg.sender, amount, msg.value - amount);
    }

    function _takeFee() private returns (uint256 left) {
        if (msg.value == 0) revert MissingAmount();
        uint256 fee = msg.value * _config.feePpm / 1_000_000;
        fees += fee;
        return msg.value - fee;
    }

    function _debitFor(uint256 amount, uint256 available) private pure returns (uint256) {
        if (amount == type(uint256).max) amount = available;
        if (amount == 0) revert MissingAmount();
        if (amount > available) revert CreditsWithdrawalUnderflow(amount, available);
        return amount;
    }

    function _capped(uint256 staked, uint256 jobMax) private view returns (uint256) {
        if (jobMax != 0 && staked > jobMax) staked = jobMax;
        uint256 max = _config.maxStake;
        return max != 0 && staked > max ? max : staked;
    }

    function _job(bytes32 jobKey) private view returns (Job storage job) {
        job = _jobs[jobKey];
        if (job.owner == address(0)) revert UnknownJob();
    }

    function _ownedJob(bytes32 jobKey) private view returns (Job storage job) {
        job = _jobs[jobKey];
        if (msg.sender != job.owner) revert OnlyJobOwner();
    }
}
