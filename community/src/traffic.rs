//! The Ethereum side of a simulated network: a vault and a pool, and those who send transactions to them.
//!
//! A world of a few numbers, exact in integers, so that every challenge has a truth by arithmetic. Ordinary users trade and save; the
//! arbitrageur borrows nearly everything and repays it within the transaction, which looks like a drain half-way and breaks nothing at
//! its end; the attacker breaks an invariant. As in the engine, what counts is the state after the whole transaction.

use rand::Rng;
use rand::seq::SliceRandom;
use sha2::{Digest as _, Sha256};

use crate::mix::TrafficMix;

/// Of a swap, in thousandths, what remains after the pool's fee.
const AFTER_FEE: u128 = 997;

/// Who sends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Ordinary people.
    User,
    /// Legitimate, and odd to look at.
    Arbitrageur,
    /// Breaks something.
    Attacker,
}

/// The contracts' state: a vault whose shares are worth one asset each, and a pool of two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// What the vault holds.
    pub assets: u128,
    /// What the vault owes.
    pub shares: u128,
    /// What the pool holds of the first token.
    pub reserve_x: u128,
    /// What the pool holds of the second.
    pub reserve_y: u128,
}

/// One call of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// So much of the first token for the second.
    SwapX(u128),
    /// So much of the second token for the first.
    SwapY(u128),
    /// Into the vault.
    Deposit(u128),
    /// Out of the vault.
    Withdraw(u128),
    /// A loan from the vault, without security until the transaction's end.
    Borrow(u128),
    /// The loan back, with what it costs.
    Repay(u128),
    /// A withdrawal that calls itself so often before the shares are burnt: the bug.
    Reenter(u128, u32),
    /// Out of the pool without anything in return: the other bug.
    Skim(u128),
}

/// What a transaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The state after it; the state before it when it was reverted.
    pub after: World,
    /// Whether an invariant is broken by it.
    pub violated: bool,
}

impl World {
    /// A world as it might be found, drawn.
    pub fn draw(rng: &mut impl Rng) -> Self {
        let shares = rng.random_range(1_000_000..10_000_000);
        Self {
            assets: shares + rng.random_range(0..100_000),
            shares,
            reserve_x: rng.random_range(10_000_000..100_000_000),
            reserve_y: rng.random_range(10_000_000..100_000_000),
        }
    }

    /// Executes a transaction and judges the state after it.
    pub fn execute(&self, calls: &[Call]) -> Effect {
        let after = calls
            .iter()
            .try_fold(*self, |world, call| world.call(*call))
            .unwrap_or(*self);
        Effect {
            after,
            violated: !after.is_sound(self),
        }
    }

    /// One call; none when it reverts.
    fn call(self, call: Call) -> Option<Self> {
        let swap = |given: u128, from: u128, to: u128| -> Option<(u128, u128)> {
            let paid = given.checked_mul(AFTER_FEE)?;
            let out = to.checked_mul(paid)? / from.checked_mul(1_000)?.checked_add(paid)?;
            Some((from.checked_add(given)?, to.checked_sub(out)?))
        };
        let mut next = self;
        match call {
            Call::SwapX(given) => (next.reserve_x, next.reserve_y) = swap(given, self.reserve_x, self.reserve_y)?,
            Call::SwapY(given) => (next.reserve_y, next.reserve_x) = swap(given, self.reserve_y, self.reserve_x)?,
            Call::Deposit(amount) => {
                next.assets = self.assets.checked_add(amount)?;
                next.shares = self.shares.checked_add(amount)?;
            }
            Call::Withdraw(amount) => {
                next.assets = self.assets.checked_sub(amount)?;
                next.shares = self.shares.checked_sub(amount)?;
            }
            Call::Borrow(amount) => next.assets = self.assets.checked_sub(amount)?,
            Call::Repay(amount) => next.assets = self.assets.checked_add(amount)?,
            Call::Reenter(amount, times) => {
                next.assets = self.assets.checked_sub(amount.checked_mul(times.into())?)?;
                next.shares = self.shares.checked_sub(amount)?;
            }
            Call::Skim(amount) => next.reserve_y = self.reserve_y.checked_sub(amount)?,
        }
        Some(next)
    }

    /// The two invariants: the vault can pay everybody, and a trade never leaves the pool with less.
    fn is_sound(&self, before: &Self) -> bool {
        let product = |world: &Self| world.reserve_x.saturating_mul(world.reserve_y);
        self.assets >= self.shares && product(self) >= product(before)
    }

