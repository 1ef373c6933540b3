"""The mechanisms of ``vs.dp`` as a NumPy user meets them: kinds, shapes, refusals, copies, processes, no noise.

Statistical claims are tested in Rust; here a comparison that could fail by chance says how rarely.
"""

import copy
import math
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import veilsum as vs
from veilsum import _core
from veilsum._errors import BudgetExceeded

FLOATS = [vs.dp.Laplace(scale=1.5, sensitivity=1.0), vs.dp.Gaussian(sigma=1.5, sensitivity=1.0)]
INTEGERS = [
    vs.dp.DiscreteLaplace(scale=1.5, sensitivity=1),
    vs.dp.DiscreteGaussian(sigma=1.5, sensitivity=1),
    vs.dp.Skellam(variance=2.25, sensitivity=1),
]
ADDITIVE = FLOATS + INTEGERS
CHOICES = [vs.dp.RandomizedResponse(epsilon=1.0, categories=5), vs.dp.ReportNoisyMax(epsilon=1.0, sensitivity=1)]


def name(mechanism: object) -> str:
    return type(mechanism).__name__


@pytest.fixture(name="testing")
def _testing() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import veilsum.testing
    yield veilsum.testing


# ---- kinds and shapes


@pytest.mark.parametrize("m", FLOATS, ids=name)
def test_floats_give_floats(m: Any) -> None:
    for x in (1.5, 3, True, np.float64(2), np.float32(0.1), np.int64(7), -0.0, 1e300, 5e-324):
        assert type(m.release(x)) is float
    assert m.release(np.array(2.0)).shape == ()
    for shape in ((0,), (3,), (2, 3), (2, 0, 4), (1, 2, 3, 4)):
        out = m.release(np.ones(shape))
        assert out.shape == shape and out.dtype == np.float64
    for values in ([1, 2], (1.0, 2.0), range(3), np.arange(4, dtype=np.uint8), np.ones(3, np.float16), np.ones(3, bool)):
        assert m.release(values).dtype == np.float64


@pytest.mark.parametrize("m", INTEGERS, ids=name)
def test_integers_give_integers(m: Any) -> None:
    for x in (1, 3.0, True, np.float64(2), np.int8(-3), np.uint64(7), -0.0, 2**63 - 1, -(2**63), -(2.0**63)):
        assert type(m.release(x)) is int
    for shape in ((0,), (3,), (2, 3), (2, 0, 4)):
        out = m.release(np.ones(shape))
        assert out.shape == shape and out.dtype == np.int64
    for values in ([1, 2], (1.0, 2.0), np.arange(4, dtype=np.uint64), np.arange(4, dtype=">i4"), []):
        assert m.release(values).dtype == np.int64


@pytest.mark.parametrize("m", ADDITIVE, ids=name)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_any_layout_is_read_as_it_is(m: Any, data: st.DataObject) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from veilsum.testing import noiseless
    x = data.draw(
        hnp.arrays(
            st.sampled_from(["<f8", ">f8", "f4", "i4", ">i8", "u2"]),
            hnp.array_shapes(max_dims=3, min_side=0),
            elements=st.integers(0, 60_000),
        )
    )
    layout = data.draw(st.sampled_from(["as is", "reversed", "transposed", "every other", "read-only"]))
    if layout == "reversed":
        x = x[::-1]
    elif layout == "transposed":
        x = x.T
    elif layout == "every other":
        x = x[::2]
    elif layout == "read-only":
        x.setflags(write=False)
    before = x.copy()
    with noiseless():
        assert np.array_equal(m.release(x), before)
    assert np.array_equal(x, before), "the input is never written to"
    assert m.release(x).shape == x.shape


def test_columns_are_taken() -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    for column in (pandas.Series([1.0, 2.0]), polars.Series([1.0, 2.0]), pyarrow.array([1.0, 2.0])):
        assert FLOATS[0].release(column).shape == (2,)
    with pytest.raises(vs.VeilsumError):
        FLOATS[0].release(pandas.Series([1, None], dtype="Int64"))


# ---- what bad input gets

NOT_FINITE = [math.nan, math.inf, -math.inf]
NOT_NUMBERS: list[Any] = ["1", None, object(), 1j, b"1", np.datetime64("2020-01-01"), {}, [1, "2"], [[1], [2, 3]], [None]]


