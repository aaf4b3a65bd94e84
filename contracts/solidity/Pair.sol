// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";

/// @title A constant-product market between two tokens.
/// @notice Holds `reserve0` of `token0` and `reserve1` of `token1`. A swap never lets `reserve0 * reserve1` fall; the fee
///         stays in the reserves and so belongs to the liquidity providers.
/// @dev    Storage: 0 owner + feeBps + locked, 1 reserve0 + reserve1 + updatedAt (one word), 2 totalLiquidity,
///         3 liquidityOf. Watchers address these slots: keep them. Tokens that take a fee on transfer or rebase are not
///         supported: what is asked for must be what arrives.
contract Pair {
    /// @notice May set the fee.
    address public owner;
    /// @notice Fee on the amount that goes in, in basis points.
    uint16 public feeBps;
    /// @notice True only while a call is inside.
    bool public locked;

    /// @notice Units of `token0` held for the providers.
    uint112 public reserve0;
    /// @notice Units of `token1` held for the providers.
    uint112 public reserve1;
    /// @notice Block time of the last change of the reserves, in seconds.
    uint32 public updatedAt;

    /// @notice Liquidity units in existence, `MINIMUM_LIQUIDITY` of them owned by nobody.
    uint256 public totalLiquidity;
    /// @notice Liquidity units of a provider.
    mapping(address provider => uint256 units) public liquidityOf;

    /// @notice Locked at the first provision, so that the reserves can never be emptied.
    uint256 public constant MINIMUM_LIQUIDITY = 1000;
    /// @notice The highest fee that can be set, in basis points.
    uint16 public constant MAX_FEE_BPS = 100;
    uint256 private constant BPS = 10_000;

    /// @notice First token of the market.
    IERC20 public immutable token0;
    /// @notice Second token of the market.
    IERC20 public immutable token1;

    /// @notice `amountIn` of `tokenIn` came from `sender`, `amountOut` of the other token went to `to`.
    event Swap(address indexed sender, address indexed tokenIn, uint256 amountIn, uint256 amountOut, address indexed to);
    /// @notice The reserves after a change.
    event Sync(uint112 reserve0, uint112 reserve1);
    /// @notice `provider` gained `liquidity` for `amount0` and `amount1`.
    event LiquidityAdded(address indexed provider, uint256 amount0, uint256 amount1, uint256 liquidity);
    /// @notice `provider` gave up `liquidity` for `amount0` and `amount1`.
    event LiquidityRemoved(address indexed provider, uint256 amount0, uint256 amount1, uint256 liquidity);
    /// @notice The fee is now `feeBps` basis points.
    event FeeSet(uint16 feeBps);

    /// @notice A call came in while another is inside.
    error Reentered();
    /// @notice Only the owner may do this.
    error NotOwner();
    /// @notice This market does not trade `token`.
    error UnknownToken(address token);
    /// @notice `out` is less than the caller's limit `min`.
    error Slippage(uint256 out, uint256 min);
    /// @notice The amounts are too small, or the reserves too small for them.
    error InsufficientLiquidity();
    /// @notice A reserve would not fit its 112 bits.
    error ReserveOverflow();
    /// @notice `feeBps` is above `MAX_FEE_BPS`.
    error FeeTooHigh(uint16 feeBps);
    /// @notice `token` refused a transfer.
    error TransferFailed(address token);

    modifier lock() {
        if (locked) revert Reentered();
        locked = true;
        _;
        locked = false;
    }

    /// @param token0_ First token.
    /// @param token1_ Second token, another than the first.
    /// @param feeBps_ Fee in basis points, at most `MAX_FEE_BPS`.
    constructor(IERC20 token0_, IERC20 token1_, uint16 feeBps_) {
        if (address(token0_) == address(token1_)) revert UnknownToken(address(token1_));
        if (feeBps_ > MAX_FEE_BPS) revert FeeTooHigh(feeBps_);
        owner = msg.sender;
        token0 = token0_;
        token1 = token1_;
        feeBps = feeBps_;
    }

    /// @notice Sets the fee.
    /// @param feeBps_ Basis points, at most `MAX_FEE_BPS`.
    function setFee(uint16 feeBps_) external {
        if (msg.sender != owner) revert NotOwner();
        if (feeBps_ > MAX_FEE_BPS) revert FeeTooHigh(feeBps_);
        feeBps = feeBps_;
        emit FeeSet(feeBps_);
    }

    /// @notice Takes `amount0` and `amount1` from the caller; the smaller share of the reserves counts.
    /// @return liquidity Units given to the caller.
    function addLiquidity(uint256 amount0, uint256 amount1) external lock returns (uint256 liquidity) {
        uint256 total = totalLiquidity;
        (uint256 r0, uint256 r1) = (reserve0, reserve1);
        if (total == 0) {
            liquidity = _sqrt(amount0 * amount1);
            if (liquidity <= MINIMUM_LIQUIDITY) revert InsufficientLiquidity();
            totalLiquidity = liquidity;
            liquidity -= MINIMUM_LIQUIDITY;
        } else {
            uint256 share0 = (amount0 * total) / r0;
            uint256 share1 = (amount1 * total) / r1;
            liquidity = share0 < share1 ? share0 : share1;
            if (liquidity == 0) revert InsufficientLiquidity();
            totalLiquidity = total + liquidity;
        }
        liquidityOf[msg.sender] += liquidity;
        _sync(r0 + amount0, r1 + amount1);
        _pull(token0, amount0);
        _pull(token1, amount1);
        emit LiquidityAdded(msg.sender, amount0, amount1, liquidity);
    }

    /// @notice Gives up `liquidity` units of the caller's for their part of both reserves.
    function removeLiquidity(uint256 liquidity) external lock returns (uint256 amount0, uint256 amount1) {
        uint256 held = liquidityOf[msg.sender];
        if (liquidity == 0 || liquidity > held) revert InsufficientLiquidity();
        uint256 total = totalLiquidity;
        (uint256 r0, uint256 r1) = (reserve0, reserve1);
        amount0 = (liquidity * r0) / total;
        amount1 = (liquidity * r1) / total;
        liquidityOf[msg.sender] = held - liquidity;
        totalLiquidity = total - liquidity;
        _sync(r0 - amount0, r1 - amount1);
        _push(token0, msg.sender, amount0);
        _push(token1, msg.sender, amount1);
        emit LiquidityRemoved(msg.sender, amount0, amount1, liquidity);
    }

    /// @notice Takes `amountIn` of `tokenIn` from the caller and sends the other token to `to`.
    /// @param minOut Least amount that `to` must get.
    /// @return amountOut What `to` got.
    function swap(IERC20 tokenIn, uint256 amountIn, uint256 minOut, address to)
        external
        lock
        returns (uint256 amountOut)
    {
        bool forward = _same(tokenIn, token0);
        if (!forward && !_same(tokenIn, token1)) revert UnknownToken(address(tokenIn));
        (uint256 r0, uint256 r1) = (reserve0, reserve1);
        if (forward) {
            amountOut = _out(amountIn, r0, r1);
            _sync(r0 + amountIn, r1 - amountOut);
        } else {
            amountOut = _out(amountIn, r1, r0);
            _sync(r0 - amountOut, r1 + amountIn);
        }
        if (amountOut < minOut) revert Slippage(amountOut, minOut);
        _pull(tokenIn, amountIn);
        _push(forward ? token1 : token0, to, amountOut);
        emit Swap(msg.sender, address(tokenIn), amountIn, amountOut, to);
    }

    /// @notice What a swap of `amountIn` of `tokenIn` would give now.
    function quote(IERC20 tokenIn, uint256 amountIn) external view returns (uint256) {
        if (_same(tokenIn, token0)) return _out(amountIn, reserve0, reserve1);
        if (_same(tokenIn, token1)) return _out(amountIn, reserve1, reserve0);
        revert UnknownToken(address(tokenIn));
    }

    function _out(uint256 amountIn, uint256 reserveIn, uint256 reserveOut) private view returns (uint256 out) {
        if (amountIn == 0 || reserveIn == 0) revert InsufficientLiquidity();
        uint256 net = amountIn * (BPS - feeBps);
        out = (net * reserveOut) / (reserveIn * BPS + net);
        if (out == 0) revert InsufficientLiquidity();
    }

    function _sync(uint256 r0, uint256 r1) private {
        if (r0 > type(uint112).max || r1 > type(uint112).max) revert ReserveOverflow();
        reserve0 = uint112(r0);
        reserve1 = uint112(r1);
        updatedAt = uint32(block.timestamp);
        emit Sync(uint112(r0), uint112(r1));
    }

    function _pull(IERC20 token, uint256 amount) private {
        if (!token.transferFrom(msg.sender, address(this), amount)) revert TransferFailed(address(token));
    }

    function _push(IERC20 token, address to, uint256 amount) private {
        if (!token.transfer(to, amount)) revert TransferFailed(address(token));
    }

    function _same(IERC20 a, IERC20 b) private pure returns (bool) {
        return address(a) == address(b);
    }

    /// @dev Babylonian method, from above.
    function _sqrt(uint256 x) private pure returns (uint256 root) {
        if (x == 0) return 0;
        root = x;
        uint256 next = x / 2 + 1;
        while (next < root) {
            root = next;
            next = (x / next + next) / 2;
        }
    }
}
