//! Randomized response: each person's answer is private by itself.

use super::noiseless::is_noiseless;
use super::{Curve, Mechanism, accuracy};
use crate::Error;
use crate::accounting::Event;
use crate::noise::exact::Exact;
use crate::noise::interval::Interval;
use crate::privacy::Epsilon;
use crate::sensitivity::Neighbors;
use num_bigint::BigUint;
use num_traits::ToPrimitive;

/// Randomized response over k categories (Warner 1965; Kairouz, Oh and Viswanath 2014, k-ary): the truth with
/// probability e^epsilon / (e^epsilon + k - 1), any other category with 1 / (e^epsilon + k - 1) each, exactly.
///
/// Neighbours differ in one person's answer ([`Neighbors::ReplaceOne`]): each answer costs epsilon by itself, so
/// [`Mechanism::event`] is for one answer, and a batch of answers *of different people* costs the same.
///
/// ```
/// use veilsum_dp_core::mechanism::{Mechanism, RandomizedResponse};
/// use veilsum_dp_core::privacy::Epsilon;
///
/// let response = RandomizedResponse::new(Epsilon::from_decimal(1.0)?, 3)?;
/// let answers = response.release(&[0, 1, 2, 2, 1])?;
/// assert!(answers.iter().all(|&a| a < 3));
/// let estimates = response.estimate(&[100, 120, 80]); // unbiased counts from reported ones
/// assert!((estimates.iter().sum::<f64>() - 300.0).abs() < 1e-9);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RandomizedResponse {
    epsilon: Epsilon,
    categories: u32,
    truth: Bracket,
}

impl RandomizedResponse {
    /// Answers are numbers below `categories` >= 2.
    pub fn new(epsilon: Epsilon, categories: u32) -> Result<Self, Error> {
        if categories < 2 {
            return Err(Error::out_of_range("categories", categories, "a whole number >= 2"));
        }
        let truth = Bracket::of(&truth(&epsilon, categories, 192));
        Ok(Self { epsilon, categories, truth })
    }

    /// The pure epsilon of one answer.
    #[must_use]
    pub fn epsilon_exact(&self) -> &Epsilon {
        &self.epsilon
    }

    /// The number of categories.
    #[must_use]
    pub fn categories(&self) -> u32 {
        self.categories
    }

    /// Replaces each answer, of any integer type that holds it, by its release.
    ///
    /// # Errors
    /// If an answer is not from 0 to categories - 1; nothing is drawn then.
    pub fn release_in_place<T: Copy + TryInto<u32> + TryFrom<u32>>(&self, answers: &mut [T]) -> Result<(), Error> {
        let read = |answer: &T| (*answer).try_into().ok().filter(|&answer: &u32| answer < self.categories);
        let fits = T::try_from(self.categories - 1).is_ok();
        if !answers.iter().fold(fits, |valid, answer| valid & read(answer).is_some()) {
            return Err(outside());
        }
        if is_noiseless() || answers.is_empty() {
            return Ok(());
        }
        let mut random = Exact::new()?;
        for answer in answers {
            let truth = read(answer).ok_or_else(outside)?;
            *answer = T::try_from(self.respond(truth, &mut random)).map_err(|_| outside())?;
        }
        Ok(())
    }

    fn respond(&self, truth: u32, random: &mut Exact) -> u32 {
        // The lie is drawn either way, so that time does not tell which it was.
        let lie = random.uniform_below(u64::from(self.categories) - 1) as u32;
        let lie = lie + u32::from(lie >= truth);
        if self.tells_the_truth(random) { truth } else { lie }
    }

    /// Unbiased estimates of how often each category is true, from how often it was reported: (count - n q) / (p - q)
    /// for n answers, where p is the probability of the truth and q that of any one lie.
    #[must_use]
    pub fn estimate(&self, reported: &[u64]) -> Vec<f64> {
        let (p, q) = self.probabilities();
        let n: f64 = reported.iter().map(|&count| count as f64).sum();
        reported.iter().map(|&count| (count as f64 - n * q) / (p - q)).collect()
    }

    /// How far an estimate from `answers` answers may lie from the true count, with at least this confidence
    /// (Hoeffding 1963, Theorem 2, two-sided).
    ///
    /// # Errors
    /// If `confidence` is not in (0, 1).
    pub fn half_width(&self, answers: u64, confidence: f64) -> Result<f64, Error> {
        let (p, q) = self.probabilities();
        let tail = accuracy::tail(confidence)?;
        Ok((answers as f64 * libm::log(2.0 / tail) / 2.0).sqrt() / (p - q))
    }

    /// Of the truth, and of any one lie.
    fn probabilities(&self) -> (f64, f64) {
        let lies = f64::from(self.categories) - 1.0;
        let odds = libm::exp(-self.epsilon.upper());
        (1.0 / (1.0 + lies * odds), odds / (1.0 + lies * odds))
    }

    /// True with probability e^epsilon / (e^epsilon + k - 1): compares a uniform number with it, two words at first and
    /// more for as long as the comparison is open.
    fn tells_the_truth(&self, random: &mut Exact) -> bool {
        let uniform = u128::from(random.word()) << 64 | u128::from(random.word());
        if let Some(decided) = self.truth.compare(uniform) {
            return decided;
        }
        let (mut uniform, mut bits) = (BigUint::from(uniform), 128);
        loop {
            uniform = uniform << 64u32 | BigUint::from(random.word());
            bits += 64;
            let p = truth(&self.epsilon, self.categories, bits + 64);
            if (&uniform + 1u32) << 64u32 <= p.lo {
                return true;
            }
            if &uniform << 64u32 >= p.hi {
                return false;
            }
        }
    }
}

