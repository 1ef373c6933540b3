//! Python numbers as exact rationals.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};
use veilsum_dp_core::Error;
use veilsum_dp_core::privacy::Rational;

use crate::error;

/// A scale, sigma or sensitivity: a float is its exact binary value.
pub(crate) fn binary(what: &'static str, number: &Bound<'_, PyAny>) -> PyResult<Rational> {
    read(what, number, Rational::from_f64)
}

/// An amount of budget: a float is its shortest decimal, so that 0.1 is one tenth.
pub(crate) fn decimal(what: &'static str, number: &Bound<'_, PyAny>) -> PyResult<Rational> {
    read(what, number, Rational::from_decimal)
}

/// `int`, `Fraction` and `Decimal` are exact; anything else must convert to a float.
fn read(what: &'static str, number: &Bound<'_, PyAny>, float: fn(f64) -> Option<Rational>) -> PyResult<Rational> {
    no_truth_value(what, number)?;
    let refused = |value: String| {
        let value = value.chars().take(64).collect();
        error::core(Error::OutOfRange { what, value, bound: "a finite number" })
    };
    if let Ok(x) = number.cast::<PyFloat>() {
        return float(x.value()).ok_or_else(|| refused(x.value().to_string()));
    }
    let parse = |text: String| text.parse().map_err(|_| refused(text));
    if number.is_instance_of::<PyInt>() {
        return match number.extract::<i128>() {
            Ok(small) => Ok(small.into()),
            // Python itself refuses to print integers beyond some thousands of digits.
            Err(_) => parse(number.str().map_err(|_| refused("an integer of thousands of digits".into()))?.to_string()),
        };
    }
    let py = number.py();
    if number.is_instance(&py.import("numbers")?.getattr("Rational")?)? {
        let (p, q) = (number.getattr("numerator")?.str()?, number.getattr("denominator")?.str()?);
        return parse(format!("{p}/{q}"));
    }
    if number.is_instance(&py.import("decimal")?.getattr("Decimal")?)? {
        return parse(number.str()?.to_string());
    }
    match number.extract::<f64>() {
        Ok(x) => float(x).ok_or_else(|| refused(x.to_string())),
        Err(_) => Err(PyTypeError::new_err(format!("{what} must be a number, not {}", number.get_type().name()?))),
    }
}

/// A whole number >= 0: a count.
pub(crate) fn count(what: &'static str, number: &Bound<'_, PyAny>) -> PyResult<u64> {
    no_truth_value(what, number)?;
    number.extract().map_err(|e: PyErr| {
        if e.is_instance_of::<PyOverflowError>(number.py()) {
            let value =
                number.str().map_or_else(|_| "out of range".into(), |s| s.to_string().chars().take(64).collect());
            return error::core(Error::OutOfRange { what, value, bound: "a whole number >= 0, below 2^64" });
        }
        PyTypeError::new_err(format!("{what} must be an integer"))
    })
}

/// A float argument.
pub(crate) fn float(number: &Bound<'_, PyAny>) -> PyResult<f64> {
    no_truth_value("this argument", number)?;
    number.extract()
}

/// Python takes `True` for 1, which nobody means by an amount of privacy. NumPy's truth values are of types of their own.
fn no_truth_value(what: &str, number: &Bound<'_, PyAny>) -> PyResult<()> {
    if number.is_instance_of::<PyBool>() || matches!(&*number.get_type().name()?.to_cow()?, "bool" | "bool_") {
        return Err(PyTypeError::new_err(format!("{what} must be a number, not a truth value")));
    }
    Ok(())
}

/// An exact rational as a `fractions.Fraction`.
pub(crate) fn fraction<'py>(py: Python<'py>, value: &Rational) -> PyResult<Bound<'py, PyAny>> {
    py.import("fractions")?.getattr("Fraction")?.call1((value.to_string(),))
}
