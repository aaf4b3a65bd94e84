// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";

/// @notice EIP-2612, as far as a payment needs it.
interface IERC20Permit {
    /// @notice Sets an allowance by the owner's signature.
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
}

/// @title A service that is paid by the second.
/// @notice Customers pay in advance in an ERC-20 token; every payment belongs to the payees in equal parts. The service is paid
///         while the sum of all payments is at least `rate * (now - startTimestamp)`. There is no administrator.
/// @dev    What always holds: the token balance of this contract is at least `totalPaid - totalWithdrawn`, which is the sum of
///         what the payees may withdraw; `totalPaid` never falls and is a multiple of the number of payees.
contract ServicePayment {
    /// @notice The longest distance between deployment and `startTimestamp`, in seconds: a date in milliseconds is refused.
    uint256 public constant MAX_START_DISTANCE = 366 days;
    /// @notice The greatest number of payees.
    uint256 public constant MAX_PAYEES = 256;

    /// @notice The token of all payments.
    IERC20 public immutable token;
    /// @notice Base units of the token per second, for all payees together.
    uint256 public immutable rate;
    /// @notice Unix seconds from which on the service costs.
    uint256 public immutable startTimestamp;

    /// @notice Base units paid so far.
    uint256 public totalPaid;
    /// @notice Base units withdrawn so far, by all payees.
    uint256 public totalWithdrawn;

    address[] private _payees;
    mapping(address account => bool) private _isPayee;
    mapping(address payee => uint256 units) private _withdrawn;
    bool private transient _entered;

    /// @notice `payer` paid `amount` base units; the service is paid through `paidUntil` (Unix seconds).
    event Paid(address indexed payer, uint256 amount, uint256 totalPaid, uint256 paidUntil);
    /// @notice `payee` withdrew `amount` base units.
    event Withdrawn(address indexed payee, uint256 amount);

    /// @notice A service without payees pays nobody.
    error NoPayees();
    /// @notice `count` payees; `MAX_PAYEES` is the most.
    error TooManyPayees(uint256 count);
    /// @notice The zero address cannot be paid.
    error ZeroPayee();
    /// @notice `payee` is listed twice and would get two shares.
    error DuplicatePayee(address payee);
    /// @notice `token` has no code.
    error NotAToken(address token);
    /// @notice The rate is zero, or so great that a century of it does not fit 256 bits.
    error RateOutOfRange(uint256 rate);
    /// @notice `start` is further than `MAX_START_DISTANCE` from now. Is it in milliseconds?
    error StartOutOfRange(uint256 start);
    /// @notice A payment of nothing.
    error ZeroAmount();
    /// @notice `amount` does not divide among so many payees.
    error NotDivisible(uint256 amount, uint256 payees);
    /// @notice The payer allows `allowed` base units, `needed` were to be paid.
    error InsufficientAllowance(address payer, uint256 allowed, uint256 needed);
    /// @notice The caller has nothing to withdraw.
    error InsufficientBalance(address account);
    /// @notice The token moved `received` base units where `expected` were due: tokens that take a fee are refused.
    error TokenTookFee(uint256 received, uint256 expected);
    /// @notice The token refused the transfer.
    error TransferFailed();
    /// @notice The token called back into this contract.
    error Reentered();
    /// @notice Everything until `timestamp` is paid already.
    error AlreadyPaid(uint256 timestamp);

    modifier once() {
        if (_entered) revert Reentered();
        _entered = true;
        _;
        _entered = false;
    }

    /// @param token_  An ERC-20 that moves exactly what it is told to.
    /// @param payees_ Who shares the payments: 1 to `MAX_PAYEES`, none zero, none twice.
    /// @param rate_   Base units per second for all payees together; not 0.
    /// @param start_  Unix seconds from which on the service costs.
    constructor(IERC20 token_, address[] memory payees_, uint256 rate_, uint256 start_) {
        uint256 count = payees_.length;
        if (count == 0) revert NoPayees();
        if (count > MAX_PAYEES) revert TooManyPayees(count);
        if (address(token_).code.length == 0) revert NotAToken(address(token_));
        if (rate_ == 0 || rate_ > type(uint192).max) revert RateOutOfRange(rate_);
        uint256 distance = start_ > block.timestamp ? start_ - block.timestamp : block.timestamp - start_;
        if (distance > MAX_START_DISTANCE) revert StartOutOfRange(start_);
        for (uint256 i = 0; i < count; ++i) {
            address payee = payees_[i];
            if (payee == address(0)) revert ZeroPayee();
            if (_isPayee[payee]) revert DuplicatePayee(payee);
            _isPayee[payee] = true;
            _payees.push(payee);
        }
        token = token_;
        rate = rate_;
        startTimestamp = start_;
    }

    /// @notice Pays `amount` base units, which must divide among the payees. Anyone may pay.
    function pay(uint256 amount) external once {
        _pay(amount);
    }

    /// @notice As `pay`, with an EIP-2612 permit for this contract instead of an approval before.
    /// @dev    Somebody may have used the same permit already; what counts is the allowance then.
    function payWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external once {
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _pay(amount);
    }

    /// @notice Counts what somebody sent by a plain transfer as paid, rounded down to what divides among the payees.
    /// @return amount Base units that were counted.
    function payFromSurplus() external once returns (uint256 amount) {
        uint256 held = token.balanceOf(address(this));
        uint256 due = totalPaid - totalWithdrawn;
        amount = held > due ? held - due : 0;
        amount -= amount % _payees.length;
        if (amount == 0) revert ZeroAmount();
        _credit(amount);
    }

    /// @notice Sends the caller its whole balance.
    /// @return amount Base units.
    function withdraw() external once returns (uint256 amount) {
        amount = balanceOf(msg.sender);
        if (amount == 0) revert InsufficientBalance(msg.sender);
        _withdrawn[msg.sender] += amount;
        totalWithdrawn += amount;
        emit Withdrawn(msg.sender, amount);
        if (!_call(abi.encodeCall(IERC20.transfer, (msg.sender, amount)))) revert TransferFailed();
    }

    /// @notice Whether the service is paid now.
    function isPaid() external view returns (bool) {
        return isPaidAt(block.timestamp);
    }

    /// @notice Whether what is paid so far is enough at `timestamp` (Unix seconds). Always so before the start and at it.
    function isPaidAt(uint256 timestamp) public view returns (bool) {
        return totalPaid >= owedAt(timestamp);
    }

    /// @notice Base units that the service has cost until `timestamp` (Unix seconds).
    function owedAt(uint256 timestamp) public view returns (uint256) {
        return timestamp > startTimestamp ? rate * (timestamp - startTimestamp) : 0;
    }

    /// @notice Base units that the service has cost so far.
    function owed() external view returns (uint256) {
        return owedAt(block.timestamp);
    }

    /// @notice Base units that are missing now.
    function arrears() external view returns (uint256) {
        uint256 due = owedAt(block.timestamp);
        return due > totalPaid ? due - totalPaid : 0;
    }

    /// @notice The last second (Unix) at which the service is paid.
    function paidUntil() public view returns (uint256) {
        return startTimestamp + totalPaid / rate;
    }

    /// @notice The least payment that is accepted and keeps the service paid through `timestamp`, in base units.
    function priceUntil(uint256 timestamp) external view returns (uint256 amount) {
        uint256 due = owedAt(timestamp);
        if (due <= totalPaid) revert AlreadyPaid(timestamp);
        uint256 count = _payees.length;
        amount = due - totalPaid;
        amount += (count - amount % count) % count;
    }

    /// @notice Base units that `account` may withdraw now; 0 for whoever is no payee.
    function balanceOf(address account) public view returns (uint256) {
        return _isPayee[account] ? totalPaid / _payees.length - _withdrawn[account] : 0;
    }

    /// @notice Who shares the payments, in the order of the constructor.
    function payees() external view returns (address[] memory) {
        return _payees;
    }

    function _pay(uint256 amount) private {
        if (amount == 0) revert ZeroAmount();
        uint256 count = _payees.length;
        if (amount % count != 0) revert NotDivisible(amount, count);
        uint256 before = token.balanceOf(address(this));
        if (!_call(abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), amount)))) {
            // Asked only now: the token checks it anyway, and this says it in words of our own.
            uint256 allowed = token.allowance(msg.sender, address(this));
            if (allowed < amount) revert InsufficientAllowance(msg.sender, allowed, amount);
            revert TransferFailed();
        }
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert TokenTookFee(received, amount);
        _credit(amount);
    }

    function _credit(uint256 amount) private {
        totalPaid += amount;
        emit Paid(msg.sender, amount, totalPaid, paidUntil());
    }

    /// @dev Tokens that return nothing count as successful when they do not revert.
    function _call(bytes memory data) private returns (bool) {
        (bool ok, bytes memory answer) = address(token).call(data);
        return ok && (answer.length == 0 || (answer.length >= 32 && abi.decode(answer, (uint256)) == 1));
    }
}
