//! `veilsum.dp`: the mechanisms whose answers are categories, places and yes or no.

use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple};
use std::sync::{Mutex, PoisonError};
use veilsum_dp_core::Error;
use veilsum_dp_core::mechanism::{self as core, Curve, Mechanism};
use veilsum_dp_core::sensitivity::LInf;

use crate::enclosure::Enclosure;
use crate::event::Event;
use crate::mechanism::epsilon;
use crate::{array, error, number};

fn bounded(sensitivity: &Bound<'_, PyAny>) -> PyResult<LInf> {
    LInf::new(number::binary("sensitivity", sensitivity)?).map_err(error::core)
}

fn count(what: &'static str, number: &Bound<'_, PyAny>) -> PyResult<u32> {
    let count = number::count(what, number)?;
    u32::try_from(count).map_err(|_| {
        error::core(Error::OutOfRange { what, value: count.to_string(), bound: "a whole number below 2^32" })
    })
}

/// A finite float scalar.
fn float(what: &'static str, x: &Bound<'_, PyAny>) -> PyResult<f64> {
    // Exact for ints, fractions and floats alike, or refused.
    let exact = number::binary(what, x)?;
    if exact.lower() == exact.upper() { Ok(exact.nearest()) } else { Err(array::lossy()) }
}

/// Randomized response: each person's answer is private by itself.
///
/// The truth is told with probability e**epsilon / (e**epsilon + categories - 1), and any other category otherwise, all
/// alike. The claim is about replacing one person's answer: an array holds the answers of different people, and costs
/// what one answer costs.
///
/// Parameters
/// ----------
/// epsilon : number
///     Pure epsilon of one answer.
/// categories : int
///     Number of possible answers, which are 0, 1, ..., categories - 1.
///
/// Examples
/// --------
/// >>> import veilsum as vs
/// >>> m = vs.dp.RandomizedResponse(epsilon=1.0, categories=3)
/// >>> m.release([0, 1, 2, 2]).shape
/// (4,)
/// >>> m.epsilon().hi
/// 1.0
#[pyclass(frozen, module = "veilsum.dp")]
#[derive(Debug)]
pub(crate) struct RandomizedResponse(core::RandomizedResponse);

#[pymethods]
impl RandomizedResponse {
    #[new]
    #[pyo3(signature = (*, epsilon, categories = None), text_signature = "(*, epsilon, categories=2)")]
    fn new(epsilon: &Bound<'_, PyAny>, categories: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let epsilon = self::epsilon(epsilon)?;
        let categories = categories.map_or(Ok(2), |categories| count("categories", categories))?;
        core::RandomizedResponse::new(epsilon, categories).map(Self).map_err(error::core)
    }

    /// Release one answer or an array of answers, with fresh randomness at each call.
    ///
    /// Parameters
    /// ----------
    /// x : int or array_like
    ///     Categories from 0 to ``categories - 1``.
    ///
    /// Returns
    /// -------
    /// int or ndarray
    ///     Of the same kind and shape.
    ///
    /// Raises
    /// ------
    /// VeilsumError
    ///     If an answer is not one of the categories; nothing has been drawn then.
    fn release<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        if x.is_instance_of::<PyInt>() {
            let answer = x.extract::<u32>().map_err(|_| array::lossy())?;
            return Ok(PyInt::new(py, self.0.release(&[answer]).map_err(error::core)?[0]).into_any());
        }
        let answers = array::integers(x)?;
        {
            let mut answers = answers.readwrite();
            let answers = answers.as_slice_mut()?;
            py.detach(|| self.0.release_in_place(answers)).map_err(error::core)?;
        }
        crate::mechanism::unwrapped(x, answers.into_any())
    }

    /// Unbiased estimates of the true counts from the reported ones.
    ///
    /// Parameters
    /// ----------
    /// reported : array_like of int
    ///     How often each category was reported.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.RandomizedResponse(epsilon=2.0)
    /// >>> m.estimate([500, 500])
    /// array([500., 500.])
    fn estimate<'py>(&self, reported: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = reported.py();
        let counts = array::integers(reported)?;
        let counts: Option<Vec<u64>> = counts.readonly().as_slice()?.iter().map(|&c| u64::try_from(c).ok()).collect();
        let counts = counts.filter(|counts| counts.len() == self.0.categories() as usize).ok_or_else(|| {
            error::exception(
                "ArgumentError",
                format!("pass one count >= 0 for each of {} categories", self.0.categories()),
            )
        })?;
        Ok(numpy::PyArray1::from_vec(py, self.0.estimate(&counts)).into_any())
    }

    /// How far an estimate from ``answers`` answers may lie from the true count, with at least this confidence.
    #[pyo3(signature = (answers, confidence = 0.95))]
    fn half_width(
        &self,
        answers: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = number::float)] confidence: f64,
    ) -> PyResult<f64> {
        self.0.half_width(number::count("answers", answers)?, confidence).map_err(error::core)
    }

    /// The least epsilon of one answer at this delta.
    #[pyo3(signature = (delta = 0.0))]
    fn epsilon(&self, #[pyo3(from_py_with = number::float)] delta: f64) -> PyResult<Enclosure> {
        Ok(self.0.epsilon(delta).map_err(error::core)?.into())
    }

    /// The least delta of one answer at this epsilon >= 0.
    fn delta(&self, #[pyo3(from_py_with = number::float)] epsilon: f64) -> PyResult<Enclosure> {
        Ok(self.0.delta(epsilon).map_err(error::core)?.into())
    }

    /// Number of possible answers.
    #[getter]
    fn categories(&self) -> u32 {
        self.0.categories()
    }

    /// What one answer costs, for an accountant of the relation ``"replace-one"``.
    #[getter]
    fn event(&self) -> Event {
        self.0.event().into()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0.event() == other.0.event()
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        Event::from(self.0.event()).into_pyobject(py)?.hash()
    }

    fn __repr__(&self) -> String {
        let epsilon = self.0.epsilon_exact().rational().nearest();
        format!("RandomizedResponse(epsilon={epsilon:?}, categories={})", self.0.categories())
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        named.set_item("epsilon", number::fraction(py, self.0.epsilon_exact().rational())?)?;
        named.set_item("categories", self.0.categories())?;
        Ok((PyTuple::empty(py), named))
    }
}