@pytest.mark.parametrize("m", ADDITIVE, ids=name)
def test_nan_infinity_and_what_is_no_number(m: Any) -> None:
    for bad in NOT_FINITE:
        for x in (bad, [bad], [1.0, bad], np.array([[bad]]), np.float32(bad), np.array(bad)):
            with pytest.raises(vs.VeilsumError) as caught:
                m.release(x)
            assert isinstance(caught.value, ValueError)
    for x in NOT_NUMBERS:
        with pytest.raises(vs.VeilsumError) as caught:
            m.release(x)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(vs.VeilsumError):
        m.release(np.array([1, 2], dtype=object))
    with pytest.raises(vs.VeilsumError):
        m.release(np.ma.masked_array([1, 2], mask=[0, 1]))
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(vs.VeilsumError):
            m.release(np.ones(2, np.longdouble))
    for call in (lambda: m.release(), lambda: m.release(1, 2), lambda: m.sample("3"), lambda: m.sample(1.5)):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("m", ADDITIVE, ids=name)
def test_errors_do_not_quote_the_data(m: Any) -> None:
    secrets: list[Any] = [[12345.5, math.nan], ["12345"], [12345, None], 12345 * 10**400, [12345 * 10**30], "12345", {"12345": 1}]
    secrets += [[12345.75, 2**70]] if m in INTEGERS else []
    for secret in secrets:
        with pytest.raises(vs.VeilsumError) as caught:
            m.release(secret)
        assert "12345" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize("m", INTEGERS, ids=name)
def test_what_is_no_64_bit_integer(m: Any) -> None:
    for x in (2**63, -(2**63) - 1, 2.0**63, 1.5, [2**63], [1.5], np.array([2**63], np.uint64), 10**400, 1e300, 5e-324):
        with pytest.raises(vs.VeilsumError):
            m.release(x)


@pytest.mark.parametrize("m", FLOATS, ids=name)
def test_what_is_no_64_bit_float(m: Any) -> None:
    for x in (2**53 + 1, [2**53 + 1], np.array([2**64 - 1], np.uint64), 10**400):
        with pytest.raises(vs.VeilsumError):
            m.release(x)
    for x in (2**70, [2**60], np.array([2**63], np.uint64)):
        m.release(x)


BAD_POSITIVE: list[Any] = [0, -1, math.nan, math.inf, -math.inf, 0.0, Decimal("NaN"), Decimal("-1"), Fraction(0)]


def test_parameters_out_of_range() -> None:
    calls: list[tuple[Any, list[str]]] = [
        (vs.dp.Laplace, ["scale", "sensitivity"]),
        (vs.dp.Gaussian, ["sigma", "sensitivity"]),
        (vs.dp.DiscreteLaplace, ["scale", "sensitivity"]),
        (vs.dp.DiscreteGaussian, ["sigma", "sensitivity"]),
        (vs.dp.Skellam, ["variance", "sensitivity"]),
        (vs.dp.Laplace.calibrate, ["epsilon", "sensitivity"]),
        (vs.dp.Gaussian.calibrate, ["epsilon", "delta", "sensitivity"]),
        (vs.dp.DiscreteLaplace.calibrate, ["epsilon", "sensitivity"]),
        (vs.dp.DiscreteGaussian.calibrate, ["epsilon", "delta", "sensitivity"]),
        (vs.dp.Skellam.calibrate, ["epsilon", "delta", "sensitivity"]),
        (vs.dp.RandomizedResponse, ["epsilon"]),
        (vs.dp.ReportNoisyMax, ["epsilon", "sensitivity"]),
    ]
    good = {"delta": 0.5}
    for call, names in calls:
        call(**{n: good.get(n, 1) for n in names})
        for bad_name in names:
            bad_values = BAD_POSITIVE + ([1e-310] if bad_name == "epsilon" else []) + ([1] if bad_name == "delta" else [])
            for bad in bad_values:
                with pytest.raises(vs.VeilsumError) as caught:
                    call(**{n: good.get(n, 1) for n in names} | {bad_name: bad})
                assert isinstance(caught.value, ValueError), (call, bad_name, bad)
            for wrong in ("1", None, [1]):
                with pytest.raises(TypeError):
                    call(**{n: good.get(n, 1) for n in names} | {bad_name: wrong})
        with pytest.raises(TypeError):
            call(*[1 for _ in names])
        with pytest.raises(TypeError):
            call()
    for fractional in (0.5, 1.5, Fraction(4, 3), 2**64):
        with pytest.raises(vs.VeilsumError):
            vs.dp.DiscreteLaplace(scale=1, sensitivity=fractional)
    for categories in (0, 1, -1, 2**32, 10**30):
        with pytest.raises(vs.VeilsumError):
            vs.dp.RandomizedResponse(epsilon=1, categories=categories)


