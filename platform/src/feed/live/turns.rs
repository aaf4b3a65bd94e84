//! When a sender's transactions are logged anew because of others of its that go before them: a rule without a clock.
//!
//! A predecessor arrives, gives way or is dropped: those behind it do something else now. They are logged anew at once, and then at
//! most once in a while, however often the sender changes its mind: what comes meanwhile waits for its turn, and is told by one item
//! then. So it is the newest that is judged in the end, and a sender who replaces the same transaction again and again costs, for each
//! of its transactions that wait, one item in that while.
//!
//! Memory is bounded by the senders who changed something within the while.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use engine::Address;

/// The while.
pub(super) const WHILE: Duration = Duration::from_secs(1);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When a sender's next turn may be, of those who had one within the while.
    next: HashMap<Address, Duration>,
    /// Those who wait for it.
    waiting: BTreeSet<(Duration, Address)>,
}

impl Turns {
    /// Whether the sender's transactions are logged anew at `now`; when not, it is told by [`Turns::due`] when they are.
    pub(super) fn ask(&mut self, sender: Address, now: Duration) -> bool {
        match self.next.get(&sender).filter(|next| **next > now) {
            Some(next) => {
                self.waiting.insert((*next, sender));
                false
            }
            None => {
                self.next.insert(sender, now + WHILE);
                self.waiting.retain(|(_, waiting)| *waiting != sender);
                true
            }
        }
    }

    /// Those whose turn has come; each has had it then.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Address> {
        self.next.retain(|_, next| *next > now);
        let later = self.waiting.split_off(&(now + Duration::from_nanos(1), Address::ZERO));
        let due = std::mem::replace(&mut self.waiting, later);
        let due: Vec<Address> = due.into_iter().map(|(_, sender)| sender).collect();
        self.next.extend(due.iter().map(|sender| (*sender, now + WHILE)));
        due
    }

    /// When the next turn comes of one who waits.
    pub(super) fn next(&self) -> Option<Duration> {
        self.waiting.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENDER: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_change_is_told_at_once_and_the_last_one_in_the_end() {
        let mut turns = Turns::default();
        assert!(turns.ask(SENDER, ms(0)));
        assert!(!turns.ask(SENDER, ms(10)) && !turns.ask(SENDER, ms(20)));
        assert!(turns.ask(OTHER, ms(20)), "another sender has turns of its own");
        assert_eq!((turns.due(ms(999)), turns.next()), (vec![], Some(WHILE)));
        assert_eq!((turns.due(WHILE), turns.next()), (vec![SENDER], None));
        assert!(!turns.ask(SENDER, ms(1_500)), "that was a turn too");
        assert_eq!(turns.due(ms(2_000)), [SENDER]);
        assert!(turns.ask(SENDER, ms(9_000)));
    }

    proptest! {
        /// However often anybody asks: each sender has at most one turn in the while, and the last who asked has one after asking.
        #[test]
        fn turns_are_bounded_and_nobody_is_forgotten(asked in prop::collection::vec((1u8..4, 0u64..400), 1..200)) {
            let (mut turns, mut now) = (Turns::default(), Duration::ZERO);
            let mut had: HashMap<Address, Vec<Duration>> = HashMap::new();
            let mut last: HashMap<Address, Duration> = HashMap::new();
            for (sender, pause) in asked {
                let then = now + ms(pause);
                while let Some(next) = turns.next().filter(|next| *next <= then) {
                    now = next;
                    turns.due(now).into_iter().for_each(|sender| had.entry(sender).or_default().push(now));
                }
                now = then;
                let sender = Address::repeat_byte(sender);
                last.insert(sender, now);
                if turns.ask(sender, now) {
                    had.entry(sender).or_default().push(now);
                }
                prop_assert!(turns.next.len() <= 3 && turns.waiting.len() <= 3);
            }
            while let Some(next) = turns.next() {
                turns.due(next).into_iter().for_each(|sender| had.entry(sender).or_default().push(next));
            }
            for (sender, asked) in last {
                let had = &had[&sender];
                prop_assert!(had.iter().zip(&had[1..]).all(|(one, next)| *next - *one >= WHILE), "{had:?}");
                prop_assert!(*had.last().unwrap() >= asked);
            }
        }
    }
}