/// Which of several candidates has the highest score, with noise: it tells nothing but the winner.
///
/// The winner is that of score + Exp(2 sensitivity / epsilon), sampled exactly by permute-and-flip, for any number of
/// candidates with any scores. It is never worse than the exponential mechanism.
///
/// Parameters
/// ----------
/// epsilon : number
///     Pure epsilon of one release.
/// sensitivity : number
///     Bound on the change of any one score between neighbours.
///
/// Examples
/// --------
/// >>> import veilsum as vs
/// >>> m = vs.dp.ReportNoisyMax(epsilon=1.0, sensitivity=1)
/// >>> m.release([3.0, 1000.0, 20.0])
/// 1
#[pyclass(frozen, module = "veilsum.dp")]
#[derive(Debug)]
pub(crate) struct ReportNoisyMax(core::ReportNoisyMax);

#[pymethods]
impl ReportNoisyMax {
    #[new]
    #[pyo3(signature = (*, epsilon, sensitivity))]
    fn new(epsilon: &Bound<'_, PyAny>, sensitivity: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(core::ReportNoisyMax::new(self::epsilon(epsilon)?, bounded(sensitivity)?)))
    }

    /// Release the place of the winner among one-dimensional scores, with fresh randomness at each call.
    ///
    /// Raises
    /// ------
    /// VeilsumError
    ///     For no scores, several dimensions, NaN or infinity.
    fn release(&self, scores: &Bound<'_, PyAny>) -> PyResult<usize> {
        let values = array::floats(scores)?;
        if values.ndim() != 1 {
            let text = format!("the scores have {} dimensions: pass one", values.ndim());
            return Err(error::exception("ArgumentError", text));
        }
        let values = values.readonly();
        let values = values.as_slice()?;
        scores.py().detach(|| self.0.release(values)).map_err(error::core)
    }

    /// How far the winner's score may lie below the best of ``candidates`` scores, with at least this confidence.
    #[pyo3(signature = (candidates, confidence = 0.95))]
    fn shortfall(
        &self,
        candidates: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = number::float)] confidence: f64,
    ) -> PyResult<f64> {
        self.0.shortfall(number::count("candidates", candidates)?, confidence).map_err(error::core)
    }

    /// The least epsilon of one release at this delta.
    #[pyo3(signature = (delta = 0.0))]
    fn epsilon(&self, #[pyo3(from_py_with = number::float)] delta: f64) -> PyResult<Enclosure> {
        Ok(self.0.epsilon(delta).map_err(error::core)?.into())
    }

    /// The least delta of one release at this epsilon >= 0.
    fn delta(&self, #[pyo3(from_py_with = number::float)] epsilon: f64) -> PyResult<Enclosure> {
        Ok(self.0.delta(epsilon).map_err(error::core)?.into())
    }

    /// Bound on the change of any one score.
    #[getter]
    fn sensitivity(&self) -> f64 {
        self.0.sensitivity().bound().nearest()
    }

    /// What one release costs.
    #[getter]
    fn event(&self) -> Event {
        self.0.event().into()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0.event() == other.0.event() && self.0.sensitivity() == other.0.sensitivity()
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        Event::from(self.0.event()).into_pyobject(py)?.hash()
    }

    fn __repr__(&self) -> String {
        let epsilon = self.0.epsilon_exact().rational().nearest();
        format!("ReportNoisyMax(epsilon={epsilon:?}, sensitivity={:?})", self.sensitivity())
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        named.set_item("epsilon", number::fraction(py, self.0.epsilon_exact().rational())?)?;
        named.set_item("sensitivity", number::fraction(py, self.0.sensitivity().bound())?)?;
        Ok((PyTuple::empty(py), named))
    }
}

