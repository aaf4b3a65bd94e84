// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Agent} from "./Agent.sol";
import {Job, Keeper} from "./AgentTypes.sol";

/// @notice A job and what follows from it in this block.
struct JobView {
    bytes32 key;
    Job job;
    /// Credits that it draws on: its own or its owner's, in wei.
    uint256 credits;
    /// Whether it is active and has enough credits for a keeper.
    bool eligible;
    /// Unix seconds; 0 for a RESOLVER job that did not fail.
    uint256 dueAt;
    /// Who may slash its keeper in this block; 0: nobody.
    uint256 slasher;
}

/// @notice A keeper with its number.
struct KeeperView {
    uint256 id;
    Keeper keeper;
}

/// @title Answers about an Agent, many in one call.
/// @notice Created by the Agent (`Agent.lens()`). It keeps nothing.
contract AgentLens {
    /// @notice Whom it speaks of.
    Agent public immutable agent;

    constructor(Agent agent_) {
        agent = agent_;
    }

    /// @notice Jobs by key; all zero for a key that is none.
    function jobs(bytes32[] calldata keys) external view returns (JobView[] memory views) {
        views = new JobView[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            bytes32 key = keys[i];
            JobView memory seen = views[i];
            (seen.key, seen.job) = (key, agent.jobInfo(key));
            seen.credits = seen.job.terms.flags & 0x02 != 0 ? agent.ownerCredits(seen.job.owner) : seen.job.credits;
            (seen.eligible, seen.dueAt, seen.slasher) = (agent.isEligible(key), agent.dueAt(key), agent.currentSlasher(key));
        }
    }

    /// @notice The keepers `from` to `from + count - 1`, as far as there are so many.
    function keepers(uint256 from, uint256 count) external view returns (KeeperView[] memory views) {
        uint256 last = agent.keeperCount();
        uint256 available = from <= last ? last - from + 1 : 0;
        if (count > available) count = available;
        views = new KeeperView[](count);
        for (uint256 i = 0; i < count; ++i) {
            (views[i].id, views[i].keeper) = (from + i, agent.keeperInfo(from + i));
        }
    }
}
