// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title A borrower of `Vault.flash`.
interface IFlashBorrower {
    /// @notice Called with the loan; `amount + fee` must be back at the vault when this returns.
    function onFlash(uint256 fee) external payable;
}

/// @title An ETH vault with shares, which can be robbed.
/// @notice Depositors get shares of the vault's assets; flash loans earn a fee for them. The owner's seed, given at
///         construction, has shares that belong to nobody: whatever depositors do, `totalAssets` never falls below it.
///         That is the invariant a watcher states: `totalAssets >= seed`.
/// @dev    DELIBERATELY UNSAFE: `withdraw` pays before it writes and does not take the lock. This contract is the prey of
///         the recorded scenario and of tests; never deploy it with money.
///
///         Storage: 0 owner + paused + locked + flashFeeBps, 1 totalAssets + totalShares (one word), 2 sharesOf.
///         Watchers address these slots: keep them.
contract Vault {
    /// @notice May pause and add yield.
    address public owner;
    /// @notice While true, nothing goes in or out.
    bool public paused;
    /// @notice True only while a guarded call is inside.
    bool public locked;
    /// @notice Fee of a flash loan, in basis points.
    uint16 public flashFeeBps;

    /// @notice Wei that the vault owes to its shares.
    uint128 public totalAssets;
    /// @notice Shares in existence, the seed's among them.
    uint128 public totalShares;

    /// @notice Shares of a depositor.
    mapping(address depositor => uint256 shares) public sharesOf;

    uint256 private constant BPS = 10_000;

    /// @notice Wei that the owner gave at construction and that nobody can withdraw.
    uint256 public immutable seed;

    /// @notice `receiver` got `shares` for `assets` wei that `sender` paid.
    event Deposited(address indexed sender, address indexed receiver, uint256 assets, uint256 shares);
    /// @notice `owner` gave up `shares` for `assets` wei.
    event Withdrawn(address indexed owner, uint256 assets, uint256 shares);
    /// @notice `borrower` borrowed `amount` wei and paid `fee`.
    event Flashed(address indexed borrower, uint256 amount, uint256 fee);
    /// @notice The owner added `assets` wei for all shares.
    event YieldAdded(uint256 assets);
    /// @notice The vault was paused or opened.
    event PauseSet(bool paused);

    /// @notice The vault is paused.
    error Paused();
    /// @notice A call came in while another is inside.
    error Reentered();
    /// @notice Only the owner may do this.
    error NotOwner();
    /// @notice Nothing to do for an amount of zero.
    error ZeroAmount();
    /// @notice The caller has `held` shares, `needed` were asked for.
    error InsufficientShares(uint256 held, uint256 needed);
    /// @notice The vault has less wei than it must pay.
    error InsufficientAssets(uint256 held, uint256 needed);
    /// @notice `to` refused the payment.
    error PaymentFailed(address to);
    /// @notice A flash loan came back short.
    error NotRepaid(uint256 held, uint256 needed);
    /// @notice An amount does not fit its 128 bits.
    error Overflow();

    modifier open() {
        if (paused) revert Paused();
        _;
    }

    modifier lock() {
        if (locked) revert Reentered();
        locked = true;
        _;
        locked = false;
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    /// @param flashFeeBps_ Fee of a flash loan, in basis points.
    constructor(uint16 flashFeeBps_) payable {
        if (msg.value == 0) revert ZeroAmount();
        owner = msg.sender;
        flashFeeBps = flashFeeBps_;
        seed = msg.value;
        totalAssets = _u128(msg.value);
        totalShares = _u128(msg.value);
    }

    /// @notice Deposits the wei sent along; the shares go to `receiver`.
    /// @return shares Units given.
    function deposit(address receiver) external payable open lock returns (uint256 shares) {
        shares = (msg.value * totalShares) / totalAssets;
        if (shares == 0) revert ZeroAmount();
        sharesOf[receiver] += shares;
        totalAssets = _u128(totalAssets + msg.value);
        totalShares = _u128(totalShares + shares);
        emit Deposited(msg.sender, receiver, msg.value, shares);
    }

    /// @notice Gives up `shares` of the caller's for their part of the assets.
    /// @return assets Wei paid.
    /// @dev    THE BUG: the payment hands control to the caller while `sharesOf` still holds the old value, and `lock` is
    ///         missing. A caller that re-enters is paid again for the same shares, and the stale `held` then overwrites
    ///         what the inner calls wrote. The totals are taken down once for each payment, which is what gives it away.
    function withdraw(uint256 shares) external open returns (uint256 assets) {
        uint256 held = sharesOf[msg.sender];
        if (shares == 0) revert ZeroAmount();
        if (held < shares) revert InsufficientShares(held, shares);
        assets = convertToAssets(shares);
        if (address(this).balance < assets) revert InsufficientAssets(address(this).balance, assets);

        (bool paid,) = msg.sender.call{value: assets}("");
        if (!paid) revert PaymentFailed(msg.sender);

        sharesOf[msg.sender] = held - shares;
        totalAssets = _u128(totalAssets - assets);
        totalShares = _u128(totalShares - shares);
        emit Withdrawn(msg.sender, assets, shares);
    }

    /// @notice Lends `amount` wei to the caller until the end of the call.
    /// @dev    While the loan is out `totalAssets` is lower, perhaps lower than the seed, and is restored before the end:
    ///         who judges single writes instead of the transaction's post-state raises a false alarm here.
    function flash(uint256 amount) external open lock {
        uint256 held = address(this).balance;
        if (amount == 0) revert ZeroAmount();
        if (amount > totalAssets) revert InsufficientAssets(totalAssets, amount);
        uint256 fee = (amount * flashFeeBps) / BPS;
        totalAssets = _u128(totalAssets - amount);

        IFlashBorrower(msg.sender).onFlash{value: amount}(fee);

        if (address(this).balance < held + fee) revert NotRepaid(address(this).balance, held + fee);
        totalAssets = _u128(totalAssets + amount + fee);
        emit Flashed(msg.sender, amount, fee);
    }

    /// @notice The owner adds wei for all shares: each is worth more afterwards.
    function addYield() external payable onlyOwner {
        if (msg.value == 0) revert ZeroAmount();
        totalAssets = _u128(totalAssets + msg.value);
        emit YieldAdded(msg.value);
    }

    /// @notice The owner closes or opens the vault.
    function setPaused(bool paused_) external onlyOwner {
        paused = paused_;
        emit PauseSet(paused_);
    }

    /// @notice Wei that `shares` are worth now, rounded down.
    function convertToAssets(uint256 shares) public view returns (uint256) {
        return (shares * totalAssets) / totalShares;
    }

    /// @notice Takes a flash loan back.
    receive() external payable {
        if (!locked) revert ZeroAmount();
    }

    function _u128(uint256 x) private pure returns (uint128) {
        if (x > type(uint128).max) revert Overflow();
        return uint128(x);
    }
}
