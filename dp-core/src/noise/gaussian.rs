//! The Gaussian law, discrete and real.

use super::cache::{self, Law};
use super::cover::Cover;
use super::integer::Integers;
use super::range;
use super::real::Reals;
use super::shape::{Bell, floor_log2, scaled};
use crate::Error;
use crate::privacy::Positive;

/// The discrete Gaussian law on the integers: weight e^(-k^2 / (2 sigma^2)) at k, exactly.
///
/// Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy". Its variance is at most
/// sigma^2.
#[derive(Clone, Debug)]
pub struct DiscreteGaussian(Integers);

impl DiscreteGaussian {
    /// sigma in [2^-20, 2^50].
    pub fn new(sigma: &Positive) -> Result<Self, Error> {
        range::integers("sigma", sigma)?;
        let sigma = sigma.as_big();
        let build = || Cover::integers(Box::new(Bell { sigma: sigma.clone() }));
        Ok(Self(Integers::new(cache::cover(Law::DiscreteGaussian, sigma, build))))
    }
}

super::integer_law!(DiscreteGaussian);

/// The Gaussian law with standard deviation sigma on the real line, rounded once to a grid.
///
/// The grid is 2^(floor(log2 sigma) - 30): it depends on sigma alone.
#[derive(Clone, Debug)]
pub struct Gaussian(Reals);

impl Gaussian {
    /// sigma in [2^-900, 2^900].
    pub fn new(sigma: &Positive) -> Result<Self, Error> {
        let grid = range::grid("sigma", sigma)?;
        let sigma = scaled(sigma.as_big(), -i64::from(grid));
        debug_assert_eq!(floor_log2(&sigma), 30);
        let build = || Cover::reals(Box::new(Bell { sigma: sigma.clone() }));
        Ok(Self(Reals::new(cache::cover(Law::Gaussian, &sigma, build), grid)))
    }
}

super::real_law!(Gaussian);
