//! `veilsum.dp`: the mechanisms that add noise to numbers.

use numpy::{PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyString, PyTuple};
use std::thread;
use veilsum_dp_core::Error;
use veilsum_dp_core::mechanism::noiseless::is_noiseless;
use veilsum_dp_core::mechanism::{self as core, Additive, Curve, Mechanism};
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::sensitivity::{L1, L2};

use crate::enclosure::Enclosure;
use crate::event::Event;
use crate::{array, error, number};

/// Arrays longer than this are released piece by piece, and Ctrl-C is answered in between.
const PIECE: usize = 1 << 24;
/// Arrays longer than this are released without the GIL.
const LONG: usize = 1 << 10;
const MOST_THREADS: usize = 256;

pub(crate) fn positive(what: &'static str, number: &Bound<'_, PyAny>) -> PyResult<Positive> {
    Positive::new(what, number::binary(what, number)?).map_err(error::core)
}

pub(crate) fn epsilon(number: &Bound<'_, PyAny>) -> PyResult<Epsilon> {
    Epsilon::new(number::decimal("epsilon", number)?).map_err(error::core)
}

pub(crate) fn delta(number: &Bound<'_, PyAny>) -> PyResult<Delta> {
    Delta::new(number::decimal("delta", number)?).map_err(error::core)
}

/// The numbers that a law adds noise to.
trait Number: Copy + Send + Sync + numpy::Element {
    const DTYPE: &'static str;