@pytest.mark.parametrize("m", ADDITIVE, ids=name)
def test_curves_refuse_what_is_no_budget(m: Any) -> None:
    for delta in (-1e-9, 1.0, math.nan, math.inf):
        with pytest.raises(vs.VeilsumError):
            m.epsilon(delta)
    for epsilon in (-1e-9, math.nan, math.inf):
        with pytest.raises(vs.VeilsumError):
            m.delta(epsilon)
    for confidence in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(vs.VeilsumError):
            m.half_width(confidence)
    for n in (-1, 10**30):
        with pytest.raises(vs.VeilsumError):
            m.sample(n)
    for threads in (0, -1, 10**6, 10**30):
        with pytest.raises(vs.VeilsumError):
            m.sample(1, threads=threads)


# ---- parameters, curves, accuracy


def test_parameters_read_back() -> None:
    m = vs.dp.Laplace(scale=0.1, sensitivity=Fraction(1, 3))
    assert (m.scale, m.sensitivity, m.grid) == (0.1, 1 / 3, 2.0**-34)
    assert vs.dp.Skellam(variance=Decimal("2.5"), sensitivity=2).variance == 2.5
    assert vs.dp.DiscreteGaussian(sigma=3, sensitivity=2).sensitivity == 2
    assert isinstance(vs.dp.DiscreteGaussian(sigma=3, sensitivity=2.0).sensitivity, int)
    assert vs.dp.DiscreteLaplace(scale=1, sensitivity=1).grid == 1.0


def test_events_are_those_of_the_accountants() -> None:
    event = vs.dp.Gaussian(sigma=3, sensitivity=2).event
    assert (event.kind, event.parameters) == ("gaussian", {"noise_multiplier": Fraction(3, 2)})
    event = vs.dp.Skellam(variance=3, sensitivity=2).event
    assert event.parameters == {"variance": 3, "l1": 2, "squared_l2": 4}
    assert vs.dp.ReportNoisyMax(epsilon=0.1, sensitivity=2).event.parameters == {"epsilon": Fraction(1, 10)}


@pytest.mark.parametrize("epsilon", [1e-5, 0.1, 0.3, 1.0, 8.4, 50.0])
def test_calibration_meets_its_budget_and_hardly_less(epsilon: float) -> None:
    for calibrate in (vs.dp.Laplace.calibrate, vs.dp.DiscreteLaplace.calibrate):
        m = calibrate(epsilon=epsilon, sensitivity=3)
        assert m.epsilon().hi <= epsilon
        assert m.epsilon().lo >= epsilon * (1 - 1e-12)
    for delta in (1e-12, 1e-5, 0.1):
        g = vs.dp.Gaussian.calibrate(epsilon=epsilon, delta=delta, sensitivity=3)
        assert g.delta(epsilon).hi <= delta
        less = vs.dp.Gaussian(sigma=g.sigma * (1 - 1e-9), sensitivity=3)
        assert less.delta(epsilon).lo > delta


def test_gaussian_calibration_against_an_independent_curve() -> None:
    """Balle and Wang 2018, Theorem 8, with SciPy's normal law; the classic formula fails here."""
    norm = pytest.importorskip("scipy.stats").norm
    for epsilon, delta in ((0.1, 1e-5), (1.0, 1e-6), (8.4, 1e-5), (20.0, 1e-3)):
        sigma = vs.dp.Gaussian.calibrate(epsilon=epsilon, delta=delta, sensitivity=1).sigma
        a, b = 1 / (2 * sigma), epsilon * sigma
        assert norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b) == pytest.approx(delta, rel=1e-6)
    classic = vs.dp.Gaussian(sigma=math.sqrt(2 * math.log(1.25 / 1e-5)) / 8.5, sensitivity=1)
    assert classic.delta(8.5).lo > 1e-5


def test_discrete_curves_are_their_own() -> None:
    """At sigma = 1 the discrete Gaussian is worse than the continuous one; summed here from its definition."""
    weights = {x: math.exp(-x * x / 2) for x in range(-40, 42)}
    total = sum(weights[x] for x in range(-40, 41))
    for epsilon in (0.25, 0.5, 1.0, 2.0):
        direct = sum(max(0.0, weights[x] - math.exp(epsilon) * weights[x + 1]) for x in range(-40, 41)) / total
        enclosure = vs.dp.DiscreteGaussian(sigma=1, sensitivity=1).delta(epsilon)
        assert enclosure.lo <= direct * (1 + 1e-12) and direct * (1 - 1e-12) <= enclosure.hi
        assert enclosure.hi - enclosure.lo < 1e-12


