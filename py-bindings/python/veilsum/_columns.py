"""Tables as typed columns, from whatever holds them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from . import _core

#: (values, which slots are present or None for all, categories or None)
Column = tuple[Any, Any, list[Any] | None]


def table(source: Any) -> _core.Table:
    """A table of the native half; columns are borrowed where their memory has the right shape."""
    if isinstance(source, _core.Table):
        return source
    if isinstance(source, Mapping):
        return _core.Table([(_name(name), *_column(values)) for name, values in source.items()])
    if type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns"):
        return _core.Table([(_name(name), *_series(source[name])) for name in source.columns])
    raise TypeError(
        f"a table cannot be {type(source).__name__}: give a data frame, a dictionary of columns, or anything with "
        "__arrow_c_stream__"
    )


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"column names must be texts, not {type(name).__name__}")
    return name


def _column(values: Any) -> Column:
    """A column of a dictionary: an array, a list, or a pandas, polars or Arrow column."""
    module = type(values).__module__.split(".")[0]
    if module == "pandas":
        return _series(values)
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
