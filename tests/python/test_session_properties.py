"""Sessions on small random tables and their neighbours, and the intervals that they report.

`make deep` (VEILSUM_DEEP) asks for more examples. Random tables are drawn anew in every run.
"""

import math
import os
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import veilsum as vs
from veilsum.dp import ROW

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from veilsum.testing import noiseless

DEEP = bool(os.environ.get("VEILSUM_DEEP"))
EXAMPLES = settings(max_examples=2000 if DEEP else 25, deadline=None)

FAR = float(1 << 50)
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.5, 10.0, FAR, FAR + 1, 1e300, -1e300, 5e-324, math.nan, math.inf, -math.inf, None]),
    st.floats(-5, 15),
)
KEYS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", ""]))
ROWS = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 3)), KEYS, VALUES), max_size=9)
BOUNDS = st.sampled_from([(0.0, 10.0), (-3.0, 7.5), (1.0, 2.0), (-5.0, -1.0), (FAR, FAR + 1), (-1e280, 1e280)])
NEIGHBORS = st.sampled_from(["add-remove", "replace-one"])
LIMITS = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def table(rows):
    people, keys, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {"person": pa.array(people, pa.int64()), "key": pa.array(keys, pa.string()), "x": pa.array(values, pa.float64())}
    )


def answers(rows, bounds, neighbors, limits, unit="person"):
    """Every answer of a session without noise, as numbers by name, and what each may move by."""
    m, g, r = limits
    more = {} if unit is ROW else {"max_contributions": m, "max_groups": g, "max_per_group": r}
    s = vs.dp.Session(table(rows), unit=unit, neighbors=neighbors, epsilon=1000, delta=1e-3, **more)
    asked = {
        "count": s.count(epsilon=0.5),
        "people": s.count_units(epsilon=0.5),
        "sum": s.sum("x", bounds=bounds, epsilon=0.5),
        "public": s.histogram("key", keys=["b", "a", "other"], epsilon=0.5),
        "unknown": s.histogram("key", epsilon=0.5, delta=1e-6),
    }
    shown = {name: release.value if isinstance(release.value, dict) else {"": release.value} for name, release in asked.items()}
    # The scale is sensitivity / epsilon, rounded up; half of an unknown histogram's epsilon chooses its keys.
    claims = {name: release.scale * (0.25 if name == "unknown" else 0.5) for name, release in asked.items()}
    low, high = bounds
    if high - low < 1e140:
        assert 0 <= s.variance("x", bounds=bounds, epsilon=0.5).value <= (high - low) ** 2 / 4
    else:
        with pytest.raises(vs.VeilsumError, match="rescale"):
            s.variance("x", bounds=bounds, epsilon=0.5)
    assert low <= s.mean("x", bounds=bounds, epsilon=0.5).value <= high
    assert low <= s.quantile("x", 0.3, bounds=bounds, epsilon=0.5).value <= high
    return shown, claims


def check(before, after):
    (shown, claims), (moved, same) = before, after
    assert claims == same, "what is claimed does not depend on the data"
    for name, values in shown.items():
        keys = set(values) | set(moved[name])
        change = sum(abs(values.get(key, 0) - moved[name].get(key, 0)) for key in keys)
        assert change <= claims[name] * (1 + 1e-12), f"{name}: {change} > {claims[name]}"
        if name != "unknown":
            assert list(values) == list(moved[name])


@given(ROWS, st.lists(st.tuples(KEYS, VALUES), max_size=6), BOUNDS, NEIGHBORS, LIMITS)
@EXAMPLES
def test_no_person_moves_an_answer_by_more_than_claimed(rows, others, bounds, neighbors, limits):
    with noiseless():
        before = answers(rows, bounds, neighbors, limits)
        for person in range(4):
            without = [row for row in rows if row[0] != person]
            check(before, answers(without, bounds, neighbors, limits))
            if neighbors == "replace-one":
                check(before, answers(without + [(person, *other) for other in others], bounds, neighbors, limits))


