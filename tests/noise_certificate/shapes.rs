//! The laws' shapes, enclosed.

use super::enclosure::{Enclosure, P, power_of_two};
use dashu::base::{Abs, UnsignedAbs};
use dashu::integer::{IBig, UBig};
use dashu::rational::RBig;
use std::cell::RefCell;
use std::collections::HashMap;

pub(crate) enum Shape {
    Laplace { scale: RBig },
    Gaussian { sigma: RBig },
    Skellam { variance: RBig, poisson: Option<Poisson>, known: RefCell<HashMap<u64, Enclosure>> },
}

impl Shape {
    pub(crate) fn skellam(variance: RBig) -> Self {
        let poisson = (variance < power_of_two(20)).then(|| Poisson::new(&variance));
        Self::Skellam { variance, poisson, known: RefCell::default() }
    }

    /// f(t); for Skellam at whole numbers.
    pub(crate) fn at(&self, t: &RBig) -> Enclosure {
        if *t == RBig::ZERO {
            return Enclosure { lo: IBig::ONE << P, hi: IBig::ONE << P };
        }
        match self {
            Self::Laplace { scale } => Enclosure::exp_neg(&(t / scale)),
            Self::Gaussian { sigma } => {
                let z = t / sigma;
                Enclosure::exp_neg(&(&z * &z / RBig::from(2u32)))
            }
            Self::Skellam { variance, poisson, known } => {
                let k: u64 = t.floor().try_into().expect("small");
                let weigh = |k| poisson.as_ref().map_or_else(|| hankel(variance, k), |p| p.meet(k as usize));
                let mut known = known.borrow_mut();
                let at_zero = known.entry(0).or_insert_with(|| weigh(0)).clone();
                known.entry(k).or_insert_with(|| weigh(k)).over(&at_zero)
            }
        }
    }
}

/// The weights of a Poisson law of mean v / 2 over its largest, where they are not below 2^-P.
pub(crate) struct Poisson {
    weights: Vec<Enclosure>,
    /// More than all other weights together.
    beyond: IBig,
}

impl Poisson {
    fn new(variance: &RBig) -> Self {
        let mean = variance / RBig::from(2u32);
        let (p, q) = (mean.numerator().clone(), mean.denominator().clone());
        let mode: u64 = mean.floor().try_into().expect("small");
        let one = Enclosure { lo: IBig::ONE << P, hi: IBig::ONE << P };
        let (mut down, mut here) = (Vec::new(), one.clone());
        for m in (1..=mode).rev() {
            // P(m - 1) = P(m) m / mean.
            here = here.times_ratio(&(IBig::from(m) * IBig::from(q.clone())), &p.clone().unsigned_abs());
            down.push(here.clone());
            if here.hi <= IBig::ONE << 12 {
                break;
            }
        }
        let (mut up, mut here) = (vec![one.clone()], one);
        for m in mode + 1.. {
            here = here.times_ratio(&p, &(&q * UBig::from(m)));
            up.push(here.clone());
            if here.hi <= IBig::ONE << 12 {
                break;
            }
        }
        // Both ends lie 20 deviations out, where each weight is below the one before by 1 part in 2^6 or more: what is
        // left out on either side is at most 2^(12 + 6).
        let beyond = IBig::ONE << 22;
        let weights = down.into_iter().rev().chain(up).collect();
        Self { weights, beyond }
    }

    /// The sum over m of P(m) P(m + k): twice what is left out weighs at most `beyond` times a largest weight of one.
    fn meet(&self, k: usize) -> Enclosure {
        let nothing = Enclosure { lo: IBig::ZERO, hi: IBig::ZERO };
        let later = self.weights.get(k..).unwrap_or_default();
        let sum = self.weights.iter().zip(later).fold(nothing, |sum, (a, b)| sum.plus(&a.times(b)));
        Enclosure { lo: sum.lo, hi: sum.hi + &self.beyond + &self.beyond }
    }
}

/// sqrt(2 pi v) e^-v I_k(v) by Hankel's expansion (DLMF 10.40.1), which is exact but for a remainder.
///
/// By DLMF 10.34.3 I_k(v) is, up to K_k(v) / pi, which is smaller by e^(-2 v + k^2 / v), the continuation of K_k to the
/// argument v e^(pi i). There DLMF 10.40.11 and 10.40.12 bound the remainder after the terms m < l by
/// 2 |a_l(k)| chi(l) v^-l e^(|k^2 - 1/4| chi(1) / v) with chi(l) = sqrt(pi) Gamma(l/2 + 1) / Gamma(l/2 + 1/2), which is at
/// most 2 (l + 1), and chi(1) = pi / 2.
fn hankel(variance: &RBig, k: u64) -> Enclosure {
    let (p, q) = (variance.numerator(), IBig::from(variance.denominator().clone()));
    let square = IBig::from(4u32) * IBig::from(k) * IBig::from(k);
    // e^(k^2 pi / (2 v)) <= 2^(2.27 k^2 / v), and 2 chi(l) < 2^(bits of l + 4).
    let exponent: usize = (RBig::from(&square * IBig::from(3u32)) / RBig::from(4u32) / variance)
        .ceil()
        .try_into()
        .expect("k is not far out");
    // So many bits more, that the remainder is below a unit of 2^-P.
    let guard = exponent + 64;
    let mut term = Enclosure { lo: IBig::ONE << (P + guard), hi: IBig::ONE << (P + guard) };
    let mut sum = term.clone();
    for l in 1u32.. {
        let odd = IBig::from(2 * l - 1);
        let factor = (&odd * &odd - &square) * &q;
        term = term.times_ratio(&factor, &(p.clone().unsigned_abs() * UBig::from(8 * l)));
        let size = term.lo.clone().abs().max(term.hi.clone().abs());
        if size < IBig::ONE << 16 {
            let sum = sum.widened(&(size << (exponent + 36)));
            return Enclosure { lo: sum.lo >> guard, hi: (sum.hi >> guard) + IBig::ONE };
        }
        sum = sum.plus(&term);
    }
    unreachable!("the terms fall below a unit")
}