    /// What shows that a challenge was executed: a hash of the state after it, bound to the challenge.
    pub fn digest(&self, challenge: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(challenge.to_be_bytes());
        for value in [self.assets, self.shares, self.reserve_x, self.reserve_y] {
            hash.update(value.to_be_bytes());
        }
        hash.finalize().into()
    }
}

/// The transaction of a sender.
pub fn transaction(sender: Sender, world: &World, rng: &mut impl Rng) -> Vec<Call> {
    match sender {
        Sender::User => {
            let amount = rng.random_range(1..10_000);
            vec![match rng.random_range(0..4) {
                0 => Call::SwapX(amount),
                1 => Call::SwapY(amount),
                2 => Call::Deposit(amount),
                _ => Call::Withdraw(amount),
            }]
        }
        Sender::Arbitrageur => {
            let loan = world.assets / 100 * rng.random_range(80..100);
            let (there, back) = (rng.random_range(1_000..1_000_000), rng.random_range(1_000..1_000_000));
            vec![
                Call::Borrow(loan),
                Call::SwapX(there),
                Call::SwapY(back),
                Call::Repay(loan + loan / 1_000),
            ]
        }
        Sender::Attacker => match rng.random_bool(0.5) {
            // Twice as much as the vault has beyond what it owes, so that it cannot pay everybody afterwards.
            true => vec![Call::Reenter(
                world.assets - world.shares + rng.random_range(1..1_000),
                3,
            )],
            false => vec![
                Call::Deposit(rng.random_range(1..1_000)),
                Call::Skim(rng.random_range(1_000..world.reserve_y)),
            ],
        },
    }
}

/// Who sends `count` transactions: in the shares of the mix as far as whole numbers go, in an order drawn anew.
pub fn senders(mix: &TrafficMix, count: usize, rng: &mut impl Rng) -> Vec<Sender> {
    let whole = u64::from(mix.user) + u64::from(mix.arbitrageur) + u64::from(mix.attacker);
    let of = |share: u32| usize::try_from(count as u64 * u64::from(share) / whole.max(1)).unwrap_or(count);
    // An attack at least: who never saw one has shown nothing.
    let attackers = of(mix.attacker).clamp(count.min(1), count);
    let arbitrageurs = of(mix.arbitrageur).min(count - attackers);
    let mut all = vec![Sender::Attacker; attackers];
    all.extend(std::iter::repeat_n(Sender::Arbitrageur, arbitrageurs));
    all.resize(count, Sender::User);
    all.shuffle(rng);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    proptest! {
        #[test]
        fn the_attacker_always_breaks_something_and_nobody_else_ever_does(seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let world = World::draw(&mut rng);
            for (sender, violates) in [(Sender::User, false), (Sender::Arbitrageur, false), (Sender::Attacker, true)] {
                let calls = transaction(sender, &world, &mut rng);
                prop_assert_eq!(world.execute(&calls).violated, violates, "{:?} {:?} on {:?}", sender, calls, world);
            }
        }

        #[test]
        fn the_arbitrageur_looks_like_an_attacker_half_way(seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let world = World::draw(&mut rng);
            let calls = transaction(Sender::Arbitrageur, &world, &mut rng);
            prop_assert!(world.execute(&calls[..2]).violated);
        }
    }

    #[test]
    fn a_reverted_transaction_changes_and_breaks_nothing() {
        let world = World::draw(&mut ChaCha20Rng::seed_from_u64(1));
        let effect = world.execute(&[Call::Skim(5), Call::Withdraw(u128::MAX)]);
        assert_eq!((effect.after, effect.violated), (world, false));
    }

    #[test]
    fn everybody_sends_their_share() {
        let mix = TrafficMix {
            user: 15,
            arbitrageur: 2,
            attacker: 3,
        };
        let all = senders(&mix, 60, &mut ChaCha20Rng::seed_from_u64(1));
        let count = |sender| all.iter().filter(|other| **other == sender).count();
        assert_eq!(
            [Sender::User, Sender::Arbitrageur, Sender::Attacker].map(count),
            [45, 6, 9]
        );
        let one = senders(&mix, 1, &mut ChaCha20Rng::seed_from_u64(1));
        assert_eq!(one, [Sender::Attacker]);
    }
}
