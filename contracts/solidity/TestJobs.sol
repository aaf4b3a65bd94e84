// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title For tests: a job that does what it is told, and its resolver.
contract TestJob {
    /// @notice What the body does.
    enum Body {
        Count,
        Fail,
        BurnGas,
        Reenter,
        ReturnMuch
    }
    /// @notice What the resolver does.
    enum Answer {
        No,
        Yes,
        YesSince,
        Garbage,
        Loop,
        Much,
        Fail,
        BadOffset
    }

    Body public body;
    Answer public answer;
    /// @notice Executions that went through.
    uint256 public count;
    /// @notice The last input, with the job's key at its end.
    bytes public lastInput;
    /// @notice The block that the resolver names.
    uint256 public since;
    /// @notice Whom the body calls, with what and how much ether.
    address public reenterTarget;
    bytes public reenterData;
    uint256 public reenterValue;
    /// @notice How the last such call ended.
    bool public reenterOk;
    bytes4 public reenterError;

    function setBody(Body body_) external {
        body = body_;
    }

    function setAnswer(Answer answer_, uint256 since_) external {
        (answer, since) = (answer_, since_);
    }

    function setReentry(address target, bytes calldata data, uint256 value) external payable {
        (body, reenterTarget, reenterData, reenterValue) = (Body.Reenter, target, data, value);
    }

    /// @notice The body.
    fallback() external payable {
        if (body == Body.Fail) revert("told to fail");
        if (body == Body.BurnGas) {
            while (true) {}
        }
        if (body == Body.ReturnMuch) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (body == Body.Reenter) {
            bytes memory returned;
            (reenterOk, returned) = reenterTarget.call{value: reenterValue}(reenterData);
            reenterError = bytes4(returned);
        }
        ++count;
        lastInput = msg.data;
    }

    receive() external payable {}

    /// @notice What the resolver asks the body to be called with.
    function work() external {
        ++count;
        lastInput = msg.data;
        if (body == Body.Fail) revert("told to fail");
    }

    /// @notice The resolver.
    function check() external view returns (bool, bytes memory) {
        Answer kind = answer;
        bytes memory data = abi.encodeCall(this.work, ());
        if (kind == Answer.No) return (false, data);
        if (kind == Answer.Yes) return (true, data);
        if (kind == Answer.Fail) revert("told to fail");
        if (kind == Answer.Loop) {
            while (true) {}
        }
        bytes memory raw;
        if (kind == Answer.YesSince) raw = abi.encode(true, data, since);
        if (kind == Answer.Garbage) raw = hex"deadbeef";
        if (kind == Answer.BadOffset) raw = abi.encode(true, type(uint256).max - 31, uint256(1), uint256(1));
        if (kind == Answer.Much) raw = abi.encode(true, new bytes(100_000));
        assembly {
            return(add(raw, 32), mload(raw))
        }
    }
}

/// @title For tests: what a guard pauses.
contract TestPausable {
    address public immutable owner;
    /// @notice Who may pause.
    address public guardian;
    bool public paused;

    error OnlyGuardian();
    error OnlyOwner();

    constructor() {
        owner = msg.sender;
    }

    function setGuardian(address guardian_) external {
        if (msg.sender != owner) revert OnlyOwner();
        guardian = guardian_;
    }

    function setPaused(bool paused_) external {
        if (msg.sender != guardian) revert OnlyGuardian();
        paused = paused_;
    }
}