@given(ROWS, st.tuples(KEYS, VALUES), BOUNDS, NEIGHBORS)
@EXAMPLES
def test_no_row_moves_an_answer_by_more_than_claimed(rows, other, bounds, neighbors):
    with noiseless():
        before = answers(rows, bounds, neighbors, (1, 1, 1), unit=ROW)
        for i in range(len(rows)):
            replaced = [(None, *other)] if neighbors == "replace-one" else []
            check(before, answers(rows[:i] + replaced + rows[i + 1 :], bounds, neighbors, (1, 1, 1), unit=ROW))


@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), st.integers(1, 4), LIMITS, st.booleans(), st.data())
@EXAMPLES
def test_partials_depend_on_the_set_of_rows_alone(tables, parts, limits, by_row, data):
    """Not on their order, nor how they are cut into chunks, partitions and threads, nor who holds them."""
    rows, shuffled = tables
    m, g, r = limits
    who = {"unit": ROW} if by_row else {"unit": "person", "max_contributions": m, "max_groups": g, "max_per_group": r}
    plan = vs.dp.Plan(
        {"n": vs.dp.Count(), "mean": vs.dp.Mean(column="x", bounds=(0, 10)), "q": vs.dp.Quantile(column="x", bounds=(0, 10), q=[0.5])},
        neighbors="add-remove", epsilon=1, delta=1e-6, by="key", **who,
    )
    whole = plan.partial(table(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    other = table(shuffled)
    chunks = [other.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    for same in (other, pa.concat_tables(chunks), pa.RecordBatchReader.from_batches(other.schema, [b for c in chunks for b in c.to_batches()])):
        assert plan.partial(same, threads=2) == whole
    columns = {name: other[name].to_numpy() for name in ("key", "x")}
    assert plan.partial({"person": other["person"], **columns}) == whole
    merged, *more = data.draw(st.permutations([plan.partial(other, part=(i, parts)) for i in range(parts)]))
    for partial in more:
        merged = vs.dp.merge(partial, merged)
    assert merged == whole


# ---- input that attacks --------------------------------------------------------------------------


def session(source, **changes):
    arguments = {"unit": "person", "neighbors": "add-remove", "epsilon": 1000, "delta": 1e-6, "max_contributions": 2}
    return vs.dp.Session(source, **arguments | changes)


def test_one_person_with_many_rows_is_few_rows():
    people = np.concatenate([np.full(10_000, 7), np.arange(100, 110)])
    s = session({"person": people, "x": np.concatenate([np.full(10_000, 10.0), np.zeros(10)]), "key": np.arange(10_010) % 50})
    with noiseless():
        assert s.count(epsilon=1).value == 12
        assert s.sum("x", bounds=(0, 10), epsilon=1).value == pytest.approx(20)
        assert sum(s.histogram("key", epsilon=1).value.values()) == 12
        assert s.quantile("x", 0.5, bounds=(0, 10), epsilon=1).value == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("outlier", [1e300, -1e300, 1.7976931348623157e308, math.inf, -math.inf, math.nan])
def test_an_outlier_is_one_value_at_a_bound_or_none(outlier):
    with noiseless():
        total = session({"person": [1, 2], "x": [outlier, 3.0]}).sum("x", bounds=(-1, 10), epsilon=1).value
    assert total == pytest.approx({1: 13.0, -1: 2.0, 0: 3.0}[0 if not math.isfinite(outlier) else int(math.copysign(1, outlier))])


@pytest.mark.parametrize("rows", [0, 1, 2, 1000, 1001])
@pytest.mark.parametrize("values", [np.zeros, np.ones, np.arange, lambda n: np.full(n, np.nan), lambda n: np.full(n, 1e300)])
def test_every_size_and_constant_columns_have_answers_of_one_kind(rows, values):
    column = values(rows).astype(float)
    s = session({"person": np.arange(rows), "x": column, "key": np.full(rows, "a")})
    asked = [
        s.count(epsilon=1), s.count_units(epsilon=1), s.sum("x", bounds=(0, 5), epsilon=1), s.mean("x", bounds=(0, 5), epsilon=1),
        s.variance("x", bounds=(0, 5), epsilon=1), s.quantile("x", [0, 0.5, 1], bounds=(0, 5), epsilon=1),
        s.histogram("key", keys=["a", "b"], epsilon=1),
    ]
    kinds = [int, int, float, float, float, list, dict]
    assert [type(release.value) for release in asked] == kinds
    for release in asked:
        release.interval(), release.to_dict(), repr(release), release._repr_html_()
    assert all(0 <= q <= 5 for q in asked[5].value) and list(asked[6].value) == ["a", "b"]
    with noiseless():
        if rows and np.isfinite(column).all() and len(set(column)) == 1:
            for q in (0.01, 0.5, 1):
                assert s.quantile("x", q, bounds=(0, 5), epsilon=1).value == pytest.approx(min(column[0], 5))


def test_keys_that_one_side_alone_has():
    """A public key nobody has is 0 with noise; one that is not public is never named; a rare unknown one is not either."""
    s = session({"person": np.arange(1000), "key": np.array(["common"] * 999 + ["only me"])})
    public = s.histogram("key", keys=["nobody", "common"], epsilon=1).value
    assert list(public) == ["nobody", "common"] and public["common"] > 500
    for _ in range(20):  # "only me" is named with probability delta = 5e-8 each time
        assert list(s.histogram("key", epsilon=1, delta=5e-8).value) == ["common"]


@pytest.mark.parametrize("neighbors", ["add-remove", "replace-one"])
def test_narrow_bounds_far_from_zero(neighbors):
    """Bounds [2^50, 2^50 + 1]: the sensitivity of a replaced row is 1, and every value inside keeps its place."""
    low = float(1 << 50)
    values = np.array([low - 5, low, low + 0.25, low + 1, low + 7, 0.0])
    s = session({"x": values}, unit=ROW, neighbors=neighbors, max_contributions=None)
    release = s.sum("x", bounds=(low, low + 1), epsilon=1)
    assert release.scale == pytest.approx(1 if neighbors == "replace-one" else low + 1)
    with noiseless():
        inside = s.mean("x", bounds=(low, low + 1), epsilon=1).value
        assert inside == pytest.approx(low + 2.25 / 6, abs=0.25)
        moved = [
            session({"x": np.array([x, low])}, unit=ROW, neighbors=neighbors, max_contributions=None)
            .sum("x", bounds=(low, low + 1), epsilon=1).value
            for x in (-1e300, low, low + 0.5, low + 1, 1e300, math.nan)
        ]
    assert max(moved) - min(moved) <= release.scale * (1 + 1e-12)


@pytest.mark.parametrize("bounds", [(5, 5), (6, 5), (math.nan, 1), (0, math.inf), (-math.inf, 0), (1e308, -1e308), None, 5, (1, 2, 3), ("a", "b")])
def test_bounds_that_are_none(bounds):
    for rows in ([], [1.0]):
        s = session({"person": np.arange(len(rows)), "x": np.array(rows)})
        for ask in (s.sum, s.mean, s.variance, lambda *a, **k: s.quantile(a[0], 0.5, **k)):
            with pytest.raises(vs.VeilsumError):
                ask("x", bounds=bounds, epsilon=1)
        assert s.spent.epsilon == 0


# ---- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["laplace", "gaussian"])
def test_intervals_cover_the_value_without_noise(noise):
    """Misses of a 90 % interval are at most Binomial(n, 0.1); each of 13 counts of them passes 99.999999998 % of the time at
    least, so a right library fails with probability below 1e-9 in both runs. Counts and sums have exact intervals, up to the
    width of a step: theirs must miss often enough, too."""
    n, rng = (20_000 if DEEP else 1000), np.random.default_rng()
    confidence, alarm = 0.9, 1e-11
    people = 300
    source = {"p": np.arange(people), "x": rng.normal(4, 2, people), "k": rng.choice(["a", "b", "c"], people, p=[0.7, 0.29, 0.01])}
    epsilon, weight = ("weight" if noise == "gaussian" else "epsilon"), 0.5
    plan = vs.dp.Plan(
        {
            "count": vs.dp.Count(**{epsilon: weight / 10}),
            "sum": vs.dp.Sum(column="x", bounds=(0, 10), **{epsilon: weight}),
            "mean": vs.dp.Mean(column="x", bounds=(0, 10), **{epsilon: weight}),
            "variance": vs.dp.Variance(column="x", bounds=(0, 10), **{epsilon: weight}),
            "median": vs.dp.Quantile(column="x", bounds=(0, 10), q=[0.5], confidence=confidence, **{epsilon: weight}),
        },
        unit="p", neighbors="add-remove", epsilon=3, delta=1e-6 if noise == "gaussian" else 0, max_contributions=1, noise=noise,
        by="k", keys=["a", "b", "c"],
    )
    partial = plan.partial(source)
    with noiseless():
        truth = plan.release(partial, None)
    misses = {(name, key): 0 for name in plan._aggregates for key in "abc"}
    for _ in range(n):
        released = plan.release(partial, None)
        for name in plan._aggregates:
            intervals = released[name].interval(confidence)
            for key in "abc":
                low, high = intervals[key] if name != "median" else intervals[key][0]
                exact = truth[name].value[key] if name != "median" else truth[name].value[key][0]
                # A median is any point of a flat stretch of ranks: its own step is the resolution.
                slack = 1e-9 * (1 + abs(exact))
                misses[name, key] += not (low - slack <= exact <= high + slack)
    most = stats.binom.isf(alarm, n, 1 - confidence)
    assert all(missed <= most for missed in misses.values()), misses
    least = stats.binom.ppf(alarm, n, 0.8 * (1 - confidence))
    assert all(misses[name, key] >= least for name in ("count", "sum") for key in "abc"), misses




# ---- calls that are wrong ------------------------------------------------------------------------

VISITS = {"person": [1, 1, 2], "site": ["north", "south", "north"], "days": [4, 2, 9]}


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.histogram("site", keys="north", epsilon=1),
        lambda s: s.histogram("site", keys=5, epsilon=1),
        lambda s: s.histogram(["site", "days"], keys=["ab", "cd"], epsilon=1),
        lambda s: s.histogram([], keys=[], epsilon=1),
        lambda s: s.mean(None, bounds=(0, 1), epsilon=1),
        lambda s: s.mean(["days"], bounds=(0, 1), epsilon=1),
        lambda s: s.quantile("days", None, bounds=(0, 1), epsilon=1),
        lambda s: session(VISITS, ledger="no ledger"),
        lambda s: session([1, 2, 3]),
        lambda s: session(np.zeros((3, 2))),
        lambda s: session(pa.array([1, 2])),
        lambda s: session({"person": [1, 2], "x": "ab"}),
        lambda s: session({"person": [1, 2], "x": 5}),
        lambda s: session({"person": [1, 2], "x": [1]}),
        lambda s: vs.dp.Plan([vs.dp.Count()], unit=ROW, neighbors="add-remove", epsilon=1),
        lambda s: vs.dp.Plan({"n": vs.dp.Count}, unit=ROW, neighbors="add-remove", epsilon=1),
        lambda s: s.sum("days", bounds=(False, True), epsilon=1),
        lambda s: s.sum("days", bounds=("0", "1"), epsilon=1),
        lambda s: s.sum("days", bounds=(0, 10**400), epsilon=1),
        lambda s: s.sum("days", bounds={0, 1}, epsilon=1),
        lambda s: s.quantile(["days"], 0.5, bounds=(0, 10), epsilon=1),
        lambda s: s.histogram(5, keys=[1], epsilon=1),
        lambda s: s.histogram("site", keys=[b"north"], epsilon=1),
        lambda s: vs.dp.Plan({1: vs.dp.Count()}, unit=vs.dp.ROW, neighbors="add-remove", epsilon=1),
        lambda s: vs.dp.Plan({"n": vs.dp.Count(epsilon=1, weight=1)}, unit=vs.dp.ROW, neighbors="add-remove", epsilon=1),
        lambda s: vs.dp.Plan({"n": vs.dp.Count()}, unit=vs.dp.ROW, neighbors="add-remove", epsilon=1, by=3),
        lambda s: PLAN.partial(VISITS, part=(2, 2)),
        lambda s: PLAN.partial(VISITS, part=(-1, 2)),
        lambda s: PLAN.partial(VISITS, part=3),
        lambda s: PLAN.partial(VISITS, threads=0),
        lambda s: PLAN.partial(VISITS, threads="2"),
        lambda s: PLAN.partial(VISITS, memory=5),
        lambda s: PLAN.forecast(rows=-1),
        lambda s: PLAN.release(PLAN.partial(VISITS), "no ledger"),
        lambda s: PLAN.release(b"no partial", None),
        lambda s: vs.dp.merge(b"no", b"partial"),
    ],
)
def test_wrong_calls_say_so(ask):
    s = session(VISITS)
    with pytest.raises((TypeError, vs.VeilsumError)) as refused:
        ask(s)
    assert len(str(refused.value)) > 20 and s.spent.epsilon == 0


PLAN = vs.dp.Plan({"n": vs.dp.Count()}, unit="person", neighbors="add-remove", epsilon=1, max_contributions=1)


def test_keys_may_come_from_arrays():
    import json

    from decimal import Decimal

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    for keys in (np.arange(3), pd.Series([0, 1, 2]), pl.Series([0, 1, 2]), range(3), (0, 1, 2)):
        release = session(VISITS).histogram("days", keys=keys, epsilon=1)
        assert list(release.value) == [0, 1, 2]
        json.dumps(release.to_dict())
    pairs = session(VISITS).histogram(["site", "days"], keys=[["north", np.int64(4)], ("south", 2)], epsilon=1)
    assert list(pairs.value) == [("north", 4), ("south", 2)]
    scalars = session(VISITS).histogram("site", keys=pa.array(["north", "south"]), epsilon=1)
    assert list(scalars.value) == ["north", "south"]
    assert list(session(VISITS).histogram("days", keys=[Decimal(2), Decimal("2.5")], epsilon=1).value) == [2, 2.5]


def test_one_column_is_one_column_in_a_list_too():
    asked = [
        vs.dp.Plan({"n": vs.dp.Count()}, unit="person", neighbors="add-remove", epsilon=1, max_contributions=1, by=by, keys=keys)
        for by, keys in (("site", ["north"]), (["site"], ["north"]), (("site",), [("north",)]))
    ]
    for plan in asked:
        again = vs.dp.Plan.from_json(plan.to_json())
        assert plan.hash == again.hash
        for p in (plan, again):
            assert list(p.release(p.partial(VISITS), None)["n"].value) == ["north"]


def test_structured_arrays_are_tables():
    table = np.array([(1, 2.0), (1, 3.0), (2, 50.0)], dtype=[("person", int), ("x", float)])
    with noiseless():
        assert session(table).sum("x", bounds=(0, 10), epsilon=1).value == 15


@pytest.mark.parametrize("truth", [True, np.True_])
@pytest.mark.parametrize(
    "call",
    [
        lambda truth: session(VISITS, epsilon=truth),
        lambda truth: session(VISITS).count(epsilon=truth),
        lambda truth: session(VISITS).histogram("site", epsilon=1, delta=truth),
        lambda truth: session(VISITS).quantile("days", truth, bounds=(0, 10), epsilon=1),
        lambda truth: session(VISITS).count(epsilon=1).interval(truth),
        lambda truth: vs.dp.Laplace(scale=1, sensitivity=truth),
        lambda truth: vs.dp.Gaussian.calibrate(epsilon=1, delta=truth, sensitivity=1),
        lambda truth: vs.dp.Laplace(scale=1, sensitivity=1).delta(truth),
        lambda truth: vs.dp.Laplace(scale=1, sensitivity=1).half_width(truth),
        lambda truth: vs.dp.Laplace(scale=1, sensitivity=1).sample(truth),
        lambda truth: vs.dp.RandomizedResponse(epsilon=truth),
        lambda truth: vs.accounting.pure(truth),
        lambda truth: vs.accounting.poisson_sampled(truth, vs.accounting.gaussian(1)),
        lambda truth: vs.accounting.calibrate(vs.accounting.gaussian, epsilon=truth, delta=1e-5),
        lambda truth: vs.accounting.PldAccountant(neighbors="add-remove").compose(vs.accounting.gaussian(1), truth),
    ],
)
def test_truth_values_are_no_amounts(call, truth):
    with pytest.raises(TypeError, match="bool|truth"):
        call(truth)