def test_accuracy_holds_and_is_not_idle() -> None:
    """Of 20,000 draws, 5 % exceed the half-width, within 2.5 points (Hoeffding: each fails once in 10^10 runs)."""
    n = 20_000
    slack = math.sqrt(math.log(2 / 1e-10) / (2 * n))
    for m in ADDITIVE:
        exceeded = np.mean(np.abs(m.sample(n)) > m.half_width(0.95))
        assert exceeded <= 0.05 + slack
        one_less = m.half_width(0.95) * 0.9 - m.grid
        assert np.mean(np.abs(m.sample(n)) > one_less) >= 0.05 - slack
        low, high = m.interval(m.release([10, 20]), 0.9)
        assert high - low == pytest.approx(2 * m.half_width(0.9))


# ---- noise never repeats, and the grid is the law's


@pytest.mark.parametrize("m", FLOATS, ids=name)
def test_releases_lie_on_the_grid(m: Any) -> None:
    for x in (0.0, 0.1, 1e-300, -5e-324, 1 / 3, 1e6, 2.0**52):
        out = m.release(np.full(1000, x)) / m.grid
        assert (out == np.floor(out)).all(), x
    assert (np.abs(m.release(np.full(10, np.finfo(float).max))) < math.inf).all()
    # Rounded once more where a float cannot hold the grid: still near the value.
    assert m.release(1e300) == pytest.approx(1e300)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("call", ["m.sample(n)", "m.sample(n, threads=2)", "m.release(x)"])
@pytest.mark.parametrize("law", ["Laplace(scale=3, sensitivity=1)", "DiscreteGaussian(sigma=3000, sensitivity=1)", "Skellam(variance=9, sensitivity=1)"])
def test_drawing_takes_its_output_and_at_most_a_mebibyte_more(law: str, call: str) -> None:
    code = f"""
import numpy as np, veilsum as vs
from pathlib import Path

def memory(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

m, n = vs.dp.{law}, 1 << 22
x = np.ones(n, dtype=m.sample(1).dtype)
m.sample(1 << 16, threads=2)  # threads and their stacks
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
out = {call}
print(memory("VmHWM") - before - out.nbytes // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 1024, f"{done.stdout} KiB beside the output"


def test_integers_clamp_at_the_ends() -> None:
    m = vs.dp.DiscreteLaplace(scale=2**40, sensitivity=1)
    top = m.release(np.full(1000, 2**63 - 1))
    assert (top > 2**62).all() and (top == 2**63 - 1).any()
    bottom = m.release(np.full(1000, -(2**63)))
    assert (bottom < -(2**62)).all() and (bottom == -(2**63)).any()


@pytest.mark.parametrize("m", ADDITIVE + CHOICES[:1], ids=name)
def test_mechanisms_copy_and_pickle_and_never_repeat(m: Any) -> None:
    twins = [m, copy.copy(m), copy.deepcopy(m), pickle.loads(pickle.dumps(m))]
    assert all(t == m and hash(t) == hash(m) and repr(t) == repr(m) and t.event == m.event for t in twins)
    zeros = np.zeros(200, int)
    # 200 draws coincide with probability below 0.7^200 = 1e-31 for each pair.
    seen = {t.release(zeros).tobytes() for t in twins for _ in range(3)}
    assert len(seen) == 12


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_never_repeat(start: str) -> None:
    code = f"""
import multiprocessing as mp, pickle, veilsum as vs
M = [vs.dp.Gaussian(sigma=1.0, sensitivity=1), vs.dp.DiscreteLaplace(scale=1000, sensitivity=1)]
def draw(i): return [m.release([0] * 8).tolist() for m in M]
if __name__ == "__main__":
    before = draw(0)
    with mp.get_context({start!r}).Pool(4) as pool:
        drawn = [before] + pool.map(draw, range(16), chunksize=1) + [draw(0)]
    for k in range(len(M)):
        values = {{tuple(d[k]) for d in drawn}}
        assert len(values) == len(drawn), "a draw repeated"