    /// A Python scalar that converts without loss; `None` if it is no `float` or `int`.
    fn scalar(x: &Bound<'_, PyAny>) -> Option<PyResult<Self>>;
    fn array<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<Self>>>;
    fn object(self, py: Python<'_>) -> Bound<'_, PyAny>;
    fn is_finite(self) -> bool;
}

impl Number for f64 {
    const DTYPE: &'static str = "float64";

    fn scalar(x: &Bound<'_, PyAny>) -> Option<PyResult<Self>> {
        if let Ok(x) = x.cast::<PyFloat>() {
            return Some(Ok(x.value()));
        }
        x.is_instance_of::<PyInt>().then(|| match x.extract::<f64>() {
            // Python compares an int and a float exactly.
            Ok(float) if x.eq(float)? => Ok(float),
            _ => Err(array::lossy()),
        })
    }

    fn array<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<Self>>> {
        array::floats(x)
    }

    fn object(self, py: Python<'_>) -> Bound<'_, PyAny> {
        PyFloat::new(py, self).into_any()
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Number for i64 {
    const DTYPE: &'static str = "int64";

    fn scalar(x: &Bound<'_, PyAny>) -> Option<PyResult<Self>> {
        if x.is_instance_of::<PyInt>() {
            return Some(x.extract::<i64>().map_err(|_| array::lossy()));
        }
        x.cast::<PyFloat>().ok().map(|x| array::whole(x.value()).ok_or_else(array::lossy))
    }

    fn array<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<Self>>> {
        array::integers(x)
    }

    fn object(self, py: Python<'_>) -> Bound<'_, PyAny> {
        PyInt::new(py, self).into_any()
    }

    fn is_finite(self) -> bool {
        true
    }
}

fn release<'py, M>(mechanism: &M, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>
where
    M: Additive<Number: Number> + Sync,
{
    let py = x.py();
    if let Some(scalar) = M::Number::scalar(x) {
        return Ok(mechanism.release_one(scalar?).map_err(error::core)?.object(py));
    }
    let values = M::Number::array(x)?;
    each_piece(&values, |piece| mechanism.release_in_place(piece))?;
    unwrapped(x, values.into_any())
}

/// Runs `work` on the array, in pieces if it is long.
fn each_piece<T: Number>(
    values: &Bound<'_, PyArrayDyn<T>>,
    work: impl Fn(&mut [T]) -> Result<(), Error> + Sync,
) -> PyResult<()> {
    let py = values.py();
    let mut values = values.readwrite();
    let values = values.as_slice_mut()?;
    if values.len() <= LONG {
        return work(values).map_err(error::core);
    }
    if values.len() > PIECE && !py.detach(|| values.iter().all(|x| x.is_finite())) {
        return Err(error::core(Error::NotFinite));
    }
    for piece in values.chunks_mut(PIECE) {
        py.detach(|| work(piece)).map_err(error::core)?;
        py.check_signals()?;
    }
    Ok(())
}

/// An array for an array or a list; a scalar for one of NumPy's scalars.
pub(crate) fn unwrapped<'py>(x: &Bound<'py, PyAny>, released: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let is_scalar = x.cast::<numpy::PyUntypedArray>().is_err() && released.getattr("ndim")?.extract::<usize>()? == 0;
    if is_scalar { released.call_method0("item") } else { Ok(released) }
}

fn sample<'py, M>(
    mechanism: &M,
    n: &Bound<'py, PyAny>,
    threads: Option<&Bound<'py, PyAny>>,
    progress: bool,
) -> PyResult<Bound<'py, PyAny>>
where
    M: Additive<Number: Number> + Sync,
{
    let py = n.py();
    let n = number::count("n", n)?;
    let threads = threads.map_or(Ok(1), |threads| number::count("threads", threads))?;
    let threads = usize::try_from(threads).ok().filter(|t| (1..=MOST_THREADS).contains(t)).ok_or_else(|| {
        error::core(Error::OutOfRange { what: "threads", value: threads.to_string(), bound: "from 1 to 256" })
    })?;
    let values = array::empty::<M::Number>(py, n, M::Number::DTYPE)?;
    // The switch belongs to this thread.
    let threads = if is_noiseless() { 1 } else { threads };
    // As in `each_piece`, without a look at memory that nobody has written yet.
    let mut out = values.readwrite();
    let out = out.as_slice_mut()?;
    let bar = progress.then(|| bar(py, out.len())).transpose()?;
    for piece in out.chunks_mut(PIECE) {
        let work = || {
            if threads == 1 {
                return mechanism.sample(piece);
            }
            let share = piece.len().div_ceil(threads).max(1);
            thread::scope(|scope| {
                let shares: Vec<_> = piece.chunks_mut(share).map(|s| scope.spawn(|| mechanism.sample(s))).collect();
                shares.into_iter().try_for_each(|share| share.join().unwrap_or(Err(Error::Entropy)))
            })
        };
        py.detach(work).map_err(error::core)?;
        if let Some(bar) = &bar {
            bar.call_method1("update", (piece.len(),))?;
        }
        py.check_signals()?;
    }
    if let Some(bar) = bar {
        bar.call_method0("close")?;
    }
    Ok(values.into_any())
}

/// A progress bar for so many draws.
fn bar(py: Python<'_>, total: usize) -> PyResult<Bound<'_, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("total", total)?;
    options.set_item("unit", "draw")?;
    options.set_item("unit_scale", true)?;
    py.import("tqdm")?.getattr("tqdm")?.call((), Some(&options))
}

/// The parameter as Python gets it: floats for the laws on floats, integers for sensitivities of integers.
fn shown<'py>(py: Python<'py>, value: &Rational, whole: bool) -> PyResult<Bound<'py, PyAny>> {
    match value.floor_u64() {
        Some(integer) if whole => Ok(integer.into_pyobject(py)?.into_any()),
        _ => Ok(PyFloat::new(py, value.nearest()).into_any()),
    }
}

/// A class around an additive mechanism that has a privacy curve.
macro_rules! additive {
    (
        $(#[$class:meta])* $name:ident($core:ty), $parameter:ident, $norm:ty, whole: $whole:literal,
        $(#[$calibrate_doc:meta])* calibrate($($budget:ident),*)
    ) => {
        additive! {
            $(#[$class])* $name($core), $parameter, $norm, whole: $whole,
            {
                $(#[$calibrate_doc])*
                #[staticmethod]
                #[pyo3(signature = (*, $($budget,)* sensitivity))]
                fn calibrate(py: Python<'_>, $($budget: &Bound<'_, PyAny>,)* sensitivity: &Bound<'_, PyAny>) -> PyResult<Self> {
                    let sensitivity = <$norm>::new(number::binary("sensitivity", sensitivity)?).map_err(error::core)?;
                    $(let $budget = self::$budget($budget)?;)*
                    py.detach(|| <$core>::calibrate($(&$budget,)* sensitivity)).map(Self).map_err(error::core)
                }

                /// The least epsilon at this delta, of a scalar release (and of a vector whose change the sensitivity bounds
                /// in the norm of the class).
                #[pyo3(signature = (delta = 0.0))]
                fn epsilon(&self, #[pyo3(from_py_with = number::float)] delta: f64) -> PyResult<Enclosure> {
                    Ok(self.0.epsilon(delta).map_err(error::core)?.into())
                }

                /// The least delta at this epsilon >= 0, of a scalar release (and of a vector whose change the sensitivity
                /// bounds in the norm of the class).
                fn delta(&self, #[pyo3(from_py_with = number::float)] epsilon: f64) -> PyResult<Enclosure> {
                    Ok(self.0.delta(epsilon).map_err(error::core)?.into())
                }
            }
        }
    };
    // Any class around an additive mechanism: but for the methods in braces they are the same for each law.
    (
        $(#[$class:meta])* $name:ident($core:ty), $parameter:ident, $norm:ty, whole: $whole:literal,
        { $($method:tt)* }
    ) => {
        $(#[$class])*
        #[pyclass(frozen, module = "veilsum.dp")]
        #[derive(Debug)]
        pub(crate) struct $name(pub(crate) $core);

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = (*, $parameter, sensitivity))]
            fn new($parameter: &Bound<'_, PyAny>, sensitivity: &Bound<'_, PyAny>) -> PyResult<Self> {
                let sensitivity = <$norm>::new(number::binary("sensitivity", sensitivity)?).map_err(error::core)?;
                let $parameter = positive(stringify!($parameter), $parameter)?;
                <$core>::new($parameter, sensitivity).map(Self).map_err(error::core)
            }

            $($method)*

            /// Release a scalar or an array of any shape, with fresh noise at each call.
            ///
            /// Parameters
            /// ----------
            /// x : number or array_like
            ///     Whatever converts without loss.
            ///
            /// Returns
            /// -------
            /// number or ndarray
            ///     Of the same kind and shape.
            ///
            /// Raises
            /// ------
            /// VeilsumError
            ///     For NaN, infinity, or a value that does not convert; no noise has been drawn then.
            fn release<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                release(&self.0, x)
            }

            /// Draw ``n`` values of the noise alone, on this thread or on several; ``progress=True`` shows a bar.
            #[pyo3(
                signature = (n, *, threads = None, progress = false),
                text_signature = "($self, n, *, threads=1, progress=False)"
            )]
            fn sample<'py>(
                &self,
                n: &Bound<'py, PyAny>,
                threads: Option<&Bound<'py, PyAny>>,
                progress: bool,
            ) -> PyResult<Bound<'py, PyAny>> {
                sample(&self.0, n, threads, progress)
            }

            /// How far a release may lie from the true value, with at least this confidence: the quantile of the
            /// noise's absolute value.
            #[pyo3(signature = (confidence = 0.95))]
            fn half_width(&self, #[pyo3(from_py_with = number::float)] confidence: f64) -> PyResult<f64> {
                self.0.half_width(confidence).map_err(error::core)
            }

            /// Interval around a release (scalar or array) that holds the true value with at least this confidence,
            /// each element by itself.
            #[pyo3(signature = (released, confidence = 0.95))]
            fn interval<'py>(
                &self,
                released: &Bound<'py, PyAny>,
                #[pyo3(from_py_with = number::float)] confidence: f64,
            ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
                let width = self.0.half_width(confidence).map_err(error::core)?;
                Ok((released.sub(width)?, released.add(width)?))
            }

