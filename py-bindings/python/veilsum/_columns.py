"""Tables as typed columns, from whatever holds them.

A source hands a plan the columns that it asks for, and converts no others. What a column can be used for is decided by its
*type*, which is public, never by its values.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from . import _core
from ._errors import ArgumentError

Part = tuple[int, int]

#: Rows of a file that are read at once.
_BATCH = 1 << 18
#: Bytes of a text file that are parsed at once; a row must not be longer. It grows where it has to, up to the second.
_BLOCK = 1 << 24
_LONGEST = 1 << 30

#: Readers that were read by us: reading one again would find an empty table.
_read: WeakSet[Any] = WeakSet()


class Source(Protocol):
    """A table that plans read from."""

    def check(self, name: str) -> None:
        """Raise unless there is a column of this name, of a type that tables take."""

    def is_whole(self, name: str) -> bool:
        """Whether the type of a column holds whole numbers or truth values alone."""

    def partial(self, plan: _core.Plan, part: Part, threads: int, memory: int) -> bytes:
        """The exact sums of a plan."""


def table(source: Any, *, once: bool = False) -> Source:
    """A source for the tables that :class:`veilsum.dp.Session` takes; ``once``: a stream need not be kept."""
    if isinstance(source, (str, os.PathLike)):
        return _file(Path(source))
    if isinstance(source, Mapping):
        for name, values in source.items():
            if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
                raise TypeError(f"column {name!r} cannot be {type(values).__name__}: give an array or a list")
        return _Arrays(list(source), source.__getitem__, {len(values) for values in source.values()})
    if _package(source) == "pandas" and hasattr(source, "columns"):
        return _Arrays(list(source.columns), source.__getitem__, {len(source)})
    if isinstance(source, np.ndarray) and source.dtype.names and source.ndim == 1:
        return _Arrays(list(source.dtype.names), source.__getitem__, {len(source)})
    if hasattr(source, "collect") and not hasattr(source, "__arrow_c_stream__"):
        source = source.collect()
    if hasattr(source, "__arrow_c_stream__") and type(source).__name__ != "Series":
        if _package(source) == "polars":
            import polars as pl

            # Polars exports columns of nothing in a form that arrow-rs refuses.
            source = source.with_columns(pl.col(pl.Null).cast(pl.Float64))
        if type(source).__name__ == "RecordBatchReader":
            if source in _read:
                raise ArgumentError("this reader was read to its end before, and can be read once: make a new one, or give the table")
            _read.add(source)
        return _Stream(source) if once else _Held(_core.Table.arrow(source))
    raise TypeError(
        f"a table cannot be {type(source).__name__}: give a data frame, a dictionary of columns, the path of a Parquet or CSV "
        "file, or anything with __arrow_c_stream__"
    )


def _package(source: Any) -> str:
    return type(source).__module__.split(".")[0].lstrip("_")


class _Held:
    """An Arrow table, held by reference."""

    def __init__(self, held: _core.Table):
        self._held = held

    def check(self, name: str) -> None:
        _known(name, self._held.columns)

    def is_whole(self, name: str) -> bool:
        return self._held.is_whole(name)

    def partial(self, plan: _core.Plan, part: Part, threads: int, memory: int) -> bytes:
        return plan.partial(self._held, part, threads)


class _Stream:
    """An Arrow stream, read once and not kept."""

    def __init__(self, stream: Any):
        self._stream = stream

    def check(self, name: str) -> None:
        raise TypeError("a stream is read once")

    def is_whole(self, name: str) -> bool:
        raise TypeError("a stream is read once")

    def partial(self, plan: _core.Plan, part: Part, threads: int, memory: int) -> bytes:
        return plan.partial(self._stream, part, threads)


class _Arrays:
    """Columns of a dictionary or a pandas frame, each converted when a plan first asks for it."""

    def __init__(self, names: list[Any], column: Callable[[str], Any], rows: set[int]):
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"column names must be texts, not {type(name).__name__}: rename that column, or leave it out")
        if len(rows) > 1:
            raise ArgumentError("the columns of a table must have one length")
        self._names = names
        self._column = column
        self._rows = rows.pop() if rows else 0
        self._converted: dict[tuple[str, bool], _core.Column] = {}

    def check(self, name: str) -> None:
        _known(name, self._names)

    def is_whole(self, name: str) -> bool:
        return self._of(name, person=False).is_whole

    def partial(self, plan: _core.Plan, part: Part, threads: int, memory: int) -> bytes:
        needs = plan.needs
        people = {name for name, role in needs if role == "person"}
        columns = {name: self._of(name, person=name in people) for name, _ in needs}
        return plan.partial(_core.Table(self._rows, list(columns.items())), part, threads)

    def _of(self, name: str, *, person: bool) -> _core.Column:
        column = self._converted.get((name, person))
        if column is None:
            _known(name, self._names)
            column = self._converted[name, person] = _column(self._column(name), name, person)
        return column


def _known(name: str, names: list[str]) -> None:
    match names.count(name):
        case 0:
            raise ArgumentError(f"the table has no column {name!r}: it has {names}")
        case 1:
            return
    raise ArgumentError(f"two columns are named {name!r}: rename one of them")


# ---- columns -------------------------------------------------------------------------------------


def _column(values: Any, name: str, person: bool) -> _core.Column:
    """An array, a list, or a pandas, polars or Arrow column."""
    match _package(values):
        case "pandas":
            return _series(values, name, person)
        case "pyarrow":
            import pyarrow as pa

            return _core.Column.arrow(values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values]))
        case "polars":
            return _core.Column.arrow(values.cast(float) if str(values.dtype) == "Null" else values)
    if hasattr(values, "__arrow_c_stream__"):
        return _core.Column.arrow(values)
    if isinstance(values, np.ma.MaskedArray):
        return _array(values.data, name, person, ~np.ma.getmaskarray(values))
    if isinstance(values, np.ndarray):
        return _array(values, name, person)
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        objects = np.empty(len(values), dtype=object)
        objects[:] = values
        return _objects(objects, "list", person)
    if hasattr(values, "to_numpy"):
        return _array(np.asarray(values.to_numpy()), name, person)
    raise TypeError(f"column {name!r} cannot be {type(values).__name__}: give an array or a list")


_WIDE: dict[str, Any] = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}


def _array(values: np.ndarray[Any, Any], name: str, person: bool, valid: Any = None) -> _core.Column:
    if values.ndim != 1:
        raise TypeError(f"column {name!r} must have one dimension")
    kind, type_name = values.dtype.kind, str(values.dtype)
    if kind in _WIDE:
        with np.errstate(over="ignore"):
            wide = np.ascontiguousarray(values, dtype=_WIDE[kind])
        return _core.Column(wide, valid, None, "numbers", type_name)
    if kind == "U":
        categories, codes = np.unique(values, return_inverse=True)
        return _core.Column(codes.astype(np.uint32), valid, [str(c) for c in categories], "texts", type_name)
    if kind in "OT":
        objects = values.astype(object)
        if valid is not None:
            objects[~valid] = None
        return _objects(objects, type_name, person, "texts" if kind == "T" else "anything")
    raise _unsupported(name, type_name, temporal=kind in "Mm")


def _unsupported(name: str, type_name: str, *, temporal: bool) -> ArgumentError:
    way_out = "convert it to numbers or texts"
    if temporal:
        way_out = 'make it a number (days since a date) for means and quantiles, or a text ("2026-11") for groups'
    return ArgumentError(f"column {name!r} is of type {type_name}, which tables do not take: {way_out}")


def _objects(values: np.ndarray[Any, Any], type_name: str, person: bool, holds: str = "anything") -> _core.Column:
    """Python objects: numbers and texts are what they are, anything else is missing, whatever else the column holds."""
    codes = np.empty(len(values), dtype=np.uint32)
    known: dict[Any, int] = {}
    categories: list[Any] = []
    for i, value in enumerate(values):
        plain = scalar(value, person)
        code = known.get(plain)
        if code is None:
            code = known[plain] = len(categories)
            categories.append(plain)
        codes[i] = code
    return _core.Column(codes, None, categories, holds, type_name)


def scalar(value: Any, person: bool = False) -> str | int | float | None:
    """What an object stands for: a number, a text, or None. A decimal that is a person keeps all its digits."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        whole = abs(value) < 1 << 127 and value == value.to_integral_value()
        value = int(value) if whole else str(value.normalize()) if person else float(value)
    if isinstance(value, int):
        return value if abs(value) < 1 << 127 else None
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str) else None


