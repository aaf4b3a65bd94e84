//! Whose heads are followed, of several nodes: a rule without a socket.
//!
//! One node at a time, so that two that are on different forks for a moment do not make a reorg of every block. It is left only
//! when it is not listened to any more, or falls behind.

/// Blocks that the followed node may be behind another one.
const LAG: u64 = 3;

/// A node, as far as the rule goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Candidate {
    /// It is listened to.
    pub connected: bool,
    /// The highest block that it has shown.
    pub height: u64,
}

/// The node to follow from now on; `None` when none is listened to. `now` is the one that is followed; of several that would do,
/// the first.
#[must_use]
pub fn lead(now: Option<usize>, candidates: &[Candidate]) -> Option<usize> {
    let connected = || candidates.iter().enumerate().filter(|(_, node)| node.connected);
    let best = connected().map(|(_, node)| node.height).max()?;
    let keeps_up = |node: &Candidate| node.connected && node.height + LAG >= best;
    now.filter(|now| candidates.get(*now).is_some_and(keeps_up))
        .or_else(|| connected().find(|(_, node)| keeps_up(node)).map(|(index, _)| index))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn up(height: u64) -> Candidate {
        Candidate {
            connected: true,
            height,
        }
    }
    const DOWN: Candidate = Candidate {
        connected: false,
        height: 100,
    };

    #[test]
    fn the_first_that_is_there_is_followed_and_kept() {
        assert_eq!(lead(None, &[up(10), up(11)]), Some(0));
        assert_eq!(lead(Some(1), &[up(10), up(10)]), Some(1), "no change without need");
        assert_eq!(lead(Some(0), &[DOWN, up(9)]), Some(1));
        assert_eq!(lead(Some(0), &[DOWN, DOWN]), None);
        assert_eq!(lead(None, &[]), None);
    }

    #[test]
    fn one_that_falls_behind_is_left() {
        assert_eq!(lead(Some(0), &[up(10), up(13)]), Some(0));
        assert_eq!(lead(Some(0), &[up(10), up(14)]), Some(1));
        // What a node showed before it broke off is no measure for the others.
        assert_eq!(lead(Some(1), &[DOWN, up(10)]), Some(1));
    }
}
