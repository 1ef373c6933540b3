"""What a column can be used for is decided by its type, before anything is spent, and alike on neighbours."""

import datetime
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import veilsum as vs
from veilsum.dp import ROW

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from veilsum.testing import noiseless

TEXTS = ["a", "1", "b", "2.5"]
DAYS = [datetime.date(2026, 11, day) for day in (1, 2, 3, 3)]
TIMES = [datetime.datetime(2026, 11, day) for day in (1, 2, 3, 3)]


def session(column, **changes):
    table = pa.table({"x": column}) if isinstance(column, (pa.Array, pa.ChunkedArray)) else {"x": column}
    return vs.dp.Session(table, **{"unit": ROW, "neighbors": "replace-one", "epsilon": 100, "delta": 1e-6} | changes)


ASKS = {
    "sum": lambda s: s.sum("x", bounds=(0, 10), epsilon=1),
    "mean": lambda s: s.mean("x", bounds=(0, 10), epsilon=1),
    "variance": lambda s: s.variance("x", bounds=(0, 10), epsilon=1),
    "quantile": lambda s: s.quantile("x", 0.5, bounds=(0, 10), epsilon=1),
}

TEXT_COLUMNS = {
    "numpy U": lambda v: np.array(v, dtype="U5"),
    "numpy StringDType": lambda v: np.array(v, dtype=np.dtypes.StringDType()),
    "numpy masked U": lambda v: np.ma.masked_array(np.array(v, dtype="U5")),
    "pandas string": lambda v: pd.Series(v, dtype="string"),
    "pandas string, python": lambda v: pd.Series(v, dtype=pd.StringDtype("python")),
    "pandas string, pyarrow": lambda v: pd.Series(v, dtype=pd.StringDtype("pyarrow")),
    "pandas ArrowDtype": lambda v: pd.Series(v, dtype=pd.ArrowDtype(pa.string())),
    "pandas categorical": lambda v: pd.Series(pd.Categorical(v, categories=pd.Index(TEXTS, dtype="string"))),
    "arrow string": lambda v: pa.array(v, pa.string()),
    "arrow large_string": lambda v: pa.array(v, pa.large_string()),
    "arrow string_view": lambda v: pa.array(v, pa.string_view()),
    "arrow dictionary": lambda v: pa.array(v, pa.dictionary(pa.int8(), pa.string())),
    "polars String": lambda v: pl.Series(v, dtype=pl.String),
    "polars Categorical": lambda v: pl.Series(v, dtype=pl.Categorical),
    "polars Enum": lambda v: pl.Series(v, dtype=pl.Enum(TEXTS)),
}

OTHER_COLUMNS = {
    "numpy bytes": lambda v: np.array([t.encode() for t in v], dtype="S5"),
    "numpy datetime": lambda v: np.array(TIMES[: len(v)], dtype="datetime64[s]"),
    "numpy timedelta": lambda v: np.arange(len(v)).astype("timedelta64[s]"),
    "numpy complex": lambda v: np.arange(len(v)) * 1j,
    "pandas datetime": lambda v: pd.Series(TIMES[: len(v)], dtype="datetime64[ns]"),
    "pandas datetime with zone": lambda v: pd.Series(TIMES[: len(v)], dtype="datetime64[ns, UTC]"),
    "pandas period": lambda v: pd.Series(pd.PeriodIndex(DAYS[: len(v)], freq="D")),
    "pandas categorical of dates": lambda v: pd.Series(pd.Categorical(pd.Series(TIMES[: len(v)], dtype="datetime64[ns]"))),
    "arrow binary": lambda v: pa.array([t.encode() for t in v], pa.binary()),
    "arrow date": lambda v: pa.array(DAYS[: len(v)], pa.date32()),
    "arrow timestamp": lambda v: pa.array(TIMES[: len(v)], pa.timestamp("us")),
    "arrow duration": lambda v: pa.array(range(len(v)), pa.duration("s")),
    "arrow list": lambda v: pa.array([[1.0]] * len(v), pa.list_(pa.float64())),
    "arrow struct": lambda v: pa.array([{"a": 1}] * len(v), pa.struct({"a": pa.int64()})),
    "arrow decimal256": lambda v: pa.array([1] * len(v), pa.decimal256(60)),
    "polars Date": lambda v: pl.Series(DAYS[: len(v)], dtype=pl.Date),
    "polars Datetime": lambda v: pl.Series(TIMES[: len(v)], dtype=pl.Datetime),
    "polars List": lambda v: pl.Series([[1]] * len(v), dtype=pl.List(pl.Int64)),
    "polars Struct": lambda v: pl.Series([{"a": 1}] * len(v), dtype=pl.Struct({"a": pl.Int64})),
}