fn outside() -> Error {
    Error::OutOfRange {
        what: "an answer",
        value: "outside the categories".into(),
        bound: "a whole number from 0 to categories - 1, in a type that holds them all",
    }
}

/// Encloses 1 / (1 + (k - 1) e^-epsilon).
fn truth(epsilon: &Epsilon, categories: u32, bits: u64) -> Interval {
    let one_lie = Interval::exp_neg(epsilon.rational().as_big(), bits);
    let lies = categories - 1;
    let lies = Interval { lo: one_lie.lo * lies, hi: one_lie.hi * lies, bits };
    Interval::one(bits).reciprocal_of_sum(&lies)
}

/// Bounds on a probability p in units of 2^-128.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    /// floor(p 2^128) or less.
    floor: u128,
    /// ceil(p 2^128) - 1 or more: it fits even for p = 1.
    last: u128,
}

impl Bracket {
    fn of(p: &Interval) -> Self {
        let drop = p.bits - 128;
        let last = (&p.hi - 1u32) >> drop;
        Self { floor: (&p.lo >> drop).to_u128().unwrap_or(0), last: last.to_u128().unwrap_or(u128::MAX) }
    }

    /// Whether a uniform number that starts with these bits is below p; `None` if it cannot be told yet.
    fn compare(self, uniform: u128) -> Option<bool> {
        if uniform < self.floor {
            Some(true)
        } else if uniform > self.last {
            Some(false)
        } else {
            None
        }
    }
}

impl Mechanism for RandomizedResponse {
    type Input = [u32];
    type Output = Vec<u32>;

    fn release(&self, answers: &[u32]) -> Result<Vec<u32>, Error> {
        let mut answers = answers.to_vec();
        self.release_in_place(&mut answers)?;
        Ok(answers)
    }

    fn event(&self) -> Event {
        Event::RandomizedResponse { epsilon: self.epsilon.clone(), categories: self.categories }
    }

    fn neighbors(&self) -> Option<Neighbors> {
        Some(Neighbors::ReplaceOne)
    }
}

impl Curve for RandomizedResponse {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Rational;

    fn response(epsilon: &str, categories: u32) -> RandomizedResponse {
        let epsilon = Epsilon::new(epsilon.parse().expect("a number")).expect("in range");
        RandomizedResponse::new(epsilon, categories).expect("in range")
    }

    #[test]
    fn the_bracket_holds_the_probability_and_nearly_nothing_else() {
        for (epsilon, categories) in
            [("1", 2), ("1/1000000", 2), ("1/3", 3), ("10", 1000), ("50", u32::MAX), ("700", 2), ("1e300", 2)]
        {
            let r = response(epsilon, categories);
            assert!(r.truth.last - r.truth.floor <= 2, "{epsilon}, {categories}: undecided in at most three of 2^128");
            let p = Interval::one(256).reciprocal_of_sum(&{
                let e = Interval::exp_neg(r.epsilon.rational().as_big(), 256);
                Interval { lo: e.lo * (categories - 1), hi: e.hi * (categories - 1), bits: 256 }
            });
            assert!(
                BigUint::from(r.truth.floor) << 128u32 <= p.hi
                    && p.lo <= (BigUint::from(r.truth.last) + 1u32) << 128u32
            );
            let float = r.truth.floor as f64 * 2f64.powi(-128);
            assert!((float - r.probabilities().0).abs() < 1e-12, "{epsilon}, {categories}");
        }
    }

    #[test]
    fn comparisons_at_the_edges() {
        let half = Bracket { floor: 1 << 127, last: (1 << 127) - 1 };
        assert_eq!(half.compare((1 << 127) - 1), Some(true));
        assert_eq!(half.compare(1 << 127), Some(false));
        let open = Bracket { floor: 10, last: 11 };
        assert_eq!([9, 10, 11, 12].map(|u| open.compare(u)), [Some(true), None, None, Some(false)]);
    }

    #[test]
    fn an_open_comparison_is_settled_by_more_bits() {
        let mut r = response("1", 2);
        // Nothing is ever decided at once: every draw takes the long way, and the law stays the same.
        r.truth = Bracket { floor: 0, last: u128::MAX };
        let mut answers = vec![1; 20_000];
        r.release_in_place(&mut answers).expect("entropy");
        let truths = answers.iter().filter(|&&a| a == 1).count() as f64 / 20_000.0;
        // Hoeffding: off by 0.0232 with probability below 1e-9.
        assert!((truths - 0.731_058_578_630_005).abs() < 0.0232, "{truths}");
    }

    #[test]
    fn wrong_answers_and_parameters_are_refused() {
        let r = response("1", 3);
        assert!(matches!(r.release(&[0, 3]), Err(Error::OutOfRange { .. })));
        assert_eq!(r.release(&[]).expect("nothing to draw"), Vec::<u32>::new());
        assert!(RandomizedResponse::new(Epsilon::new(Rational::one()).expect("one"), 1).is_err());
    }
}
