//! What a composition is made of, in one direction: losses whose moments M(s) = E_P[e^(sL)] can be evaluated.

use super::elementary;
use super::sampled::SampledGaussian;
use crate::accounting::interval::Interval;

/// The rounding unit 2^-53.
pub(crate) const UNIT: f64 = 0.5 * f64::EPSILON;

/// The smaller number. Not `f64::min`, which drops a NaN: here a NaN in the first place stays, and is refused later.
pub(super) fn lesser(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

/// The larger number, as [`lesser`].
pub(super) fn greater(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

/// Which of two neighbours is P.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// P has the unit: P = (1 - q) N(0) + q N(1), Q = N(0).
    Remove,
    /// P lacks it: P = N(0), Q = (1 - q) N(0) + q N(1).
    Add,
}

/// Finitely many losses, with their probabilities under P. One side of a bound: see `atomize`.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Points {
    pub(crate) losses: Vec<f64>,
    pub(crate) masses: Vec<f64>,
    /// Relative error of every mass, already charged to one side.
    pub(crate) infinite: f64,
}

/// One kind of release and how often it ran.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Component {
    /// Any number of Gaussian releases: the sum of 1 / sigma^2, enclosed.
    Gaussian(Interval),
    Sampled(SampledGaussian, f64),
    /// Any other law, for a first guess and for Chernoff's bound.
    Points(Points, f64),
}

/// ln M(c) of one release with its first two derivatives, and a bound on the error of the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) log: f64,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) error: f64,
}

impl Moment {
    const UNKNOWN: Self = Self { log: 0.0, mean: 0.0, variance: 0.0, error: f64::INFINITY };
}

/// The tilted law of one release at c, as quadrature nodes: M(c + iu) / M(c) is the sum of weight e^(iu (loss - mean)),
/// times e^(iu mean).
#[derive(Clone, Debug)]
pub(crate) struct Tilted {
    pub(crate) moment: Moment,
    /// loss - mean
    pub(crate) centred: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    /// How far the sum may be from M(c + iu) / M(c), but for the rounding of phases and of the sum itself, and how wrong the
    /// losses are on average.
    doubt: (f64, f64),
}

impl Points {
    fn moment(&self, tilt: f64) -> Moment {
        let top = self.losses.iter().zip(&self.masses).filter(|(_, m)| **m > 0.0);
        let top = top.map(|(l, m)| tilt * l + libm::log(*m)).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> =
            self.losses.iter().zip(&self.masses).map(|(l, m)| m * libm::exp((tilt * l - top).min(709.0))).collect();
        let total: f64 = weights.iter().sum();
        let spread: f64 = weights.iter().zip(&self.losses).map(|(w, l)| w * (tilt * l).abs()).sum::<f64>() / total;
        let rounding = (4.0 + self.losses.len() as f64 + 2.0 * spread + 2.0 * top.abs()) * UNIT;
        let (mean, variance) = elementary::mean_and_variance(&self.losses, &weights, total);
        let log = libm::log(total) + top;
        Moment { log, mean, variance, error: rounding + 4.0 * UNIT * log.abs() }
    }
}

impl Tilted {
    /// `doubt` is the error of the weights (as they are relative to their total) and of what they leave out, and that of the
    /// losses.
    pub(super) fn new(losses: Vec<f64>, mut weights: Vec<f64>, total: f64, moment: Moment, doubt: (f64, f64)) -> Self {
        weights.iter_mut().for_each(|w| *w /= total);
        let mut centred = losses;
        centred.iter_mut().for_each(|l| *l -= moment.mean);
        Self { moment, centred, weights, doubt }
    }

    /// How far the sum over nodes may be from M(c + iu) / M(c), rounding of the phases included; grows with u.
    pub(crate) fn error(&self, u: f64) -> f64 {
        // Centring and the product with u lose two units; cosine, sine and turns 80, the sum one for each of its parts.
        let phases = u * (self.doubt.1 + 3.0 * UNIT * (self.moment.variance.sqrt() + self.moment.mean.abs()));
        self.doubt.0 + phases + (self.weights.len() as f64 + 96.0) * UNIT
    }
}

impl Component {
    /// How many releases.
    pub(crate) fn count(&self) -> f64 {
        match self {
            Self::Gaussian(_) => 1.0,
            Self::Sampled(_, count) | Self::Points(_, count) => *count,
        }
    }

    /// ln M(c) of one release.
    pub(crate) fn moment(&self, tilt: f64) -> Moment {
        match self {
            Self::Gaussian(precision) => {
                let log = *precision * (Interval::point(tilt) * (Interval::point(tilt) + Interval::ONE)) * 0.5;
                let middle = precision.mid();
                let (mean, error) = ((tilt + 0.5) * middle, 0.5 * (log.hi - log.lo));
                Moment { log: log.mid(), mean, variance: middle, error: error + UNIT * log.hi }
            }
            Self::Sampled(law, _) => law.moment(tilt).unwrap_or(Moment::UNKNOWN),
            Self::Points(law, _) => law.moment(tilt),
        }
    }

    /// The tilted law, good for frequencies up to `highest`; a Gaussian has a closed form instead, and points, whose
    /// transform does not fade, have no contour.
    pub(crate) fn tilted(&self, tilt: f64, highest: f64) -> Option<Tilted> {
        match self {
            Self::Gaussian(_) | Self::Points(..) => None,
            Self::Sampled(law, _) => law.tilted(tilt, highest),
        }
    }
}