"""
    path = f"{os.environ.get('TMPDIR', '/tmp')}/veilsum_{start}_{os.getpid()}.py"
    with open(path, "w") as file:
        file.write(code)
    try:
        subprocess.run([sys.executable, path], check=True, timeout=120)
    finally:
        os.remove(path)


def test_threads_never_repeat() -> None:
    m = vs.dp.Gaussian(sigma=1.0, sensitivity=1)
    drawn: list[bytes] = []
    workers = [threading.Thread(target=lambda: drawn.append(m.sample(64).tobytes())) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(set(drawn)) == 16
    halves = m.sample(20_000, threads=2).reshape(2, -1)
    assert not np.array_equal(halves[0], halves[1])
    for n in (0, 1, 3, 1001):
        assert m.sample(n, threads=4).shape == (n,)


@pytest.mark.parametrize("m", FLOATS, ids=name)
def test_an_array_that_changes_meanwhile(m: Any) -> None:
    """Whatever another thread writes, a release is finite and on the grid, or the one error."""
    x = np.zeros(200_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            x[::7] = np.nan
            x[::7] = 1.0

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            try:
                out = m.release(x)
            except vs.VeilsumError:
                continue
            assert np.isfinite(out).all()
    finally:
        stop.set()
        writer.join()


# ---- randomized response, noisy max, sparse vector


def test_randomized_response() -> None:
    m = vs.dp.RandomizedResponse(epsilon=2.0, categories=4)
    assert type(m.release(3)) is int
    assert m.release(np.zeros((2, 3), np.int8)).shape == (2, 3)
    assert m.release([]).shape == (0,)
    assert m.epsilon().hi == 2.0 and m.epsilon().lo > 1.999999
    # The law: truth with e^2 / (e^2 + 3), any lie with 1 / (e^2 + 3); Hoeffding at 1e-10 each.
    n = 100_000
    share = np.bincount(m.release(np.full(n, 2)), minlength=4) / n
    truth = math.exp(2) / (math.exp(2) + 3)
    expected = np.array([1, 1, 0, 1]) * (1 - truth) / 3 + np.array([0, 0, 1, 0]) * truth
    assert (np.abs(share - expected) < math.sqrt(math.log(2 / 1e-10) / (2 * n))).all()
    for bad in (4, -1, [0, 4], [-1], 1.5, math.nan, "a", [None], np.array([np.nan])):
        with pytest.raises(vs.VeilsumError):
            m.release(bad)
    assert m.estimate([1, 2, 3, 4]).sum() == pytest.approx(10)
    for bad in ([1, 2], [1, 2, 3, -4], [0.5, 1, 1, 1]):
        with pytest.raises(vs.VeilsumError):
            m.estimate(bad)


def test_report_noisy_max() -> None:
    m = vs.dp.ReportNoisyMax(epsilon=1.0, sensitivity=1.0)
    assert type(m.release([1, 2, 3])) is int
    assert m.release([5.0]) == 0
    for bad in ([], [[1, 2]], 1.0, [math.nan], [1.0, math.inf], ["a"], [None]):
        with pytest.raises(vs.VeilsumError):
            m.release(bad)
    # 1,500 candidates far below the best do not underflow, and none of them is a tie.
    assert m.release([-1e6] * 1500 + [0.0]) == 1500
    assert m.shortfall(1000, 0.95) == pytest.approx(2 * math.log(1000 / 0.05))


def test_sparse_vector_answers_until_its_hits_are_used_up() -> None:
    m = vs.dp.SparseVector(epsilon=1.0, threshold=0.0, max_hits=2, sensitivity=1)
    assert m.release(-1000.0) is False
    answers = m.release(np.array([-1000.0, 1000.0, -1000.0, 1000.0, 1000.0]))
    assert answers.dtype == bool and answers.tolist() == [False, True, False, True, False]
    assert (m.hits, m.max_hits) == (2, 2)
    with pytest.raises(BudgetExceeded):
        m.release(0.0)
    assert float(m.epsilon()) == 1.0


def test_sparse_vector_stays_where_it_was_made() -> None:
    m = vs.dp.SparseVector(epsilon=1.0, threshold=0.0, max_hits=1, sensitivity=1)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(m)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forking with threads about
        child = os.fork()
    if child == 0:
        try:
            m.release(0.0)
        except vs.VeilsumError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    for bad in (math.nan, math.inf, [math.nan], "a", None):
        with pytest.raises(vs.VeilsumError):
            m.release(bad)
    assert m.hits == 0
    for arguments in ({"threshold": math.nan}, {"threshold": math.inf}, {"max_hits": 0}, {"max_hits": -1}, {"epsilon": 0}):
        good: dict[str, Any] = {"epsilon": 1.0, "threshold": 0.0, "max_hits": 1, "sensitivity": 1}
        with pytest.raises(vs.VeilsumError):
            vs.dp.SparseVector(**(good | arguments))


# ---- without noise


def test_importing_testing_warns() -> None:
    code = "import warnings; warnings.simplefilter('error', UserWarning); import veilsum.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0 and "veilsum.testing is for tests alone" in done.stderr


def test_noiseless_releases_are_exact(testing: Any) -> None:
    with testing.noiseless():
        assert testing.is_noiseless()
        for m in ADDITIVE:
            assert m.release(3) == 3
            assert (m.release([1, 2, 3]) == [1, 2, 3]).all()
            assert (m.sample(10, threads=2) == 0).all()
        assert FLOATS[0].release(0.1) == round(0.1 / FLOATS[0].grid) * FLOATS[0].grid
        assert FLOATS[0].release(1e300) == 1e300
        assert CHOICES[0].release([0, 4, 2]).tolist() == [0, 4, 2]
        assert CHOICES[1].release([1.0, 3.0, 3.0]) == 1
        with testing.noiseless():
            pass
        assert testing.is_noiseless()
        above = vs.dp.SparseVector(epsilon=1.0, threshold=5.0, max_hits=9, sensitivity=1)
        assert above.release([4.0, 5.0, 6.0]).tolist() == [False, True, True]
        with pytest.raises(vs.VeilsumError):
            FLOATS[0].release(math.nan)
    assert not testing.is_noiseless()
    assert any(ADDITIVE[2].release(10**6) != 10**6 for _ in range(200))


def test_noiseless_belongs_to_its_thread_and_ends_with_an_error(testing: Any) -> None:
    seen = []
    with pytest.raises(KeyError), testing.noiseless():
        worker = threading.Thread(target=lambda: seen.append(_core.is_noiseless()))
        worker.start()
        worker.join()
        raise KeyError
    assert seen == [False]
    assert not testing.is_noiseless()
    assert not _core.noiseless_end()


def test_noiseless_refuses_a_running_event_loop(testing: Any) -> None:
    import asyncio

    async def enter() -> None:
        with testing.noiseless():
            raise AssertionError("not reached")

    with pytest.raises(vs.VeilsumError):
        asyncio.run(enter())


VECTORS = [
    vs.dp.DiscreteGaussianVector(sigma=1.0, sensitivity=2),
    vs.dp.SkellamVector(variance=4.0, sensitivity=2),
]


@pytest.mark.parametrize("mechanism", VECTORS, ids=name)
def test_integer_vectors_in_l2_have_no_scalar_curve(mechanism: Any) -> None:
    assert not hasattr(mechanism, "epsilon") and not hasattr(mechanism, "delta") and not hasattr(mechanism, "calibrate")
    assert mechanism.release(np.zeros((2, 3), np.int64)).dtype == np.int64
    assert pickle.loads(pickle.dumps(mechanism)) == mechanism and hash(copy.copy(mechanism)) == hash(mechanism)
    assert type(mechanism)(**{**mechanism.__getnewargs_ex__()[1], "sensitivity": 3}) != mechanism
    budget = vs.accounting.RdpAccountant(neighbors="add-remove")
    budget.compose(mechanism.event)
    assert 0 < float(budget.epsilon(1e-5)) < 20


def test_discrete_gaussian_vectors_cost_more_than_the_scalar_curve_at_l2() -> None:
    # Four unit shifts at sigma = 1 have delta 3.4e-4 at epsilon 8; the scalar shift by two has 1.2e-4.
    vector, scalar = vs.dp.DiscreteGaussianVector(sigma=1.0, sensitivity=2), vs.dp.DiscreteGaussian(sigma=1.0, sensitivity=2)
    assert scalar.delta(8.0).hi < 1.3e-4
    for accountant in (vs.accounting.ZcdpAccountant, vs.accounting.RdpAccountant):
        budget = accountant(neighbors="add-remove")
        budget.compose(vector.event)
        assert budget.delta(8.0).hi > 3.3e-4


def test_sampling_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = vs.dp.DiscreteLaplace(scale=3, sensitivity=1).sample(1000, threads=2, progress=True)
    assert drawn.shape == (1000,)
    assert "1.00k" in capsys.readouterr().err
