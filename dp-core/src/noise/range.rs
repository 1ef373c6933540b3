//! The scales that the laws support.

use super::shape::{floor_log2, scaled};
use crate::Error;
use crate::privacy::Positive;
use num_rational::BigRational;
use num_traits::One;

/// Checks 2^-20 <= value <= 2^50.
pub(crate) fn integers(what: &'static str, value: &Positive) -> Result<(), Error> {
    within(
        what,
        value,
        -20,
        50,
        "in [2^-20, 2^50] steps of the output grid: rescale the query to a coarser or finer unit",
    )
}

/// Checks 2^-900 <= scale <= 2^900; gives the grid's exponent.
pub(crate) fn grid(what: &'static str, scale: &Positive) -> Result<i32, Error> {
    within(what, scale, -900, 900, "in [2^-900, 2^900]: rescale the query to another unit")?;
    Ok(floor_log2(scale.as_big()) as i32 - 30)
}

fn within(what: &'static str, value: &Positive, low: i64, high: i64, bound: &'static str) -> Result<(), Error> {
    let one = BigRational::one();
    let exact = value.as_big();
    if scaled(&one, low) <= *exact && *exact <= scaled(&one, high) {
        Ok(())
    } else {
        Err(Error::out_of_range(what, value.rational().brief(), bound))
    }
}
