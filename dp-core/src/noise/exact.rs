//! Exact decisions for mechanisms that choose: uniform numbers, Bernoulli(p), Bernoulli(e^-x), and choices by
//! exponential weights that neither underflow nor round.

use super::interval::Interval;
use super::source::Key;
use super::words::Stream;
use crate::Error;
use crate::privacy::Rational;
use num_bigint::BigUint;
use num_traits::{Signed, Zero};

/// Exact randomness for one release, from the sealed source.
///
/// Create one for each release and drop it after: its key is erased forward.
pub struct Exact(Stream);

impl std::fmt::Debug for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exact")
    }
}

impl Exact {
    /// Fresh randomness.
    pub fn new() -> Result<Self, Error> {
        Ok(Self(Stream::new(&Key::fresh()?)))
    }

    /// Randomness under a known key, for replays.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_key(key: &[u8; 32]) -> Self {
        Self(Stream::new(&Key::known(*key)))
    }

    /// A uniform word.
    pub fn word(&mut self) -> u64 {
        self.0.word()
    }

    /// A uniform number in 0 .. n; 0 if n is 0.
    pub fn uniform_below(&mut self, n: u64) -> u64 {
        if n < 2 {
            return 0;
        }
        // Keep as many bits as n - 1 has and try again above it: fewer than two tries on average.
        let shift = (n - 1).leading_zeros();
        loop {
            let candidate = self.0.word() >> shift;
            if candidate < n {
                return candidate;
            }
        }
    }

    /// A uniform number in 0 .. n; 0 if n is 0.
    pub fn uniform_below_big(&mut self, n: &BigUint) -> BigUint {
        if n.is_zero() {
            return BigUint::zero();
        }
        let bits = (n - 1u32).bits();
        loop {
            let mut candidate = BigUint::zero();
            for _ in 0..bits.div_ceil(64) {
                candidate = candidate << 64u32 | BigUint::from(self.0.word());
            }
            candidate >>= bits.div_ceil(64) * 64 - bits;
            if candidate < *n {
                return candidate;
            }
        }
    }

    /// True with probability p; certain outside (0, 1).
    pub fn bernoulli(&mut self, p: &Rational) -> bool {
        let (p, q) = (p.as_big().numer(), p.as_big().denom());
        if !p.is_positive() {
            return false;
        }
        if p >= q {
            return true;
        }
        self.uniform_below_big(q.magnitude()) < *p.magnitude()
    }

    /// True with probability e^-x; certain for x <= 0.
    pub fn bernoulli_exp(&mut self, x: &Rational) -> bool {
        if !x.is_positive() {
            return true;
        }
        self.is_below(|bits| Interval::exp_neg(x.as_big(), bits))
    }

    /// True with probability factor e^-x, for a factor > 0, x >= 0 and a product of at most 1.
    pub(crate) fn bernoulli_scaled_exp(&mut self, factor: &Rational, x: &Rational) -> bool {
        // Bits before the point of the factor are lost after it in the product.
        let whole = factor.as_big().ceil().to_integer().magnitude().bits();
        self.is_below(|bits| Interval::exp_neg(x.as_big(), bits + whole).times_rational(factor.as_big()).coarser(bits))
    }

    /// Whether a uniform real in [0, 1) falls below a number that can be enclosed at any precision.
    fn is_below(&mut self, enclose: impl Fn(u64) -> Interval) -> bool {
        let (mut known, mut bits) = (BigUint::zero(), 0);
        loop {
            known = known << 64u32 | BigUint::from(self.0.word());
            bits += 64;
            let number = enclose(bits + 8);
            let (low, high) = (&known << 8u32, (&known + 1u32) << 8u32);
            if high <= number.lo {
                return true;
            }
            if low >= number.hi {
                return false;
            }
        }
    }

    /// An index i with probability proportional to e^(x_i): the exponential mechanism's choice, exactly. `None` for no
    /// candidates.
    ///
    /// Candidates are proposed uniformly, with replacement, and kept with probability e^(x_i - max x), which is never
    /// computed, only compared with: thousands of candidates cannot underflow. Up to n proposals on average.
    pub fn choose_exp(&mut self, x: &[Rational]) -> Option<usize> {
        let deficits = deficits(x);
        let n = deficits.len() as u64;
        if n == 0 {
            return None;
        }
        loop {
            let i = self.uniform_below(n) as usize;
            if self.bernoulli_exp(&deficits[i]) {
                return Some(i);
            }
        }
    }

    /// Permute-and-flip's choice: the same without replacement, which is the largest x_i plus exponential noise (McKenna
    /// and Sheldon 2020; Ding et al. 2021). `None` for no candidates.
    pub fn permute_and_flip(&mut self, x: &[Rational]) -> Option<usize> {
        let deficits = deficits(x);
        self.permutation(x.len()).into_iter().find(|&i| self.bernoulli_exp(&deficits[i]))
    }

    /// A uniformly random order of 0 .. n (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            let other = self.uniform_below(last as u64 + 1) as usize;
            order.swap(last, other);
        }
        order
    }
}

