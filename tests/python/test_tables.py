"""Private tables from Python: the analyst's session, plans, and what comes in and goes out."""

import json
import subprocess
import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest

import veilsum as vs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from veilsum.testing import noiseless

PEOPLE = {"person": [1, 1, 1, 2, 3, 3], "visits": [2.0, 4.0, 6.0, 0.0, 7.0, 50.0], "site": ["a", "a", "b", "a", "b", "c"]}


def session(table=None, **changes):
    arguments = {"unit": "person", "neighbors": "add-remove", "epsilon": 10, "delta": 1e-6, "max_contributions": 3} | changes
    return vs.dp.Session(PEOPLE if table is None else table, **arguments)


def test_values_without_noise():
    s = session()
    with noiseless():
        assert s.count(epsilon=1).value == 6
        assert s.count_units(epsilon=1).value == 3
        assert s.sum("visits", bounds=(0, 10), epsilon=1).value == pytest.approx(29)
        assert s.mean("visits", bounds=(0, 10), epsilon=1).value == pytest.approx(29 / 6)
        assert s.variance("visits", bounds=(0, 10), epsilon=1).value == pytest.approx(np.var([2, 4, 6, 0, 7, 10]))
        assert s.histogram("site", keys=["c", "a", "zz"], epsilon=1).value == {"c": 1, "a": 3, "zz": 0}
        assert s.histogram("site", epsilon=1).value == {"a": 3, "b": 2, "c": 1}
        assert s.quantile("visits", [0, 0.5, 1], bounds=(0, 10), epsilon=1).value == pytest.approx([0, 4, 10], abs=1e-4)
        assert "NOT PRIVATE" in repr(s.count(epsilon=1))
        assert "NOT PRIVATE" in s.count(epsilon=1).to_dict()["privacy"]


def test_the_budget_is_exact_and_a_refusal_costs_nothing():
    s = session(epsilon=1, delta=0)
    for _ in range(10):
        s.count(epsilon=0.1)
    assert s.spent.epsilon == 1 and s.remaining.epsilon == 0
    with pytest.raises(vs.accounting.BudgetExceeded):
        s.count(epsilon=1e-9)
    assert s.spent.epsilon == Fraction(1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.mean("visits", epsilon=0.1),
        lambda s: s.sum("visits", bounds=(5, 5), epsilon=0.1),
        lambda s: s.sum("visits", bounds=(6, 5), epsilon=0.1),
        lambda s: s.sum("visits", bounds=(float("nan"), 5), epsilon=0.1),
        lambda s: s.sum("visits", bounds=5, epsilon=0.1),
        lambda s: s.sum("nowhere", bounds=(0, 5), epsilon=0.1),
        lambda s: s.count(epsilon=0),
        lambda s: s.count(epsilon=-1),
        lambda s: s.count(epsilon=float("inf")),
        lambda s: s.count(epsilon=float("nan")),
        lambda s: s.quantile("visits", 1.5, bounds=(0, 10), epsilon=0.1),
        lambda s: s.quantile("visits", [], bounds=(0, 10), epsilon=0.1),
        lambda s: s.histogram("site", keys=["a", "a"], epsilon=0.1),
        lambda s: s.histogram("site", keys=[None], epsilon=0.1),
        lambda s: s.histogram("site", epsilon=0.1, delta=0),
    ],
)
def test_bad_arguments_are_errors_before_anything_is_spent(ask):
    s = session()
    with pytest.raises(vs.VeilsumError):
        ask(s)
    assert s.spent.epsilon == 0


def test_missing_bounds_name_three_remedies():
    with pytest.raises(vs.VeilsumError, match="known about.*private quantile.*public"):
        session().mean("visits", epsilon=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": None},
        {"unit": "nowhere"},
        {"neighbors": "zero-out"},
        {"max_contributions": None},
        {"max_contributions": 0},
        {"max_contributions": 2.5},
        {"epsilon": 0},
        {"epsilon": float("nan")},
        {"delta": 1},
        {"unit": vs.dp.ROW, "max_contributions": 2},
    ],
)
def test_bad_sessions_are_refused(changes):
    with pytest.raises(vs.VeilsumError):
        session(**changes)


def test_there_are_no_defaults_for_unit_and_neighbors():
    with pytest.raises(TypeError):
        vs.dp.Session(PEOPLE, neighbors="add-remove", epsilon=1)
    with pytest.raises(TypeError):
        vs.dp.Session(PEOPLE, unit="person", epsilon=1)


