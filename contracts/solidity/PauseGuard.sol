// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title Pauses one contract when enough reporters confirm an incident.
/// @notice Resolver and target of a pause job of the Agent. All jobs of an Agent come from the same address, and anybody may
///         register one: so the watched contract gives the power to pause to this guard, not to the Agent, and the guard pauses
///         for whoever asks as soon as an incident is confirmed, and for nobody before.
/// @dev    What always holds: the target is called only while an incident is confirmed, once for each, with the call of the
///         constructor; a reporter counts once for an incident.
contract PauseGuard {
    /// @notice May change reporters, end an incident and call the target in its own name.
    address public immutable owner;
    /// @notice What is paused.
    address public immutable target;
    /// @notice How many reporters confirm an incident.
    uint256 public immutable threshold;

    /// @notice The call that pauses.
    bytes public pauseCall;
    /// @notice Whether an account may report.
    mapping(address account => bool) public isReporter;
    /// @notice The block in which the present incident was confirmed; 0: there is none, or it was acted upon.
    uint256 public confirmedAt;
    /// @notice Reports of an incident so far.
    mapping(bytes32 incident => uint256 count) public reports;
    mapping(bytes32 incident => mapping(address reporter => bool)) private _reported;

    /// @notice A reporter saw the incident; it is the `count`th.
    event Reported(bytes32 indexed incident, address indexed reporter, uint256 count);
    /// @notice Enough reporters saw the incident.
    event Confirmed(bytes32 indexed incident);
    /// @notice The target was paused, in `by`'s call.
    event PausedTarget(address indexed by);
    /// @notice The owner ended the incident without a pause.
    event Cleared();

    error OnlyOwner();
    error OnlyReporter();
    error AlreadyReported();
    error NotConfirmed();
    error InvalidThreshold();
    error DuplicateReporter(address reporter);

    /// @param reporters_ Who may report, for example the validators' accounts.
    /// @param threshold_ From 1 to the number of reporters.
    constructor(address owner_, address target_, bytes memory pauseCall_, address[] memory reporters_, uint256 threshold_) {
        if (threshold_ == 0 || threshold_ > reporters_.length) revert InvalidThreshold();
        (owner, target, pauseCall, threshold) = (owner_, target_, pauseCall_, threshold_);
        for (uint256 i = 0; i < reporters_.length; ++i) {
            if (isReporter[reporters_[i]]) revert DuplicateReporter(reporters_[i]);
            isReporter[reporters_[i]] = true;
        }
    }

    /// @notice Reports an incident; the `threshold`th report confirms it.
    function report(bytes32 incident) external {
        if (!isReporter[msg.sender]) revert OnlyReporter();
        if (_reported[incident][msg.sender]) revert AlreadyReported();
        _reported[incident][msg.sender] = true;
        uint256 count = ++reports[incident];
        emit Reported(incident, msg.sender, count);
        if (count == threshold) {
            if (confirmedAt == 0) confirmedAt = block.number;
            emit Confirmed(incident);
        }
    }

    /// @notice The resolver of the pause job: whether it is due, with what, and since which block.
    function check() external view returns (bool due, bytes memory data, uint256 since) {
        return (confirmedAt != 0, abi.encodeCall(this.pause, ()), confirmedAt);
    }

    /// @notice Pauses the target. For anybody, while an incident is confirmed.
    function pause() external {
        if (confirmedAt == 0) revert NotConfirmed();
        confirmedAt = 0;
        emit PausedTarget(msg.sender);
        _call(pauseCall);
    }

    /// @notice Ends the incident without a pause.
    function clear() external {
        if (msg.sender != owner) revert OnlyOwner();
        confirmedAt = 0;
        emit Cleared();
    }

    /// @notice Calls the target in this guard's name: to open it again, or to move the power to pause elsewhere.
    function forward(bytes calldata data) external {
        if (msg.sender != owner) revert OnlyOwner();
        _call(data);
    }

    function _call(bytes memory data) private {
        (bool ok, bytes memory answer) = target.call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}