@pytest.mark.parametrize("rows", [0, 1, 4])
@pytest.mark.parametrize("kind", TEXT_COLUMNS)
def test_texts_are_no_numbers(kind, rows):
    s = session(TEXT_COLUMNS[kind](TEXTS[:rows]))
    for ask in ASKS.values():
        with pytest.raises(vs.VeilsumError, match=r"column \"x\" holds texts \(type .*\).*convert the column.*histogram"):
            ask(s)
    assert s.spent.epsilon == 0
    assert list(s.histogram("x", keys=["a", "b"], epsilon=1).value) == ["a", "b"]
    with pytest.raises(vs.VeilsumError, match="holds texts"):
        s.histogram("x", keys=[1, 2], epsilon=1)


@pytest.mark.parametrize("rows", [0, 1, 4])
@pytest.mark.parametrize("kind", OTHER_COLUMNS)
def test_types_that_tables_do_not_take(kind, rows):
    s = session(OTHER_COLUMNS[kind](TEXTS[:rows]))
    for ask in (*ASKS.values(), lambda s: s.histogram("x", epsilon=1), lambda s: s.histogram("x", keys=["a"], epsilon=1)):
        with pytest.raises(vs.VeilsumError, match="column ['\"]x['\"] is of type .*, which tables do not take: .*(convert|make)"):
            ask(s)
    assert s.spent.epsilon == 0
    assert isinstance(s.count(epsilon=1).value, int), "a column that is not asked for is in nobody's way"
    by_person = session(OTHER_COLUMNS[kind](TEXTS[:rows]), unit="x", max_contributions=1)
    with pytest.raises(vs.VeilsumError, match="which tables do not take"):
        by_person.count(epsilon=1)


def test_numbers_have_no_text_keys():
    for numbers in (np.arange(3), pa.array([1, 2]), pd.Series([0.5]), pl.Series([True])):
        s = session(numbers)
        with pytest.raises(vs.VeilsumError, match="holds numbers .*a text is among the keys"):
            s.histogram("x", keys=["a"], epsilon=0.1)
        assert s.spent.epsilon == 0


def test_times_say_the_way_out():
    with pytest.raises(vs.VeilsumError, match="days since a date"):
        session(pl.Series(TIMES)).mean("x", bounds=(0, 1), epsilon=1)