            /// The parameter of the noise.
            #[getter]
            fn $parameter(&self) -> f64 {
                self.0.$parameter().nearest()
            }

            /// The sensitivity.
            #[getter]
            fn sensitivity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                shown(py, self.0.sensitivity().bound(), $whole)
            }

            /// Spacing of the grid that every release lies on: a power of two that depends on the parameter alone.
            #[getter]
            fn grid(&self) -> f64 {
                self.0.grid()
            }

            /// What one release costs, for an accountant or a ledger.
            #[getter]
            fn event(&self) -> Event {
                self.0.event().into()
            }

            fn __eq__(&self, other: &Self) -> bool {
                self.0.$parameter() == other.0.$parameter() && self.0.sensitivity() == other.0.sensitivity()
            }

            fn __hash__(&self) -> u64 {
                use std::hash::{DefaultHasher, Hash, Hasher};
                let mut hasher = DefaultHasher::new();
                (stringify!($name), self.0.$parameter(), self.0.sensitivity()).hash(&mut hasher);
                hasher.finish()
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let sensitivity = self.sensitivity(py)?.repr()?;
                let parameter = PyFloat::new(py, self.$parameter());
                Ok(format!(concat!(stringify!($name), "(", stringify!($parameter), "={}, sensitivity={})"), parameter.repr()?, sensitivity))
            }

            fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
                let named = PyDict::new(py);
                named.set_item(PyString::intern(py, stringify!($parameter)), number::fraction(py, self.0.$parameter())?)?;
                named.set_item("sensitivity", number::fraction(py, self.0.sensitivity().bound())?)?;
                Ok((PyTuple::empty(py), named))
            }
        }
    };
}

