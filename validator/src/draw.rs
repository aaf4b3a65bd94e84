//! Which miners a challenge goes to: k of {3, 5, 7, 9}, k and the miners both at random.

use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

/// The numbers of miners that a challenge may go to. Odd, so that a vote has a winner.
const SIZES: [usize; 4] = [3, 5, 7, 9];

/// Draws miners for one challenge: when fewer serve than were drawn for, all of them.
pub fn draw<'a, T>(serving: &'a [T], rng: &mut impl Rng) -> Vec<&'a T> {
    let size = SIZES.choose(rng).copied().unwrap_or(3);
    let mut drawn: Vec<&T> = serving.iter().choose_multiple(rng, size);
    // `choose_multiple` favours no element, but its order does: who is asked first must be random too.
    rand::seq::SliceRandom::shuffle(drawn.as_mut_slice(), rng);
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn sizes_are_those_of_the_original_and_everybody_gets_a_turn() {
        let serving: Vec<u16> = (4..14).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut turns = [0u32; 14];
        for _ in 0..10_000 {
            let drawn = draw(&serving, &mut rng);
            assert!(SIZES.contains(&drawn.len()));
            let mut unique = drawn.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), drawn.len(), "nobody is asked twice");
            for uid in drawn {
                turns[usize::from(*uid)] += 1;
            }
        }
        // 10,000 draws of 6 on average among 10 miners: 6,000 each.
        assert!(turns[4..].iter().all(|t| (5_700..6_300).contains(t)), "{turns:?}");
    }

    #[test]
    fn when_few_serve_all_are_asked() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(draw(&[1, 2], &mut rng).len(), 2);
        assert!(draw::<u16>(&[], &mut rng).is_empty());
    }
}
