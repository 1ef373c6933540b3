//! Laws: the dominating pair (P, Q) of one release, unsampled, by its privacy loss ln(P/Q).
//!
//! Each law here is symmetric (the loss of (Q, P) has the same distribution), so one direction is enough until sampling
//! breaks the symmetry.

mod atoms;
pub(crate) mod discrete_gaussian;
mod gaussian;
mod laplace;
pub(crate) mod skellam;

pub(crate) use atoms::{Atom, Atoms};
pub(crate) use discrete_gaussian::SmoothDiscreteGaussian;
pub(crate) use gaussian::Gaussian;
pub(crate) use laplace::Laplace;

use super::interval::Interval;

/// The dominating pair of one unsampled release.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Law {
    Gaussian(Gaussian),
    Laplace(Laplace),
    SmoothDiscreteGaussian(SmoothDiscreteGaussian),
    Atoms(Atoms),
}

impl Law {
    /// P = Q.
    pub(crate) fn nothing() -> Self {
        Self::Atoms(Atoms { atoms: Vec::new(), infinite: Interval::ZERO, missed: 0.0 })
    }

    /// The hockey-stick divergence of order e^epsilon, for epsilon >= 0: the least delta at that epsilon.
    pub(crate) fn delta(&self, epsilon: Interval) -> Interval {
        let at = |epsilon: f64| match self {
            Self::Gaussian(law) => law.delta(epsilon),
            Self::Laplace(law) => law.delta(epsilon),
            Self::SmoothDiscreteGaussian(law) => law.delta(epsilon),
            Self::Atoms(law) => law.delta(epsilon),
        };
        if epsilon.lo == epsilon.hi {
            return at(epsilon.lo).clamp(0.0, 1.0);
        }
        Interval { lo: at(epsilon.hi).lo, hi: at(epsilon.lo).hi }.clamp(0.0, 1.0)
    }

    /// The largest loss that is finite (for a law cut in the tail: that is listed).
    pub(crate) fn largest_finite_loss(&self) -> Interval {
        match self {
            Self::Gaussian(_) | Self::SmoothDiscreteGaussian(_) => Interval::point(f64::INFINITY),
            Self::Laplace(law) => law.largest,
            Self::Atoms(law) => law.atoms.last().map_or(Interval::ZERO, |atom| atom.loss),
        }
    }

    /// The probability of an infinite loss (or of the tail that was cut).
    pub(crate) fn infinite(&self) -> Interval {
        match self {
            Self::Atoms(law) => law.infinite,
            _ => Interval::ZERO,
        }
    }
}