additive!(
    /// Laplace noise on floats: pure epsilon = sensitivity / scale.
    ///
    /// Releases lie on a grid of spacing ``grid``, a power of two that depends on the scale alone, and the law before
    /// rounding is exactly Laplace. A value so large that a float cannot hold the grid is rounded once more, to the
    /// nearest float, and never beyond the largest finite one.
    ///
    /// Parameters
    /// ----------
    /// scale : number
    ///     Scale of the noise, between 2**-900 and 2**900; a float is its exact binary value.
    /// sensitivity : number
    ///     Bound on the change of the released floats between neighbours, in L1: summed over all elements of an array.
    ///     The guarantee holds for arrays as it does for scalars.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.Laplace.calibrate(epsilon=0.5, sensitivity=1.0)
    /// >>> m
    /// Laplace(scale=2.0, sensitivity=1.0)
    /// >>> m.release([1.0, 2.5]).shape
    /// (2,)
    /// >>> float(m.epsilon())
    /// 0.5
    Laplace(core::Laplace), scale, L1, whole: false,
    /// The mechanism of least scale for a pure epsilon.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> vs.dp.Laplace.calibrate(epsilon=0.1, sensitivity=1).scale
    /// 10.0
    calibrate(epsilon)
);

additive!(
    /// Gaussian noise on floats, with its exact privacy curve.
    ///
    /// Releases lie on a grid as those of :class:`Laplace` do.
    ///
    /// Parameters
    /// ----------
    /// sigma : number
    ///     Standard deviation of the noise, between 2**-900 and 2**900; a float is its exact binary value.
    /// sensitivity : number
    ///     Bound on the change of the released floats between neighbours, in L2: the Euclidean length over all elements
    ///     of an array. The guarantee holds for arrays as it does for scalars.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.Gaussian.calibrate(epsilon=1.0, delta=1e-5, sensitivity=1.0)
    /// >>> round(m.sigma, 4)
    /// 3.7306
    /// >>> m.delta(1.0).hi <= 1e-5
    /// True
    Gaussian(core::Gaussian), sigma, L2, whole: false,
    /// The mechanism of least sigma for (epsilon, delta): analytic, at any epsilon > 0.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> round(vs.dp.Gaussian.calibrate(epsilon=8.4, delta=1e-5, sensitivity=1).sigma, 3)
    /// 0.577
    calibrate(epsilon, delta)
);

additive!(
    /// Laplace noise on integers, P(x) proportional to exp(-abs(x) / scale): pure epsilon = sensitivity / scale.
    ///
    /// A release beyond 64 bits is clamped to them.
    ///
    /// Parameters
    /// ----------
    /// scale : number
    ///     Between 2**-20 and 2**50; a float is its exact binary value.
    /// sensitivity : int
    ///     Bound on the change between neighbours, in L1: summed over all elements of an array. The guarantee holds for
    ///     arrays as it does for scalars.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.DiscreteLaplace.calibrate(epsilon=0.1, sensitivity=1)
    /// >>> isinstance(m.release(42), int)
    /// True
    /// >>> m.half_width(confidence=0.95)
    /// 30.0
    DiscreteLaplace(core::DiscreteLaplace), scale, L1, whole: true,
    /// The mechanism of least scale for a pure epsilon.
    calibrate(epsilon)
);