/// Tells for each query whether its noisy value reaches a noisy threshold, until ``max_hits`` did.
///
/// All of epsilon is spent when it is created, however many queries stay below: spend ``event`` once, then. It cannot
/// be copied or pickled, and a forked process cannot go on with it, since a copy would answer twice with one budget.
///
/// Parameters
/// ----------
/// epsilon : number
///     Pure epsilon of all answers together.
/// threshold : number
///     Public.
/// max_hits : int
///     How many answers may be ``True``.
/// sensitivity : number
///     Bound on the change of any one query between neighbours.
///
/// Examples
/// --------
/// >>> import veilsum as vs
/// >>> m = vs.dp.SparseVector(epsilon=1.0, threshold=500, max_hits=1, sensitivity=1)
/// >>> m.release(0.0), m.release(1000.0), m.hits
/// (False, True, 1)
#[pyclass(frozen, module = "veilsum.dp")]
#[derive(Debug)]
pub(crate) struct SparseVector(Mutex<core::SparseVector>);

impl SparseVector {
    fn with<T>(&self, work: impl FnOnce(&mut core::SparseVector) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl SparseVector {
    #[new]
    #[pyo3(signature = (*, epsilon, threshold, max_hits, sensitivity))]
    fn new(
        epsilon: &Bound<'_, PyAny>,
        threshold: &Bound<'_, PyAny>,
        max_hits: &Bound<'_, PyAny>,
        sensitivity: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let (epsilon, threshold) = (self::epsilon(epsilon)?, float("threshold", threshold)?);
        let hits = count("max_hits", max_hits)?;
        let created = core::SparseVector::new(epsilon, threshold, hits, bounded(sensitivity)?).map_err(error::core)?;
        Ok(Self(Mutex::new(created)))
    }

    /// Answer one query, or an array of queries in order.
    ///
    /// Parameters
    /// ----------
    /// x : number or array_like
    ///     Values of the queries.
    ///
    /// Returns
    /// -------
    /// bool or ndarray of bool
    ///     Of the same kind and shape. If the hits run out inside an array, the queries after the last hit are not
    ///     answered, and are ``False``: compare ``hits`` with ``max_hits``.
    ///
    /// Raises
    /// ------
    /// BudgetExceeded
    ///     If the hits had run out before.
    /// VeilsumError
    ///     For NaN or infinity; no query has been answered then.
    fn release<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let values = array::floats(x)?;
        let answers: Bound<'py, PyArrayDyn<bool>> = array::empty(py, PyTuple::new(py, values.shape())?, "bool")?;
        {
            let (values, mut answers) = (values.readonly(), answers.readwrite());
            let (values, answers) = (values.as_slice()?, answers.as_slice_mut()?);
            answers.fill(false);
            if !values.iter().fold(true, |finite, x| finite & x.is_finite()) {
                return Err(error::core(Error::NotFinite));
            }
            py.detach(|| {
                self.with(|above| {
                    for (i, (value, answer)) in values.iter().zip(answers).enumerate() {
                        if i > 0 && above.hits() == above.max_hits() {
                            break;
                        }
                        *answer = above.release(*value)?;
                    }
                    Ok(())
                })
            })
            .map_err(error::core)?;
        }
        let is_scalar = x.cast::<PyUntypedArray>().is_err() && answers.ndim() == 0;
        if !is_scalar {
            return Ok(answers.into_any());
        }
        let answer: bool = answers.call_method0("item")?.extract()?;
        Ok(PyBool::new(py, answer).to_owned().into_any())
    }

    /// How many answers were ``True``.
    #[getter]
    fn hits(&self) -> u32 {
        self.with(|above| above.hits())
    }

    /// How many answers may be ``True``.
    #[getter]
    fn max_hits(&self) -> u32 {
        self.with(|above| above.max_hits())
    }

    /// The public threshold.
    #[getter]
    fn threshold(&self) -> f64 {
        self.with(|above| above.threshold())
    }

    /// Bound on the change of any one query.
    #[getter]
    fn sensitivity(&self) -> f64 {
        self.with(|above| above.sensitivity().bound().nearest())
    }

    /// The least epsilon of all answers together, at this delta.
    #[pyo3(signature = (delta = 0.0))]
    fn epsilon(&self, #[pyo3(from_py_with = number::float)] delta: f64) -> PyResult<Enclosure> {
        Ok(self.with(|above| above.epsilon(delta)).map_err(error::core)?.into())
    }

    /// The least delta of all answers together, at this epsilon >= 0.
    fn delta(&self, #[pyo3(from_py_with = number::float)] epsilon: f64) -> PyResult<Enclosure> {
        Ok(self.with(|above| above.delta(epsilon)).map_err(error::core)?.into())
    }

    /// What creating this has cost: spend it once.
    #[getter]
    fn event(&self) -> Event {
        self.with(|above| above.event()).into()
    }

    fn __repr__(&self) -> String {
        self.with(|above| {
            format!(
                "SparseVector(epsilon={:?}, threshold={:?}, max_hits={}, sensitivity={:?})",
                above.epsilon_exact().rational().nearest(),
                above.threshold(),
                above.max_hits(),
                above.sensitivity().bound().nearest()
            )
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a SparseVector cannot be copied or pickled: its copy would answer twice with one budget. Create another",
        ))
    }
}
