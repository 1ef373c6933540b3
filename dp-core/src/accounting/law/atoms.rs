//! Laws of finitely many outcomes.

use crate::accounting::interval::Interval;
use crate::privacy::{Positive, Rational};

/// Outcomes with the same privacy loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Atom {
    /// ln(p / q), finite.
    pub(crate) loss: Interval,
    /// Probability under P.
    pub(crate) p: Interval,
    /// Probability under Q.
    pub(crate) q: Interval,
}

/// A law of finitely many outcomes, by increasing loss.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Atoms {
    pub(crate) atoms: Vec<Atom>,
    /// Probability under P of outcomes impossible under Q, and the other way round.
    pub(crate) infinite: Interval,
    /// At most so much of Q's probability lies outside the list.
    pub(crate) missed: f64,
}

impl Atoms {
    /// p outcomes and their mirror images under Q.
    fn symmetric_pair(epsilon: Interval, inside: Interval, infinite: Interval) -> Self {
        let e = epsilon.exp();
        // inside e^eps / (1 + e^eps), written so that neither end overflows.
        let small = inside / (Interval::ONE + e);
        let large = inside / (Interval::ONE + (-epsilon).exp());
        let atoms = vec![Atom { loss: -epsilon, p: small, q: large }, Atom { loss: epsilon, p: large, q: small }];
        Self { atoms, missed: infinite.hi, infinite }
    }

    /// Randomized response with two answers dominates everything epsilon-differentially private (Kairouz, Oh and
    /// Viswanath 2015, Theorem 3.3).
    pub(crate) fn pure(epsilon: Interval) -> Self {
        Self::symmetric_pair(epsilon, Interval::ONE, Interval::ZERO)
    }

    /// The same with probability 1 - delta; else the loss is infinite (Kairouz, Oh and Viswanath 2015, Theorem 3.4).
    pub(crate) fn approximate(epsilon: Interval, delta: Interval) -> Self {
        Self::symmetric_pair(epsilon, Interval::ONE - delta, delta)
    }

    /// Answers the truth with probability e^eps / (e^eps + k - 1), each other answer with 1 / (e^eps + k - 1).
    pub(crate) fn randomized_response(epsilon: Interval, categories: u32) -> Self {
        let others = Interval::point(f64::from(categories - 1));
        let wrong = Interval::ONE / (epsilon.exp() + others);
        let right = Interval::ONE / (Interval::ONE + others * (-epsilon).exp());
        let mut atoms = vec![Atom { loss: -epsilon, p: wrong, q: right }, Atom { loss: epsilon, p: right, q: wrong }];
        if categories > 2 {
            let neither = wrong * f64::from(categories - 2);
            atoms.insert(1, Atom { loss: Interval::ZERO, p: neither, q: neither });
        }
        Self { atoms, infinite: Interval::ZERO, missed: 0.0 }
    }

    /// Two-sided geometric noise: losses (2x - D) / scale for 0 < x < D, and +-D / scale for the two flat ends.
    pub(crate) fn discrete_laplace(scale: &Positive, sensitivity: u64) -> Self {
        let d = sensitivity as f64;
        let whole = Interval::rational(&(&Rational::from(sensitivity) / scale));
        let scale = Interval::rational(scale);
        let ratio = (-(Interval::ONE / scale)).exp();
        let outside = -(-(Interval::ONE / scale)).expm1();
        // P(0) = (1 - r) / (1 + r); the mass at and beyond a flat end is P(0) / (1 - r) = 1 / (1 + r).
        let end = Interval::ONE / (Interval::ONE + ratio);
        let centre = outside * end;
        let power = |k: f64| (-(Interval::point(k) / scale)).exp();
        let mut atoms = vec![Atom { loss: -whole, p: end * power(d), q: end }];
        for x in 1..sensitivity {
            let x = x as f64;
            atoms.push(Atom {
                loss: Interval::point(2.0 * x - d) / scale,
                p: centre * power(d - x),
                q: centre * power(x),
            });
        }
        atoms.push(Atom { loss: whole, p: end, q: end * power(d) });
        Self { atoms, infinite: Interval::ZERO, missed: 0.0 }
    }

    /// The sum of p (1 - e^(eps - loss)) over losses above epsilon: every term positive, nothing cancels.
    pub(crate) fn delta(&self, epsilon: f64) -> Interval {
        let epsilon = Interval::point(epsilon);
        self.atoms
            .iter()
            .rev()
            .take_while(|atom| atom.loss.hi > epsilon.lo)
            .map(|atom| atom.p * (-(epsilon - atom.loss).expm1()).clamp(0.0, 1.0))
            .fold(self.infinite, |sum, term| sum + term)
            .clamp(0.0, 1.0)
    }
}
