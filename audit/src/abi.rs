//! The contract's types and the rules' types of the same things.

use contracts::AuditManager;

use crate::rule::{Settlement, Terms, Verdict};

impl From<&AuditManager::Config> for Terms {
    fn from(config: &AuditManager::Config) -> Self {
        Self {
            reward_period: config.rewardPeriod,
            delta_period: config.deltaPeriod,
            check_time: config.checkTime,
            allowable_latency: config.allowableLatency,
            tolerance_divisor: config.toleranceDivisor,
            quorum_bps: config.quorumBps,
            coverage_bps: config.coverageBps,
            duty_bps: config.dutyBps,
            group_size: config.groupSize,
            min_stake: config.minStake,
        }
    }
}

impl From<&Terms> for AuditManager::Config {
    fn from(terms: &Terms) -> Self {
        Self {
            rewardPeriod: terms.reward_period,
            deltaPeriod: terms.delta_period,
            checkTime: terms.check_time,
            allowableLatency: terms.allowable_latency,
            toleranceDivisor: terms.tolerance_divisor,
            quorumBps: terms.quorum_bps,
            coverageBps: terms.coverage_bps,
            dutyBps: terms.duty_bps,
            groupSize: terms.group_size,
            minStake: terms.min_stake,
        }
    }
}

impl From<&Verdict> for AuditManager::Verdict {
    fn from(verdict: &Verdict) -> Self {
        Self {
            subject: verdict.subject,
            epoch: verdict.epoch,
            failed: verdict.failed,
            known: verdict.known,
            latency: verdict.latency,
        }
    }
}

impl From<&AuditManager::Settlement> for Settlement {
    fn from(settlement: &AuditManager::Settlement) -> Self {
        Self {
            downtime: settlement.downtime,
            latency: settlement.latency,
            late: settlement.late,
            verdicts: settlement.verdicts,
            group_size: settlement.groupSize,
            quorum: settlement.quorum,
            staked: settlement.staked,
            owed: settlement.owed,
            kept: settlement.kept,
            maximum: settlement.maximum,
            bounty: settlement.bounty,
        }
    }
}