NUMBERS = {
    "bool": (np.array([True, False, True]), 2),
    "pandas boolean": (pd.Series([True, None, True], dtype="boolean"), 2),
    "pandas Int64": (pd.Series([1, None, 2], dtype="Int64"), 3),
    "pandas UInt8": (pd.Series([1, None, 2], dtype="UInt8"), 3),
    "pandas Float32": (pd.Series([1, None, 2], dtype="Float32"), 3),
    "pandas categorical of numbers": (pd.Series([1.0, None, 2.0], dtype="category"), 3),
    "pandas decimals": (pd.Series([Decimal("0.5"), None, Decimal("2.5"), Decimal("NaN"), Decimal("sNaN")]), 3),
    "pandas lists": (pd.Series([[1], 3, {"a": 1}, "x", None]), 3),
    "pandas sparse": (pd.Series(pd.arrays.SparseArray([0.0, 1.0, 2.0])), 3),
    "polars Decimal": (pl.Series([Decimal("0.5"), None, Decimal("2.5")]), 3),
    "polars Boolean": (pl.Series([True, None, True]), 2),
    "polars Null": (pl.Series([None, None]), 0),
    "arrow decimal128": (pa.array([Decimal("0.5"), None, Decimal("2.5")], pa.decimal128(20, 3)), 3),
    "arrow decimal32": (pa.array([Decimal("0.5"), None, Decimal("2.5")], pa.decimal32(5, 1)), 3),
    "arrow decimal64": (pa.array([Decimal("0.5"), None, Decimal("2.5")], pa.decimal64(15, 1)), 3),
    "arrow float16": (pa.array(np.array([1, 2], dtype=np.float16)), 3),
    "arrow dictionary of ints": (pa.array([1, None, 2]).dictionary_encode(), 3),
    "arrow bool": (pa.array([True, None, True, True])[1:], 2),
    "arrow null": (pa.nulls(3), 0),
    "numpy float16": (np.array([1, 2], dtype=np.float16), 3),
    "numpy longdouble": (np.array(["1", "2", "-1e4000"], dtype=np.longdouble), 3),
    "numpy strided": (np.arange(6.0)[::2], 6),
    "numpy big-endian": (np.array([1, 2], dtype=">i4"), 3),
    "numpy masked": (np.ma.masked_array([1, 9, 2], [False, True, False]), 3),
    "numpy object": (np.array([1, "9", None, 2.0, b"9", DAYS[0], np.float32(1), np.int8(1), 1 << 200, -(1 << 70)], dtype=object), 5),
    "list": ([1, "9", None, 2.0, Decimal("0.5"), float("inf")], 3.5),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_every_type(kind):
    column, expected = NUMBERS[kind]
    with noiseless():
        assert session(column).sum("x", bounds=(0, 10), epsilon=1).value == pytest.approx(expected, abs=1e-9)


def test_one_person_is_one_person_whatever_the_type():
    """Identifiers next to each other beyond 2^53 stay apart in every type that can hold them."""
    near = [(1 << 53) + i for i in range(4)]
    decimals = [Decimal(n) / 10 + Decimal("0.01") for n in near]
    for people in (
        near,
        [*near, None],
        [*near, float("nan")],
        np.array(near),
        pd.Series(near, dtype="Int64"),
        pd.Series([*near, None], dtype=object),
        pd.Series(decimals),
        decimals,
        pa.array(near, pa.decimal128(38, 0)),
        pa.array(decimals, pa.decimal128(38, 3)),
        pa.array([str(n) for n in near]),
        pl.Series(near, dtype=pl.UInt64),
    ):
        s = vs.dp.Session({"p": people}, unit="p", neighbors="add-remove", epsilon=1, max_contributions=1)
        with noiseless():
            assert s.count_units(epsilon=1).value == 4, people


def test_the_fields_of_a_csv_file_are_read_by_what_they_are_for(tmp_path):
    path = tmp_path / "table.csv"
    rows = ["7,1.5,a", "07,nonsense,a", "seven,,2", ",3,b", "7,4", "8,9,b,extra", "é,1e300,1", '"9","2","b"', "10,nan,1"]
    path.write_bytes(("person,x,key\n" + "\n".join(rows) + "\n").encode() + b"11,5,\xff\n")
    s = vs.dp.Session(path, unit="person", neighbors="add-remove", epsilon=100, delta=1e-6, max_contributions=2)
    with noiseless():
        assert s.count_units(epsilon=1).value == 7, "7, 07, seven, é, 9, 10, 11; nobody, and rows of another length, do not count"
        assert s.sum("x", bounds=(0, 10), epsilon=1).value == pytest.approx(1.5 + 10 + 2 + 5)
        assert s.histogram("key", keys=["a", "1"], epsilon=1).value == {"a": 2, "1": 2}
        assert s.histogram("key", keys=[1, 2.0], epsilon=1).value == {1: 2, 2.0: 1}
        assert s.histogram("key", epsilon=1).value == {"1": 2, "2": 1, "a": 2, "b": 1}
        with pytest.raises(vs.VeilsumError, match="has no column 'nowhere'"):
            s.mean("nowhere", bounds=(0, 1), epsilon=1)


@pytest.mark.parametrize("rows", [0, 1])
def test_files_without_rows_have_answers(tmp_path, rows):
    from pyarrow import csv, parquet

    table = pa.table({"person": [1, 2], "x": [0.5, 1.5], "key": ["a", "b"]}).slice(0, rows)
    csv.write_csv(table, tmp_path / "t.csv")
    parquet.write_table(table, tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        s = vs.dp.Session(tmp_path / name, unit="person", neighbors="add-remove", epsilon=100, delta=1e-6, max_contributions=1)
        assert isinstance(s.count(epsilon=1).value, int)
        assert 0 <= s.mean("x", bounds=(0, 10), epsilon=1).value <= 10
        assert list(s.histogram("key", keys=["a"], epsilon=1).value) == ["a"]


def test_files_that_are_none(tmp_path):
    for name, data in (("t.parquet", b"no"), ("t.xlsx", b""), ("t.csv", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(vs.VeilsumError, match=name):
            vs.dp.Session(tmp_path / name, unit=ROW, neighbors="add-remove", epsilon=1)
    with pytest.raises(FileNotFoundError):
        vs.dp.Session(tmp_path / "nowhere.csv", unit=ROW, neighbors="add-remove", epsilon=1)


def test_a_file_in_many_passes_and_threads_gives_the_same_bytes(tmp_path):
    from pyarrow import parquet

    rng = np.random.default_rng()
    n = 100_000
    table = pa.table({"p": rng.integers(0, n // 5, n), "k": rng.choice(["a", "b", "c"], n), "x": rng.normal(size=n)})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=10_000)
    plan = vs.dp.Plan(
        {"n": vs.dp.Count(), "x": vs.dp.Sum(column="x", bounds=(-1, 1)), "q": vs.dp.Quantile(column="x", bounds=(-1, 1), q=[0.5])},
        unit="p", neighbors="add-remove", epsilon=1, delta=1e-6, max_contributions=3, max_groups=2, by="k",
    )
    whole = plan.partial(table, threads=1)
    for memory in (1 << 20, 3 << 20, 1 << 30):
        assert plan.partial(tmp_path / "t.parquet", memory=memory, threads=2) == whole
    halves = [plan.partial(tmp_path / "t.parquet", part=(i, 2), memory=1 << 20) for i in range(2)]
    assert vs.dp.merge(*halves) == whole


def test_a_reader_is_read_once():
    import pyarrow as pa

    table = pa.table({"person": [1, 2], "x": [1.0, 2.0]})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    people = {"unit": "person", "neighbors": "add-remove", "epsilon": 1, "max_contributions": 1}
    plan = vs.dp.Plan({"n": vs.dp.Count()}, **people)
    assert plan.partial(reader) == plan.partial(table)
    for again in (plan.partial, lambda reader: vs.dp.Session(reader, **people)):
        with pytest.raises(vs.VeilsumError, match="read to its end before"):
            again(reader)


@pytest.mark.parametrize("megabytes", [17, 40])
def test_a_long_row_of_a_csv_file_is_a_row(tmp_path, megabytes):
    """Longer than what is parsed at once: one person's long field must not be everyone's error."""
    path = tmp_path / "long.csv"
    path.write_text("person,x,note\n1,1,a\n2,2," + "b" * (megabytes << 20) + "\n3,3,c\n")
    s = vs.dp.Session(path, unit="person", neighbors="add-remove", epsilon=1, max_contributions=1)
    with noiseless():
        assert s.sum("x", bounds=(0, 10), epsilon=1).value == 6


def test_arrow_needs_no_pyarrow():
    """Anything with an Arrow stream is read by the library itself."""
    import subprocess
    import sys

    code = """
import sys
sys.modules["pyarrow"] = None
import polars as pl, veilsum as vs
t = pl.DataFrame({"p": [1, 2], "x": [1.0, 2.0], "k": ["a", "b"]})
class Stream:
    def __arrow_c_stream__(self, requested_schema=None):
        return t.__arrow_c_stream__(requested_schema)
for table in (t, Stream()):
    s = vs.dp.Session(table, unit="p", neighbors="add-remove", epsilon=1, max_contributions=1)
    print(list(s.histogram("k", keys=["a", "b"], epsilon=0.5).value))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["['a', 'b']"] * 2, done.stderr


def test_a_stream_that_fails_says_so_without_its_values():
    def batches():
        yield pa.record_batch({"x": [1.0]})
        raise ValueError("secret 4711")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.float64()}), batches())
    with pytest.raises(vs.VeilsumError, match="could not be read") as refused:
        vs.dp.Session(reader, unit=ROW, neighbors="add-remove", epsilon=1)
    assert "4711" not in str(refused.value)
    plan = vs.dp.Plan({"n": vs.dp.Count()}, unit=ROW, neighbors="add-remove", epsilon=1)
    reader = pa.table({"x": [1.0, 2.0]}).to_reader()
    assert plan.partial(reader) == plan.partial({"x": [1.0, 2.0]})


@pytest.mark.parametrize("names", [["x", "x"], ["a", "a"]])
def test_two_columns_of_one_name(names):
    table = pa.table([pa.array([1.0]), pa.array([2.0])], names=names)
    s = vs.dp.Session(table, unit=ROW, neighbors="add-remove", epsilon=1)
    with pytest.raises(vs.VeilsumError, match="two columns are named|has no column"):
        s.sum("x", bounds=(0, 1), epsilon=0.1)
    s = vs.dp.Session(pd.DataFrame([[1.0, 2.0]], columns=names), unit=ROW, neighbors="add-remove", epsilon=1)
    with pytest.raises(vs.VeilsumError, match="two columns are named|has no column"):
        s.sum("x", bounds=(0, 1), epsilon=0.1)