def _series(series: Any, name: str, person: bool) -> _core.Column:
    """A pandas column."""
    dtype = series.dtype
    type_name = str(dtype)
    if type(dtype).__name__ == "CategoricalDtype":
        return _categories(series, name, person)
    if type(dtype).__name__ == "ArrowDtype" or getattr(dtype, "storage", None) == "pyarrow":
        return _column(series.array.__arrow_array__(), name, person)
    if type(dtype).__name__ == "StringDtype":
        return _factors(series, "texts", type_name, person)
    kind = getattr(dtype, "kind", "O")
    if isinstance(dtype, np.dtype) and kind != "O":
        return _array(series.to_numpy(), name, person)
    if kind in _WIDE:
        # Nullable numbers: the values and the mask apart, so that large integers stay exact.
        missing = series.isna().to_numpy()
        plain = series.fillna(False if kind == "b" else 0).to_numpy(dtype=_WIDE[kind])
        return _array(plain, name, person, ~missing)
    if isinstance(dtype, np.dtype):
        return _factors(series, "anything", type_name, person)
    raise _unsupported(name, type_name, temporal=kind in "Mm")


def _factors(series: Any, holds: str, type_name: str, person: bool) -> _core.Column:
    import pandas as pd

    try:
        codes, uniques = pd.factorize(series)
    except TypeError:  # something cannot be hashed, such as a list
        return _objects(series.to_numpy(dtype=object), type_name, person, holds)
    return _core.Column(codes.astype(np.int64).astype(np.uint32), None, [scalar(c, person) for c in uniques], holds, type_name)


