"""Tables as typed columns, from whatever holds them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from . import _core
from ._errors import ArgumentError

#: (values, which slots are present or None for all, categories or None)
Column = tuple[Any, Any, list[Any] | None]


def table(source: Any) -> _core.Table:
    """A table of the native half; columns are borrowed where their memory has the right shape."""
    if isinstance(source, _core.Table):
        return source
    columns: list[tuple[str, Column]]
    match _package(source):
        case _ if isinstance(source, Mapping):
            columns = [(_name(name), _column(values)) for name, values in source.items()]
        case "pandas" if hasattr(source, "columns"):
            columns = [(_name(name), _series(source[name])) for name in source.columns]
        case "polars" if hasattr(source, "lazy"):
            frame = source.collect() if hasattr(source, "collect") else source
            columns = [(_name(series.name), _polars(series)) for series in frame.get_columns()]
        case _ if hasattr(source, "__arrow_c_stream__"):
            columns = _arrow(source)
        case _:
            raise TypeError(
                f"a table cannot be {type(source).__name__}: give a data frame, a dictionary of columns, or anything with "
                "__arrow_c_stream__"
            )
    return _core.Table([(name, *column) for name, column in columns])


def _package(source: Any) -> str:
    return type(source).__module__.split(".")[0].lstrip("_")


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"column names must be texts, not {type(name).__name__}")
    return name


def _column(values: Any) -> Column:
    """A column of a dictionary: an array, a list, or a pandas, polars or Arrow column."""
    match _package(values):
        case "pandas":
            return _series(values)
        case "polars":
            return _polars(values)
        case "pyarrow":
            return _arrow_column(values)
    if isinstance(values, np.ma.MaskedArray):
        plain, valid, categories = _array(np.asarray(values.data))
        present = ~np.ma.getmaskarray(values)
        return plain, present if valid is None else valid & present, categories
    if isinstance(values, np.ndarray):
        return _array(values)
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        kinds = {type(value) for value in values}
        if kinds in ({bool}, {float}, {int, float}, set()):
            return _array(np.asarray(values, dtype=bool if kinds == {bool} else float))
        if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in values):
            return _array(np.asarray(values, dtype=np.int64))
        objects = np.empty(len(values), dtype=object)
        objects[:] = values
        return _array(objects)
    if hasattr(values, "to_numpy"):
        return _array(np.asarray(values.to_numpy()))
    raise TypeError(f"a column cannot be {type(values).__name__}: give an array or a list")


def _array(values: np.ndarray[Any, Any]) -> Column:
    if values.ndim != 1:
        raise TypeError("a column must have one dimension")
    match values.dtype.kind:
        case "b":
            return np.ascontiguousarray(values), None, None
        case "i":
            return np.ascontiguousarray(values, dtype=np.int64), None, None
        case "u":
            return np.ascontiguousarray(values, dtype=np.uint64), None, None
        case "f":
            return np.ascontiguousarray(values, dtype=np.float64), None, None
        case "U" | "T":
            categories, codes = np.unique(values, return_inverse=True)
            return codes.astype(np.uint32), None, [str(c) for c in categories]
        case "O":
            return _objects(values)
        case _:
            raise TypeError(f"a column of {values.dtype} is not supported: convert it to numbers or texts")


def _objects(values: np.ndarray[Any, Any]) -> Column:
    """Python objects: numbers and texts are what they are, anything else is missing, whatever else the column holds."""
    codes = np.empty(len(values), dtype=np.uint32)
    known: dict[Any, int] = {}
    categories: list[Any] = []
    for i, value in enumerate(values):
        plain = value.item() if isinstance(value, np.generic) else value
        plain = _scalar(plain)
        code = known.get(plain)
        if code is None:
            code = known[plain] = len(categories)
            categories.append(plain)
        codes[i] = code
    return codes, None, categories


def _scalar(value: Any) -> str | int | float | None:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, int):
        return value if abs(value) < 1 << 127 else None
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str) else None


def _series(series: Any) -> Column:
    """A pandas column."""
    dtype = series.dtype
    if type(dtype).__name__ == "CategoricalDtype":
        codes = series.cat.codes.to_numpy()
        categories = [value.item() if isinstance(value, np.generic) else value for value in series.cat.categories]
        return codes.astype(np.int64).astype(np.uint32), None, categories
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return _array(series.to_numpy())
    if getattr(dtype, "kind", "O") in "biuf":
        # Nullable and Arrow-backed numbers: the values and the mask apart, so that large integers stay exact.
        missing = series.isna().to_numpy()
        plain = series.fillna(False if dtype.kind == "b" else 0).to_numpy(dtype={"b": bool, "i": np.int64, "u": np.uint64, "f": float}[dtype.kind])
        values, _, _ = _array(plain)
        return values, ~missing, None
    if isinstance(dtype, np.dtype) and dtype.kind not in "O":
        return _array(series.to_numpy())
    import pandas as pd

    codes, uniques = pd.factorize(series)
    categories = [value.item() if isinstance(value, np.generic) else value for value in uniques]
    return codes.astype(np.int64).astype(np.uint32), None, [_scalar(c) for c in categories]


def _polars(series: Any) -> Column:
    """A polars column."""
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Boolean or dtype.is_integer() or dtype.is_float():
        valid = None if series.null_count() == 0 else series.is_not_null().to_numpy()
        plain = series if valid is None else series.fill_null(False if dtype == pl.Boolean else 0)
        values, _, _ = _array(plain.to_numpy())
        return values, valid, None
    if dtype.is_decimal():
        return _array(series.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    if dtype == pl.String or dtype in (pl.Categorical, pl.Enum):
        texts = series.cast(pl.String)
        categories = texts.drop_nulls().unique()
        codes = texts.replace_strict(categories, range(len(categories)), default=None, return_dtype=pl.UInt32)
        return codes.fill_null(0xFFFF_FFFF).to_numpy(), None, categories.to_list()
    raise TypeError(f"column {series.name!r} of {dtype} is not supported: convert it to numbers or texts")


def _arrow(source: Any) -> list[tuple[str, Column]]:
    """Anything with an Arrow stream: pyarrow reads it."""
    try:
        import pyarrow as pa
    except ImportError:
        raise ArgumentError(
            f"reading {type(source).__name__} needs pyarrow: install it, or give a pandas or polars frame or a dictionary "
            "of arrays"
        ) from None
    arrow = source if isinstance(source, pa.Table) else pa.table(source)
    return [(name, _arrow_column(arrow.column(name))) for name in arrow.column_names]


def _arrow_column(column: Any) -> Column:
    """A pyarrow array; numbers in one chunk without nulls are borrowed."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    kind = column.type
    if types.is_decimal(kind):
        column, kind = pc.cast(column, pa.float64()), pa.float64()
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        valid = None if column.null_count == 0 else np.asarray(pc.is_valid(column))
        plain = column if valid is None else pc.fill_null(column, False if types.is_boolean(kind) else 0)
        values, _, _ = _array(np.asarray(plain))
        return values, valid, None
    if not types.is_dictionary(kind):
        if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
            raise TypeError(f"a column of {kind} is not supported: convert it to numbers or texts")
        column = pc.dictionary_encode(column.cast(pa.large_string()))
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    codes = pc.fill_null(column.indices.cast(pa.int64()), -1)
    return np.asarray(codes).astype(np.uint32), None, [_scalar(value) for value in column.dictionary.to_pylist()]