def test_results_describe_themselves():
    s = session()
    for release in (
        s.count(epsilon=0.1),
        s.mean("visits", bounds=(0, 10), epsilon=0.1),
        s.quantile("visits", [0.25, 0.5], bounds=(0, 10), epsilon=0.1),
        s.histogram("site", keys=["a", "b"], epsilon=0.1),
        s.histogram("site", epsilon=0.1),
    ):
        facts = json.loads(json.dumps(release.to_dict()))
        assert facts["neighbors"] == "add-remove" and facts["limits"]["rows"] == 3
        assert facts["event"] == release.event.to_dict()
        assert "<table>" in release._repr_html_()
        assert len(release.to_pandas()) == (len(release.value) if isinstance(release.value, (list, dict)) else 1)
        with pytest.raises(AttributeError):
            release.value = 0
    assert s.count(epsilon=0.5).scale == 6.0
    assert s.sum("visits", bounds=(-1, 10), epsilon=1).scale == pytest.approx(30.0)


def test_plan_partial_merge_release():
    plan = vs.dp.Plan(
        {
            "rows": vs.dp.Count(),
            "people": vs.dp.CountUnits(weight=3),
            "visits": vs.dp.Mean(column="visits", bounds=(0, 10), epsilon=0.25),
            "quartiles": vs.dp.Quantile(column="visits", bounds=(0, 10), q=[0.25, 0.75]),
        },
        unit="person",
        neighbors="add-remove",
        epsilon=1,
        max_contributions=2,
        by="site",
        keys=["a", "b", "c"],
    )
    assert plan.cost().epsilon == 1
    again = vs.dp.Plan.from_json(plan.to_json())
    assert again.hash == plan.hash and again == plan
    whole = plan.partial(PEOPLE)
    parts = [again.partial(PEOPLE, part=(i, 3), threads=1) for i in range(3)]
    assert vs.dp.merge(vs.dp.merge(parts[2], parts[0]), parts[1]) == whole
    shuffled = {name: [column[i] for i in (3, 5, 0, 4, 2, 1)] for name, column in PEOPLE.items()}
    assert plan.partial(shuffled) == whole
    with pytest.raises(vs.VeilsumError):
        vs.dp.merge(parts[0], parts[0])
    with pytest.raises(vs.VeilsumError):
        plan.release(parts[0], None)
    release = plan.release(whole, None)
    assert list(release) == ["rows", "people", "visits", "quartiles"]
    assert list(release["rows"].value) == ["a", "b", "c"]
    assert release.to_pandas().shape == (3, 4)
    json.dumps(release.to_dict())
    assert set(plan.forecast(rows=100)) == set(release)


def table_kinds(folder):
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyarrow import csv, parquet

    frame = pd.DataFrame(PEOPLE)
    arrow = pa.table(PEOPLE)
    csv.write_csv(arrow, folder / "table.csv")
    parquet.write_table(arrow, folder / "table.parquet", row_group_size=4)
    yield "CSV file", folder / "table.csv"
    yield "Parquet file", str(folder / "table.parquet")
    yield "dict of arrays", {name: np.asarray(column) for name, column in PEOPLE.items()}
    yield "dict of masked arrays", {name: np.ma.masked_array(column) for name, column in PEOPLE.items()}
    yield "dict of objects", {name: np.asarray(column, dtype=object) for name, column in PEOPLE.items()}
    yield "dict of series", {name: frame[name] for name in PEOPLE}
    yield "dict of polars series", {name: pl.Series(column) for name, column in PEOPLE.items()}
    yield "dict of arrow arrays", {name: pa.array(column) for name, column in PEOPLE.items()}
    mixed = {"person": PEOPLE["person"], "visits": pa.chunked_array([[2.0, 4.0], [6.0, 0.0, 7.0, 50.0]]), "site": frame["site"]}
    yield "dict of everything", mixed
    yield "pandas objects", frame.astype(object)
    yield "pandas arrow", frame.convert_dtypes(dtype_backend="pyarrow")
    yield "pandas", frame
    yield "pandas nullable", frame.convert_dtypes()
    yield "pandas categories", frame.astype({"site": "category"})
    yield "polars", pl.DataFrame(PEOPLE)
    yield "polars categories", pl.DataFrame(PEOPLE).with_columns(pl.col("site").cast(pl.Categorical))
    yield "polars lazy", pl.LazyFrame(PEOPLE)
    yield "polars decimals", pl.DataFrame(PEOPLE).with_columns(pl.col("visits").cast(pl.Decimal(10, 2)))
    small = {"person": pa.int8(), "visits": pa.float32(), "site": pa.large_string()}
    yield "pyarrow small types", arrow.cast(pa.schema(small.items()))
    other = {"person": pa.decimal128(30, 0), "visits": pa.uint16(), "site": pa.string_view()}
    yield "pyarrow other types", arrow.cast(pa.schema(other.items()))
    yield "pyarrow record batch", arrow.to_batches()[0]
    yield "pyarrow reader", arrow.to_reader(max_chunksize=2)
    yield "pyarrow", pa.table(PEOPLE)
    yield "pyarrow dictionary", pa.table(PEOPLE).set_column(2, "site", pa.array(PEOPLE["site"]).dictionary_encode())
    yield "pyarrow chunks", pa.concat_tables([pa.table(PEOPLE).slice(i, 1) for i in range(6)])
    yield "duckdb", duckdb.sql("select * from frame")
    yield "duckdb connection", duckdb.connect().from_df(frame)