def _categories(series: Any, name: str, person: bool) -> _core.Column:
    dtype = series.cat.categories.dtype
    kind = getattr(dtype, "kind", "O")
    type_name = f"category of {dtype}"
    holds = "numbers" if kind in _WIDE else "texts" if type(dtype).__name__ == "StringDtype" else "anything"
    if holds == "anything" and kind != "O":
        raise _unsupported(name, type_name, temporal=kind in "Mm")
    codes = series.cat.codes.to_numpy().astype(np.int64).astype(np.uint32)
    return _core.Column(codes, None, [scalar(c, person) for c in series.cat.categories], holds, type_name)


# ---- files ---------------------------------------------------------------------------------------


class _File(ABC):
    """A file that is read batch by batch, as often as a bound on memory asks for: each time for a part of all people."""

    #: Fields without types, to be read by what a plan uses them for.
    untyped = False

    def __init__(self, path: Path, names: list[str]):
        self._path = path
        self._names = names

    @abstractmethod
    def rows(self) -> int:
        """How many rows the file holds."""

    @abstractmethod
    def batches(self, names: list[str]) -> Any:
        """These columns, as a stream of batches from the start."""

    def check(self, name: str) -> None:
        _known(name, self._names)

    def is_whole(self, name: str) -> bool:
        return False

    def partial(self, plan: _core.Plan, part: Part, threads: int, memory: int) -> bytes:
        roles: dict[str, str] = dict(plan.needs)
        for name in roles:
            self.check(name)
        (index, count), sums = part, None
        passes = max(1, -(-self.rows() * plan.row_bytes // (memory * count)))
        for i in range(passes):
            reader = self.batches(list(roles) or self._names[:1])
            more = plan.partial(reader, (index * passes + i, count * passes), threads, self.untyped)
            sums = more if sums is None else _core.merge_partials(sums, more)
        assert sums is not None
        return sums


def _file(path: Path) -> _File:
    """A Parquet or CSV file by the end of its name."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ArgumentError("reading files needs pyarrow: install it, or give the table itself") from None
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return _Parquet(path)
    if name.endswith((".csv", ".csv.gz")):
        return _Csv(path)
    raise ArgumentError(f"{path.name!r} must end in .parquet, .pq, .csv or .csv.gz: read other files into a data frame")


class _Parquet(_File):
    def __init__(self, path: Path):
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(path) as file:
                self._schema, self._count = file.schema_arrow, file.metadata.num_rows
        except pa.ArrowInvalid:
            raise ArgumentError(f"{path.name!r} is not a Parquet file") from None
        super().__init__(path, self._schema.names)

    def rows(self) -> int:
        return int(self._count)

    def is_whole(self, name: str) -> bool:
        from pyarrow import types

        self.check(name)
        kind = self._schema.field(name).type
        return bool(types.is_integer(kind) or types.is_boolean(kind))

    def batches(self, names: list[str]) -> Any:
        import pyarrow as pa
        from pyarrow import parquet

        names = [name for name in self._names if name in names]

        def read() -> Iterator[Any]:
            with parquet.ParquetFile(self._path, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=_BATCH, columns=names)

        return pa.RecordBatchReader.from_batches(pa.schema([self._schema.field(name) for name in names]), read())


class _Csv(_File):
    untyped = True

    def __init__(self, path: Path):
        self._path = path
        self._block = _BLOCK
        super().__init__(path, self._open(None).schema.names)

    def rows(self) -> int:
        import pyarrow as pa

        while True:
            try:
                return sum(batch.num_rows for batch in self._open(self._names[:1]))
            except pa.ArrowInvalid:
                # A row is longer than a block: whether that is an error must not depend on whose row it is.
                self._longer()

    def _longer(self) -> None:
        if self._block >= _LONGEST:
            raise ArgumentError(f"{self._path.name!r} has a row of more than 2^30 bytes, or a quote that is never closed") from None
        self._block *= 4

    def batches(self, names: list[str]) -> Any:
        return self._open(names)

    def _open(self, names: list[str] | None) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        # Every field is bytes, so that no value decides a type and none is an error; a row with too few or too many fields
        # is left out, whatever the others are.
        convert = csv.ConvertOptions(column_types={name: pa.binary() for name in names or []}, include_columns=names)
        parse = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
        try:
            return csv.open_csv(self._path, csv.ReadOptions(block_size=self._block), parse, convert)
        except pa.ArrowInvalid as refusal:
            if "block" in str(refusal):
                self._longer()
                return self._open(names)
            raise ArgumentError(f"{self._path.name!r} is not a CSV file with a header line") from None
