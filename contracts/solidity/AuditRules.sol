// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Config, Settlement, Verdict} from "./AuditTypes.sol";

/// @title What the AuditManager computes: draws, medians, reductions.
/// @dev   `audit::rule` says the same in Rust; tests hold the two together.
library AuditRules {
    uint256 private constant BPS = 10_000;

    /// @dev The active nodes during a draw: the places that changed, what came there, and how many are left.
    struct Deck {
        uint256[] places;
        uint32[] cards;
        uint256 moved;
        uint256 left;
    }

    /// @notice Intervals of an epoch that are measured.
    function intervals(Config memory config) internal pure returns (uint256) {
        return (config.rewardPeriod - config.deltaPeriod) / config.checkTime;
    }

    /// @notice A verdict's downtime as if the auditor had known every interval: what it does not know is like what it knows.
    function downtimeOf(Verdict calldata verdict, uint256 all) internal pure returns (uint256) {
        return verdict.known == 0 ? 0 : uint256(verdict.failed) * all / verdict.known;
    }

    /// @notice Intervals that a claim at `time` is late.
    function lateness(Config memory config, uint256 nextReward, uint256 time) internal pure returns (uint256) {
        uint256 until = nextReward + config.deltaPeriod;
        return time > until ? (time - until) / config.checkTime : 0;
    }

    /// @notice Verdicts that a group of `size` needs.
    function quorumOf(Config memory config, uint256 size) internal pure returns (uint256 needed) {
        needed = (size * config.quorumBps + BPS - 1) / BPS;
        if (needed == 0) needed = 1;
    }

    /// @notice The upper median: the element at half the length when sorted. `values` has at least one, and is sorted afterwards.
    function median(uint256[] memory values) internal pure returns (uint256) {
        for (uint256 i = 1; i < values.length; ++i) {
            uint256 value = values[i];
            uint256 j = i;
            for (; j > 0 && values[j - 1] > value; --j) {
                values[j] = values[j - 1];
            }
            values[j] = value;
        }
        return values[values.length / 2];
    }

    /// @notice Whether a verdict is so near the median that its auditor did its duty.
    function agrees(Config memory config, uint256 downtime, uint256 medianDowntime) internal pure returns (bool) {
        uint256 distance = downtime > medianDowntime ? downtime - medianDowntime : medianDowntime - downtime;
        return distance <= intervals(config) / config.toleranceDivisor;
    }

    /// @notice What is left of `settlement.maximum`, from all else in the settlement.
    /// @dev    Above the tolerance the whole downtime is charged, not the excess.
    function bounty(Config memory config, Settlement memory settlement) internal pure returns (uint256 left) {
        if (!settlement.quorum) return 0;
        left = settlement.maximum;
        uint256 all = intervals(config);
        uint256 down = uint256(settlement.downtime) + settlement.late;
        if (down > all / config.toleranceDivisor) left = down >= all ? 0 : left - left * down / all;
        if (settlement.latency > config.allowableLatency) left = left * config.allowableLatency / settlement.latency;
        if (!settlement.staked) left /= 2;
        if (settlement.owed > 0) {
            uint256 missed = settlement.owed - settlement.kept;
            left -= left * config.dutyBps * missed / (BPS * settlement.owed);
        }
    }

    /// @notice Adds members drawn from `active` to `kept`, without replacement, until there are `size` or nobody is left; never `subject`.
    /// @dev    A Fisher-Yates shuffle that stops early. Each draw has a hash of its own.
    function draw(uint32[] storage active, uint32 subject, uint32[] memory kept, bytes32 seed, uint256 size)
        internal
        view
        returns (uint32[] memory group)
    {
        uint256 count = kept.length;
        // A group may have been drawn when groups were larger.
        if (size < count) size = count;
        group = new uint32[](size);
        for (uint256 i = 0; i < count; ++i) {
            group[i] = kept[i];
        }
        // Only the subject and who was kept are drawn in vain.
        Deck memory deck = Deck(new uint256[](size + 1), new uint32[](size + 1), 0, active.length);
        for (uint256 i = 0; count < size && deck.left > 0; ++i) {
            uint32 picked = _pick(active, deck, uint256(keccak256(abi.encode(seed, i))));
            if (picked == subject || _contains(kept, picked)) continue;
            group[count] = picked;
            ++count;
        }
        assembly ("memory-safe") {
            mstore(group, count)
        }
    }

    /// @dev Takes one out of the deck; the last of those left comes to its place.
    function _pick(uint32[] storage active, Deck memory deck, uint256 random) private view returns (uint32 picked) {
        uint256 place = random % deck.left;
        uint256 last = --deck.left;
        uint256 slot = _find(deck, place);
        picked = slot < deck.moved ? deck.cards[slot] : active[place];
        if (place == last) return picked;
        uint256 lastSlot = _find(deck, last);
        uint32 moving = lastSlot < deck.moved ? deck.cards[lastSlot] : active[last];
        (deck.places[slot], deck.cards[slot]) = (place, moving);
        if (slot == deck.moved) ++deck.moved;
    }

    function _find(Deck memory deck, uint256 place) private pure returns (uint256 i) {
        while (i < deck.moved && deck.places[i] != place) ++i;
    }

    function _contains(uint32[] memory list, uint32 wanted) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == wanted) return true;
        }
        return false;
    }
}