def test_every_kind_of_table_gives_the_same_bytes(tmp_path):
    plan = vs.dp.Plan(
        {"n": vs.dp.Count(), "x": vs.dp.Sum(column="visits", bounds=(0, 10))},
        unit="person",
        neighbors="add-remove",
        epsilon=1,
        delta=1e-6,
        max_contributions=2,
        by="site",
    )
    expected = plan.partial(PEOPLE)
    for kind, table in table_kinds(tmp_path):
        assert plan.partial(table) == expected, kind
    for kind, table in table_kinds(tmp_path):
        s = session(table)
        with noiseless():
            assert s.sum("visits", bounds=(0, 10), epsilon=1).value == pytest.approx(29), kind
            assert s.histogram("site", keys=["a", "zz"], epsilon=1).value == {"a": 3, "zz": 0}, kind
            assert s.count_units(epsilon=1).value == 3, kind


def test_importing_needs_no_data_frame_package():
    code = "import sys, veilsum; print([m for m in ('pandas', 'polars', 'pyarrow', 'duckdb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_missing_values_are_one_thing():
    nothing = [None, float("nan"), float("inf"), -float("inf")]
    table = {"person": [1, 2, 3, 4, 5, None], "x": [*nothing, 2.0, 7.0], "key": [*nothing, "a", "a"]}
    s = session(table, max_contributions=1)
    with noiseless():
        assert s.count(epsilon=1).value == 5  # the row without a person is nobody's
        assert s.mean("x", bounds=(0, 10), epsilon=1).value == pytest.approx(2)
        assert s.histogram("key", epsilon=1).value == {"a": 1}


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_small_tables_have_answers_of_the_same_kind(rows):
    table = {name: np.asarray(column)[:rows] for name, column in PEOPLE.items()}
    s = session(table)
    assert type(s.count(epsilon=0.1).value) is int
    assert 0 <= s.mean("visits", bounds=(0, 10), epsilon=0.1).value <= 10
    assert s.variance("visits", bounds=(0, 10), epsilon=0.1).value >= 0
    assert 0 <= s.quantile("visits", 0.5, bounds=(0, 10), epsilon=0.1).value <= 10
    assert list(s.histogram("site", keys=["a", "b"], epsilon=0.1).value) == ["a", "b"]


def test_a_ledger_is_charged_before_an_answer_and_can_refuse():
    paid = []

    class Ledger:
        neighbors = "add-remove"

        def spend(self, event, *, label="", provenance=None):
            if len(paid) == 2:
                raise vs.accounting.BudgetExceeded("the ledger is spent")
            paid.append((event, label))

    s = session(ledger=Ledger())
    first = s.count(epsilon=0.5)
    s.sum("visits", bounds=(0, 10), epsilon=0.5)
    assert paid[0][0] == first.event and paid[1][1] == "sum visits"
    with pytest.raises(vs.accounting.BudgetExceeded, match="the ledger"):
        s.count(epsilon=0.5)
    assert s.spent.epsilon == 1


# ---- Gaussian noise -------------------------------------------------------------------------------

GROUPED = {"unit": "person", "neighbors": "add-remove", "max_contributions": 9, "max_per_group": 1, "by": "site"}


def gaussian(aggregates=None, **changes):
    arguments = {**GROUPED, "keys": list("abc"), "epsilon": 1, "delta": 1e-6, "noise": "gaussian"} | changes
    return vs.dp.Plan(aggregates or {"n": vs.dp.Count(), "sum": vs.dp.Sum(column="visits", bounds=(0, 10))}, **arguments)


def test_gaussian_noise_is_charged_in_l2():
    """Nine rows in nine groups: 3 in L2, and two counts whose rhos are within what (1, 1e-6) allows."""
    plan = gaussian()
    assert plan.cost() == vs.dp.Amount(Fraction(1), Fraction(1, 10**6))
    event = plan.event.to_dict()
    assert [e["kind"] for e, _ in event["events"]] == ["discrete_gaussian_vector"] * 2
    assert event["events"][0][0]["squared_l2"] == 9
    forecast = plan.forecast()
    sigma = forecast["n"]["scale"]
    assert forecast["n"]["error"] == pytest.approx(1.96 * sigma, abs=1) and forecast["sum"]["scale"] == pytest.approx(10 * sigma)
    accountant = vs.accounting.ZcdpAccountant(neighbors="add-remove")
    accountant.compose(plan.event)
    assert 0.999 < accountant.epsilon(1e-6).hi < 1.0001
    laplace = gaussian(noise="laplace", delta=0, epsilon=1)
    assert forecast["n"]["error"] < 0.75 * laplace.forecast()["n"]["error"]