additive!(
    /// Gaussian noise on integers, P(x) proportional to exp(-x**2 / (2 sigma**2)), with its own discrete curve.
    ///
    /// A release beyond 64 bits is clamped to them.
    ///
    /// Parameters
    /// ----------
    /// sigma : number
    ///     Between 2**-20 and 2**50; a float is its exact binary value.
    /// sensitivity : int
    ///     Bound on the change between neighbours. For an array this is a bound in **L1**, for which the scalar curve and
    ///     the event hold. A bound in L2 is not enough for the scalar curve: at sigma = 1, four shifts by one are worse
    ///     than one shift by two.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.DiscreteGaussian(sigma=1.0, sensitivity=1)
    /// >>> m.delta(1.0).lo > vs.dp.Gaussian(sigma=1.0, sensitivity=1).delta(1.0).hi
    /// True
    DiscreteGaussian(core::DiscreteGaussian), sigma, L1, whole: true,
    /// The mechanism of least sigma for (epsilon, delta), on the discrete curve.
    calibrate(epsilon, delta)
);

additive!(
    /// Skellam noise on integers: the difference of two Poisson variables, each with half the variance as its mean.
    ///
    /// The sum of independent shares is exactly Skellam again, with the summed variance. A release beyond 64 bits is
    /// clamped to them.
    ///
    /// Parameters
    /// ----------
    /// variance : number
    ///     Total variance; a float is its exact binary value.
    /// sensitivity : int
    ///     Bound on the change between neighbours. For an array this is a bound in **L1**, for which the scalar curve and
    ///     the event hold; for bounds in L1 and L2, see :func:`veilsum.accounting.skellam`.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.Skellam(variance=100, sensitivity=1)
    /// >>> m.release([[1, 2], [3, 4]]).dtype
    /// dtype('int64')
    /// >>> m.event
    /// skellam(l1=1, squared_l2=1, variance=100.0)
    Skellam(core::Skellam), variance, L1, whole: true,
    /// The mechanism of least variance for (epsilon, delta).
    calibrate(epsilon, delta)
);

additive!(
    /// Gaussian noise on integer vectors whose change is bounded in **L2**.
    ///
    /// Noise on integers does not look the same from every side, so the scalar curve at the L2 length is no bound for
    /// vectors, and this class has none. Its event is accounted for by
    /// :class:`~veilsum.accounting.ZcdpAccountant` and :class:`~veilsum.accounting.RdpAccountant`. Where a bound in L1 is
    /// at hand and small, :class:`DiscreteGaussian` has a curve that holds for vectors too.
    ///
    /// Parameters
    /// ----------
    /// sigma : number
    ///     Between 2**-20 and 2**50; a float is its exact binary value.
    /// sensitivity : number
    ///     Bound on the Euclidean length of the change between neighbours, over all elements of an array, at least 1. Of
    ///     its square the whole part counts, with room for the rounding of a root: ``math.sqrt(3)`` counts as 3.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.DiscreteGaussianVector(sigma=8.0, sensitivity=2)
    /// >>> m.release([3, 4, 5]).shape
    /// (3,)
    /// >>> budget = vs.accounting.ZcdpAccountant(neighbors="add-remove").compose(m.event)
    /// >>> round(float(budget.epsilon(1e-5)), 2) < 2
    /// True
    DiscreteGaussianVector(core::DiscreteGaussian<L2>), sigma, L2, whole: false, {}
);

additive!(
    /// Skellam noise on integer vectors whose change is bounded in **L2**.
    ///
    /// As for :class:`DiscreteGaussianVector`, the scalar curve at the L2 length is no bound for vectors, and this class has
    /// none. Its event is accounted for by :class:`~veilsum.accounting.RdpAccountant`.
    ///
    /// Parameters
    /// ----------
    /// variance : number
    ///     Total variance of each element's noise; a float is its exact binary value.
    /// sensitivity : number
    ///     Bound on the Euclidean length of the change between neighbours, over all elements of an array, at least 1. Of
    ///     its square the whole part counts, with room for the rounding of a root: ``math.sqrt(3)`` counts as 3.
    ///
    /// Examples
    /// --------
    /// >>> import veilsum as vs
    /// >>> m = vs.dp.SkellamVector(variance=64, sensitivity=2)
    /// >>> m.event
    /// skellam(l1=4, squared_l2=4, variance=64.0)
    SkellamVector(core::Skellam<L2>), variance, L2, whole: false, {}
);
