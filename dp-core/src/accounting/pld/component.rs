//! What a composition is made of, in one direction: losses whose moments M(s) = E_P[e^(sL)] can be evaluated.

use super::sampled::SampledGaussian;
use crate::accounting::interval::Interval;

/// The rounding unit 2^-53.
pub(crate) const UNIT: f64 = 0.5 * f64::EPSILON;

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

/// The tilted law of one release at c, as quadrature nodes: M(c + iu) / M(c) is the sum of weight e^(iu (loss - mean)),
/// times e^(iu mean).
#[derive(Clone, Debug)]
pub(crate) struct Tilted {
    pub(crate) moment: Moment,
    /// loss - mean
    pub(crate) centred: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    /// Step of the trapezoid rule, if the nodes are one.
    step: Option<f64>,
    source: Option<SampledGaussian>,
    tilt: f64,
    /// Mass cut off beyond the ends, relative.
    cut: f64,
}

impl Points {
    fn tilted(&self, tilt: f64) -> Tilted {
        let top = self.losses.iter().zip(&self.masses).filter(|(_, m)| **m > 0.0);
        let top = top.map(|(l, m)| tilt * l + libm::log(*m)).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> =
            self.losses.iter().zip(&self.masses).map(|(l, m)| m * libm::exp((tilt * l - top).min(709.0))).collect();
        let total: f64 = weights.iter().sum();
        let spread: f64 = weights.iter().zip(&self.losses).map(|(w, l)| w * (tilt * l).abs()).sum::<f64>() / total;
        let error = (4.0 + self.losses.len() as f64 + 2.0 * spread + 2.0 * top.abs()) * UNIT;
        let mut tilted = Tilted::new(self.losses.clone(), weights, 0.0, 0.0, tilt, None);
        tilted.moment.log += top;
        tilted.moment.error = error + 4.0 * UNIT * tilted.moment.log.abs();
        tilted
    }
}

impl Tilted {
    /// `cut` is a relative error, `rounding` an error in the same units as the sum of the weights.
    pub(super) fn new(
        losses: Vec<f64>,
        mut weights: Vec<f64>,
        cut: f64,
        rounding: f64,
        tilt: f64,
        quadrature: Option<(f64, SampledGaussian)>,
    ) -> Self {
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total);
        let mean: f64 = weights.iter().zip(&losses).map(|(w, l)| w * l).sum();
        let centred: Vec<f64> = losses.iter().map(|l| l - mean).collect();
        let variance: f64 = weights.iter().zip(&centred).map(|(w, y)| w * y * y).sum();
        // Adding n positive numbers one by one loses at most n units; the terms lost what `rounding` says.
        let error = 1.01 * (cut + rounding / total + (weights.len() as f64 + 6.0) * UNIT);
        let moment = Moment { log: libm::log(total), mean, variance, error };
        let (step, source) = quadrature.unzip();
        Self { moment, centred, weights, step, source, tilt, cut }
    }

    /// How far the sum over nodes may be from M(c + iu) / M(c), rounding of the phases included.
    pub(crate) fn error(&self, u: f64) -> f64 {
        let quadrature = match (self.source, self.step) {
            (Some(source), Some(step)) => libm::exp(source.log_quadrature_error(self.tilt, step, u).min(0.0)),
            _ => 0.0,
        };
        let deviation = self.moment.variance.sqrt();
        // Weights: twice their relative error. Phases: the losses carry four units of their size (and of their mean's).
        let phases = u * (deviation + self.moment.mean.abs() + deviation) * 8.0 * UNIT;
        quadrature + 2.0 * self.cut + phases + (self.weights.len() as f64 + 64.0) * UNIT
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
            Self::Sampled(..) | Self::Points(..) => self
                .tilted(tilt, 0.0)
                .map_or(Moment { log: 0.0, mean: 0.0, variance: 0.0, error: f64::INFINITY }, |tilted| tilted.moment),
        }
    }

    /// The tilted law, good for frequencies up to `highest`; a Gaussian has a closed form instead.
    pub(crate) fn tilted(&self, tilt: f64, highest: f64) -> Option<Tilted> {
        match self {
            Self::Gaussian(_) => None,
            Self::Sampled(law, _) => law.tilted(tilt, highest),
            Self::Points(law, _) => Some(law.tilted(tilt)),
        }
    }
}