def test_gaussian_plans_travel_and_release():
    plan = gaussian(weights := {"n": vs.dp.Count(weight=1), "mean": vs.dp.Mean(column="visits", bounds=(0, 10), weight=3)})
    again = vs.dp.Plan.from_json(plan.to_json())
    assert again == plan and again.event == plan.event and again.cost() == plan.cost() and len(weights) == 2
    parts = [again.partial(PEOPLE, part=(i, 2)) for i in range(2)]
    release = plan.release(vs.dp.merge(*parts), None)
    assert release["n"].scale == pytest.approx(release["mean"].scale * 3 / 10, rel=1e-6)
    assert release["n"].to_dict()["noise"] == "gaussian"
    assert all(0 < release[name].cost.epsilon < 1 for name in release)
    with noiseless():
        exact = plan.release(plan.partial(PEOPLE), None)
    assert exact["n"].value == {"a": 2, "b": 2, "c": 1}
    forged = plan.to_json().replace('"delta":"1/1000000"', '"delta":"1/1000000000"')
    assert forged != plan.to_json()
    with pytest.raises(vs.VeilsumError, match="together"):
        vs.dp.Plan.from_json(forged)


def test_gaussian_answers_in_a_session(tmp_path):
    s = session(epsilon=2, delta=1e-5)
    answers = [
        s.count(epsilon=0.25, delta=1e-6, noise="gaussian"),
        s.count_units(epsilon=0.25, delta=1e-6, noise="gaussian"),
        s.sum("visits", bounds=(0, 10), epsilon=0.25, delta=1e-6, noise="gaussian"),
        s.mean("visits", bounds=(0, 10), epsilon=0.25, delta=1e-6, noise="gaussian"),
        s.variance("visits", bounds=(0, 10), epsilon=0.25, delta=1e-6, noise="gaussian"),
        s.histogram("site", keys=["a"], epsilon=0.25, delta=1e-6, noise="gaussian"),
        s.histogram("site", epsilon=0.25, delta=1e-6, noise="gaussian"),
    ]
    assert s.spent == vs.dp.Amount(Fraction(7, 4), Fraction(7, 10**6))
    assert all(answer.cost == vs.dp.Amount(Fraction(1, 4), Fraction(1, 10**6)) for answer in answers)
    for wrong in ({"noise": "gaussian"}, {"delta": 1e-6}, {"noise": "normal"}, {"noise": "gaussian", "delta": -1e-6}):
        with pytest.raises(vs.VeilsumError, match="noise|delta"):
            s.count(epsilon=0.1, **wrong)


@pytest.mark.parametrize("rule", ["pure", "basic", "zcdp"])
def test_ledgers_are_charged_for_gaussian_noise_by_their_rule(tmp_path, rule):
    delta = 0 if rule == "pure" else 1e-5
    ledger = vs.accounting.Ledger.open(tmp_path / "ledger", epsilon=2, delta=delta, filter=rule)
    plans = [gaussian() for _ in range(2)] + [gaussian(keys=None)]
    if rule == "pure":
        with pytest.raises(vs.VeilsumError, match="no pure epsilon"):
            plans[0].release(plans[0].partial(PEOPLE), ledger)
        return
    for plan in plans[:2]:
        plan.release(plan.partial(PEOPLE), ledger)
    entry = ledger.history()[0]
    assert "gaussian" in entry.provenance["noise"].lower()
    if rule == "basic":
        assert entry.event == vs.accounting.approximate(1, 1e-6) and ledger.spent.epsilon == 2
        with pytest.raises(vs.accounting.BudgetExceeded):
            plans[2].release(plans[2].partial(PEOPLE), ledger)
    else:
        assert entry.event == plans[0].event and ledger.spent.epsilon < 1.6
        plans[2].release(plans[2].partial(PEOPLE), ledger)


@pytest.mark.parametrize(
    "changes",
    [
        {"delta": 0},
        {"noise": "normal"},
        {"aggregates": {"n": vs.dp.Count(epsilon=0.1)}},
        {"keys": None, "selection_epsilon": 0.1},
    ],
)
def test_gaussian_plans_that_are_none(changes):
    with pytest.raises(vs.VeilsumError):
        gaussian(**changes)


def test_sessions_are_neither_copied_nor_pickled():
    import copy
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(session())
    with pytest.raises(TypeError):
        copy.deepcopy(session())
    plan = vs.dp.Plan({"n": vs.dp.Count()}, unit=vs.dp.ROW, neighbors="replace-one", epsilon=1)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert pickle.loads(pickle.dumps(vs.dp.ROW)) is vs.dp.ROW