/// max x - x_i, for each i.
fn deficits(x: &[Rational]) -> Vec<Rational> {
    let Some(max) = x.iter().max() else { return Vec::new() };
    x.iter().map(|x| max - x).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rational(text: &str) -> Rational {
        text.parse().expect("valid")
    }

    /// Hoeffding: a mean of n bounded draws strays by `slack` with probability below 2 e^(-2 n slack^2) < 1e-11.
    fn near(hits: usize, n: usize, p: f64) -> bool {
        let slack = (26.0 / (2.0 * n as f64)).sqrt();
        (hits as f64 / n as f64 - p).abs() < slack
    }

    #[test]
    fn coins_have_their_weights() {
        let mut exact = Exact::new().expect("entropy");
        let n = 40_000;
        for (text, p) in [("1/3", 1.0 / 3.0), ("0", 0.0), ("1", 1.0), ("7/5", 1.0), ("-1", 0.0), ("999/1000", 0.999)] {
            let hits = (0..n).filter(|_| exact.bernoulli(&rational(text))).count();
            assert!(near(hits, n, p), "{text}: {hits}");
        }
        for text in ["0", "1/997", "1", "5/2", "1000000000", "-3"] {
            let x = rational(text);
            let hits = (0..n).filter(|_| exact.bernoulli_exp(&x)).count();
            assert!(near(hits, n, (-x.nearest()).exp().min(1.0)), "{text}: {hits}");
        }
    }

    #[test]
    fn uniform_numbers_stay_below_and_reach_everything() {
        let mut exact = Exact::new().expect("entropy");
        for n in [1, 2, 3, 5, 8, 1 << 40, u64::MAX] {
            assert!((0..1000).all(|_| exact.uniform_below(n) < n));
            let big = BigUint::from(n) << 70u32;
            assert!((0..100).all(|_| exact.uniform_below_big(&big) < big));
        }
        let n = 60_000;
        let mut counts = [0; 6];
        (0..n).for_each(|_| counts[exact.uniform_below(6) as usize] += 1);
        assert!(counts.iter().all(|&c| near(c, n, 1.0 / 6.0)), "{counts:?}");
        assert_eq!((exact.uniform_below(0), exact.uniform_below_big(&BigUint::zero())), (0, BigUint::zero()));
    }

    #[test]
    fn choices_have_their_weights() {
        let mut exact = Exact::new().expect("entropy");
        let scores = ["-100000", "0", "1", "1", "-1/2"].map(rational);
        let weights: Vec<f64> = scores.iter().map(|x| x.nearest().exp()).collect();
        let total: f64 = weights.iter().sum();
        let n = 40_000;
        let mut counts = [0; 5];
        (0..n).for_each(|_| counts[exact.choose_exp(&scores).expect("candidates")] += 1);
        for (count, weight) in counts.iter().zip(&weights) {
            assert!(near(*count, n, weight / total), "{counts:?}");
        }
        // Two candidates, d apart: the worse one wins with probability e^-d / 2 under exponential noise.
        let pair = ["3", "5/2"].map(rational);
        let worse = (0..n).filter(|_| exact.permute_and_flip(&pair) == Some(1)).count();
        assert!(near(worse, n, (-0.5f64).exp() / 2.0), "{worse}");
        assert_eq!((exact.choose_exp(&[]), exact.permute_and_flip(&[])), (None, None));
    }

    #[test]
    fn thousands_of_candidates_do_not_underflow() {
        let mut exact = Exact::new().expect("entropy");
        let scores: Vec<Rational> = (0..5000i64).map(|i| Rational::from(-1000 * i - 1_000_000)).collect();
        assert_eq!(exact.choose_exp(&scores), Some(0));
        assert_eq!(exact.permute_and_flip(&scores), Some(0));
    }
}
