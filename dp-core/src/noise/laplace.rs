//! The Laplace law, discrete and real.

use super::cache::{self, Law};
use super::cover::Cover;
use super::integer::Integers;
use super::range;
use super::real::Reals;
use super::shape::{Exponential, scaled};
use crate::Error;
use crate::privacy::Positive;

/// The discrete Laplace law on the integers: weight e^(-|k| / scale) at k, exactly.
///
/// Also called two-sided geometric: Ghosh, Roughgarden and Sundararajan 2012, "Universally utility-maximizing privacy
/// mechanisms".
#[derive(Clone, Debug)]
pub struct DiscreteLaplace(Integers);

impl DiscreteLaplace {
    /// scale in [2^-20, 2^50].
    pub fn new(scale: &Positive) -> Result<Self, Error> {
        range::integers("scale", scale)?;
        let scale = scale.as_big();
        let build = || Cover::integers(Box::new(Exponential { scale: scale.clone() }));
        Ok(Self(Integers::new(cache::cover(Law::DiscreteLaplace, scale, build))))
    }
}

super::integer_law!(DiscreteLaplace);

/// The Laplace law with density e^(-|z| / scale) / (2 scale) on the real line, rounded once to a grid.
///
/// The grid is 2^(floor(log2 scale) - 30): it depends on the scale alone.
#[derive(Clone, Debug)]
pub struct Laplace(Reals);

impl Laplace {
    /// scale in [2^-900, 2^900].
    pub fn new(scale: &Positive) -> Result<Self, Error> {
        let grid = range::grid("scale", scale)?;
        let scale = scaled(scale.as_big(), -i64::from(grid));
        let build = || Cover::reals(Box::new(Exponential { scale: scale.clone() }));
        Ok(Self(Reals::new(cache::cover(Law::Laplace, &scale, build), grid)))
    }
}

super::real_law!(Laplace);
