// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title A protocol's right to be paused, in the hands of a job.
/// @notice Resolver and target of a pause job of the Agent. All jobs of an Agent come from the same address, and anybody may
///         register one: so the protocol gives the right to pause to this guard, not to the Agent. The guard pauses for whoever
///         asks once enough reporters confirmed an incident, and for nobody before.
/// @dev    What always holds: the protocol is called only while a pause is due, with the call of the constructor; a reporter
///         counts once in a round; an incident that was acted upon or dismissed starts no other round.
contract PauseGuard {
    /// @notice Blocks after a round's first confirmation in which the others have to follow.
    uint256 public constant ROUND_BLOCKS = 300;

    /// @notice May set reporters and the threshold, and dismiss a round.
    address public immutable owner;
    /// @notice What is paused.
    address public immutable protocol;
    /// @notice The call that pauses it.
    bytes public pauseCall;

    /// @notice How many reporters have to confirm.
    uint256 public threshold;
    /// @notice Whether an account may confirm.
    mapping(address account => bool) public isReporter;
    /// @notice The number of the round, from 1: a round ends with a pause, by dismissal, or when it lapses.
    uint256 public round = 1;
    /// @notice The incident that the round began with; zero: nobody confirmed yet.
    bytes32 public incident;
    /// @notice Confirmations in this round.
    uint256 public confirmations;
    /// @notice The last round that a reporter confirmed in; 0: none.
    mapping(address reporter => uint256) public confirmedIn;
    /// @notice The block since which the pause is due; 0: it is not.
    uint256 public dueSince;
    /// @notice Whether an incident was acted upon or dismissed.
    mapping(bytes32 incident => bool) public isOver;
    uint256 private _began;

    /// @notice A reporter saw the incident.
    event Confirmed(bytes32 indexed incident, address indexed reporter, uint256 round, uint256 confirmations);
    /// @notice Enough reporters saw it: the pause is due.
    event Due(bytes32 indexed incident, uint256 round);
    /// @notice The protocol was paused, in `by`'s call.
    event Fired(bytes32 indexed incident, uint256 round, address indexed by);
    /// @notice The owner ended the round without a pause.
    event Dismissed(uint256 round);
    event ReporterSet(address indexed account, bool allowed);
    event ThresholdSet(uint256 threshold);

    /// @notice The reporter confirmed in this round already, or the incident is over.
    error AlreadyConfirmed();
    error NoProtocol();
    error NoThreshold();
    error NotDue();
    error NotOwner();
    error NotReporter();
    /// @notice The protocol did not let itself be paused.
    error PauseFailed(bytes reason);

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    /// @param call_      What pauses the protocol, for example `pause()`.
    /// @param reporters  Who may confirm, for example the validators' accounts.
    /// @param threshold_ How many of them have to; at least 1.
    constructor(address owner_, address protocol_, bytes memory call_, address[] memory reporters, uint256 threshold_) {
        if (protocol_.code.length == 0) revert NoProtocol();
        (owner, protocol, pauseCall) = (owner_, protocol_, call_);
        for (uint256 i = 0; i < reporters.length; ++i) {
            _setReporter(reporters[i], true);
        }
        _setThreshold(threshold_);
    }

    /// @notice Confirms an incident. Reporters that name different ones agree that the protocol has to stop, and count together.
    function confirm(bytes32 incident_) external {
        _confirm(incident_);
    }

    /// @notice Confirms an incident, and pauses at once where that was the last confirmation needed.
    function confirmAndFire(bytes32 incident_) external {
        _confirm(incident_);
        if (dueSince != 0) fire();
    }

    /// @notice Pauses the protocol. For anybody, while it is due.
    function fire() public {
        if (dueSince == 0) revert NotDue();
        emit Fired(incident, round, msg.sender);
        _endRound(true);
        (bool ok, bytes memory reason) = protocol.call(pauseCall);
        if (!ok) revert PauseFailed(reason);
    }

    /// @notice The resolver of the pause job: whether it is due, with what, and since which block.
    function check() external view returns (bool, bytes memory, uint256) {
        return (dueSince != 0, abi.encodeCall(this.fire, ()), dueSince);
    }

    /// @notice Ends the round without a pause; its incident starts no other.
    function dismiss() external onlyOwner {
        emit Dismissed(round);
        _endRound(true);
    }

    /// @notice Adds or removes a reporter. What it confirmed still counts.
    function setReporter(address account, bool allowed) external onlyOwner {
        _setReporter(account, allowed);
    }

    /// @notice Sets how many reporters have to confirm from now on.
    function setThreshold(uint256 threshold_) external onlyOwner {
        _setThreshold(threshold_);
    }

    function _confirm(bytes32 incident_) private {
        if (!isReporter[msg.sender]) revert NotReporter();
        // Nobody is held to what a single reporter said long ago.
        if (confirmations != 0 && dueSince == 0 && block.number > _began + ROUND_BLOCKS) _endRound(false);
        if (isOver[incident_] || confirmedIn[msg.sender] == round) revert AlreadyConfirmed();
        if (confirmations == 0) (incident, _began) = (incident_, block.number);
        confirmedIn[msg.sender] = round;
        ++confirmations;
        emit Confirmed(incident_, msg.sender, round, confirmations);
        if (dueSince == 0 && confirmations >= threshold) {
            dueSince = block.number;
            emit Due(incident, round);
        }
    }

    function _endRound(bool over) private {
        if (over && confirmations != 0) isOver[incident] = true;
        ++round;
        (incident, confirmations, dueSince) = (0, 0, 0);
    }

    function _setReporter(address account, bool allowed) private {
        isReporter[account] = allowed;
        emit ReporterSet(account, allowed);
    }

    function _setThreshold(uint256 threshold_) private {
        if (threshold_ == 0) revert NoThreshold();
        threshold = threshold_;
        emit ThresholdSet(threshold_);
    }
}
