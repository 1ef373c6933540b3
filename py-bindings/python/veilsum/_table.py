"""Private tables: a session for the analyst, a plan for a cluster; one implementation behind both."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np

from . import _columns, _core
from ._core import Event
from ._errors import ArgumentError

__all__ = [
    "ROW",
    "Amount",
    "Count",
    "CountUnits",
    "Mean",
    "Plan",
    "Quantile",
    "Release",
    "Session",
    "Sum",
    "TableRelease",
    "Variance",
    "merge",
]

#: Bytes that the rows of a file may take while they are bounded.
_MEMORY = 1 << 30

Number = float | Fraction | Decimal
Bounds = tuple[float, float]


class _Row:
    """The privacy unit of a table in which each row is one person."""

    def __repr__(self) -> str:
        return "ROW"

    def __reduce__(self) -> str:
        return "ROW"


ROW: Final = _Row()

COVERS = (
    "the noise alone: not what clamping to the bounds and the contribution limits do to the value, "
    "nor what the table is a sample of"
)
MISSING = (
    "NaN, infinity and null are missing: dropped after bounding, so they count towards the contribution limits; "
    "rows without a person are dropped first"
)


@dataclass(frozen=True)
class Amount:
    """An amount of privacy budget, exact.

    Attributes
    ----------
    epsilon, delta : fractions.Fraction
        ``float()`` rounds them to the nearest float.
    """

    epsilon: Fraction
    delta: Fraction

    def __repr__(self) -> str:
        return f"Amount(epsilon={float(self.epsilon)!r}, delta={float(self.delta)!r})"


def _bounds(bounds: Any, column: str) -> Bounds:
    if bounds is None:
        raise ArgumentError(
            f"{column!r} needs bounds=(lower, upper), which decide how much noise hides a person. Take them from what is "
            "known about the quantity (ages are 0 to 120), from a private quantile that you pay for, or from public "
            "data; never from the data themselves"
        )
    try:
        lower, upper = bounds
        if isinstance(bounds, (set, frozenset, Mapping)) or any(isinstance(end, (bool, np.bool_, str, bytes)) for end in (lower, upper)):
            raise TypeError
        return float(lower), float(upper)
    except OverflowError:
        raise ArgumentError("bounds must be numbers that a float holds: below 1.8e308") from None
    except (TypeError, ValueError):
        raise ArgumentError(f"bounds must be two numbers (lower, upper), not {type(bounds).__name__}") from None


# ---- aggregates of a plan ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Count:
    """Number of rows after bounding. ``epsilon`` fixes its budget; otherwise it has its ``weight`` of the plan's.

    Twice the weight is half the noise, relative to what one person can do to the result.
    """

    epsilon: Number | None = None
    weight: Number | None = None
    _kind: str = field(default="count", init=False, repr=False)

    def _fields(self, name: str) -> dict[str, Any]:
        fields = {k.rstrip("_"): v for k, v in self.__dict__.items() if not k.startswith("_")}
        if "column" in fields and not isinstance(fields["column"], str):
            raise TypeError(f"column must be the name of one column, not {type(fields['column']).__name__}")
        if self.epsilon is not None and self.weight is not None:
            raise ArgumentError(f"{name!r} has an epsilon and a weight: give one of them")
        if "bounds" in fields:
            fields["bounds"] = _bounds(fields["bounds"], fields["column"])
        return {"name": name, "kind": self._kind, **fields}


@dataclass(frozen=True, kw_only=True)
class CountUnits(Count):
    """Number of people with a row after bounding."""

    _kind: str = field(default="count_units", init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Sum(Count):
    """Sum of a column's values, clamped to the bounds."""

    column: str
    bounds: Bounds | None = None
    _kind: str = field(default="sum", init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Mean(Sum):
    """Mean of a column's values that are not missing, clamped to the bounds."""

    _kind: str = field(default="mean", init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Variance(Sum):
    """Population variance of a column's values that are not missing, clamped to the bounds."""

    _kind: str = field(default="variance", init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Quantile(Sum):
    """Quantiles ``q`` (one or several) of a column's values; see :meth:`Session.quantile`."""

    q: float | Sequence[float]
    step: float | None = None
    confidence: float | None = 0.95
    _kind: str = field(default="quantile", init=False, repr=False)

    def _fields(self, name: str) -> dict[str, Any]:
        return {**super()._fields(name), "q": _several(self.q)[0]}


def _several(q: Any) -> tuple[list[Any], bool]:
    """The quantiles as a list, and whether it was one number."""
    if isinstance(q, (str, bytes)):
        raise ArgumentError("q must be a number in [0, 1], or several")
    return (list(q), False) if isinstance(q, Iterable) else ([q], True)


# ---- releases ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Release:
    """One published result, with everything that may be known about it. It holds nothing private.

    Attributes
    ----------
    value
        A number; a list for several quantiles; for groups a dictionary from key to number.
    scale : float
        Scale of the noise: of a count or sum in its own units; of a mean or variance in the units of the sums that it
        is a quotient of; of a quantile in rows.
    grid : float
        Released sums are whole multiples of it, quantiles lie on steps of it; it depends on public parameters alone.
    event : Event
        What the release did, for an accountant.
    cost : Amount
        What the session charged for it. In a plan: what it costs by itself, which adds up to the plan's cost; with Gaussian
        noise all together cost less than that.
    """

    kind: str
    value: Any
    scale: float
    grid: float
    event: Event
    cost: Amount
    noiseless: bool
    _interval: Callable[[float], Any] = field(repr=False)
    _facts: Mapping[str, Any] = field(repr=False)

    def interval(self, confidence: float = 0.95) -> Any:
        """Where the value without noise lies, with at least this confidence.

        A pair (lower, upper) for each number of ``value``, in the same shape. Counts and sums have the exact quantile of
        their noise; a mean the exact law of its two noisy sums (Fieller); a variance is conservative; a quantile has the
        interval that its query paid for.

        It covers the noise alone. Clamping and contribution limits move the value itself, and no interval shows that:
        if many values lie outside the bounds, the result is biased towards them.

        Parameters
        ----------
        confidence : float
            In (0, 1).
        """
        return self._interval(confidence)

    def to_dict(self) -> dict[str, Any]:
        """Provenance as a dictionary that JSON can hold: what was computed, how, at what cost."""
        grouped = isinstance(self.value, dict)
        value = [{"key": k, "value": v} for k, v in self.value.items()] if grouped else self.value
        try:
            intervals = self.interval()
            interval = [{"key": k, "interval": v} for k, v in intervals.items()] if grouped else intervals
        except ArgumentError:
            interval = None
        return {
            "veilsum": _core.__version__,
            "privacy": "NOT PRIVATE: noise was off" if self.noiseless else "differentially private",
            "kind": self.kind,
            "value": value,
            "interval": interval,
            "confidence": None if interval is None else 0.95,
            "interval_covers": COVERS,
            "scale": self.scale,
            "grid": self.grid,
            "event": self.event.to_dict(),
            "cost": {"epsilon": str(self.cost.epsilon), "delta": str(self.cost.delta)},
            "missing": MISSING,
            **self._facts,
        }

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with columns value, lower, upper (95 % where there is an interval); needs pandas."""
        import pandas as pd

        rows = self._rows()
        index = pd.Index([row[0] for row in rows], name="key", tupleize_cols=False)
        return pd.DataFrame({name: [row[i] for row in rows] for i, name in enumerate(("value", "lower", "upper"), 1)}, index=index)

    def _rows(self) -> list[tuple[Any, Any, Any, Any]]:
        """(key, value, lower, upper), flat."""
        try:
            interval = self.interval()
        except ArgumentError:
            interval = None
        if isinstance(self.value, dict):
            entries = [(k, v, interval[k] if interval is not None else None) for k, v in self.value.items()]
        else:
            entries = [(self.kind, self.value, interval)]
        rows: list[tuple[Any, Any, Any, Any]] = []
        for key, value, ends in entries:
            if isinstance(value, list):
                quantiles = self._facts.get("q", range(len(value)))
                for i, (q, v) in enumerate(zip(quantiles, value, strict=True)):
                    low, high = ends[i] if ends is not None else (None, None)
                    rows.append(((key, q) if isinstance(self.value, dict) else q, v, low, high))
            else:
                low, high = ends if ends is not None else (None, None)
                rows.append((key, value, low, high))
        return rows

    def __repr__(self) -> str:
        mark = "NOT PRIVATE " if self.noiseless else ""
        return f"<{mark}{self.kind} {self.value!r}, scale {self.scale:g}, epsilon {float(self.cost.epsilon):g}>"

    def _repr_html_(self) -> str:
        from html import escape

        def cell(x: Any) -> str:
            return "" if x is None else escape(f"{x:.6g}" if isinstance(x, float) else str(x))

        head = "".join(f"<th>{name}</th>" for name in ("", "value", "95 % from", "to"))
        body = "".join("<tr>" + "".join(f"<td>{cell(x)}</td>" for x in row) + "</tr>" for row in self._rows())
        mark = "<strong>NOT PRIVATE: noise was off.</strong> " if self.noiseless else ""
        cost = f"epsilon {float(self.cost.epsilon):g}"
        if self.cost.delta:
            cost += f", delta {float(self.cost.delta):g}"
        note = f"{mark}Cost: {cost}. The interval covers {escape(COVERS)}."
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p><small>{note}</small></p>"


class TableRelease(Mapping[str, Release]):
    """What a plan published: a :class:`Release` for each of its aggregates, by name."""

    def __init__(self, releases: dict[str, Release], keys: list[Any] | None):
        self._releases = releases
        self._keys = keys

    @property
    def groups(self) -> list[Any] | None:
        """The keys that were published; None for a plan without groups."""
        return None if self._keys is None else list(self._keys)

    def __getitem__(self, name: str) -> Release:
        return self._releases[name]

    def __iter__(self) -> Any:
        return iter(self._releases)

    def __len__(self) -> int:
        return len(self._releases)

    def to_dict(self) -> dict[str, Any]:
        """Provenance of every aggregate, as a dictionary that JSON can hold."""
        return {name: release.to_dict() for name, release in self._releases.items()}

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: one row a key, one column an aggregate; needs pandas."""
        import pandas as pd

        if self._keys is None:
            return pd.DataFrame({name: [release.value] for name, release in self._releases.items()})
        index = pd.Index(self._keys, name="key", tupleize_cols=False)
        return pd.DataFrame({name: list(r.value.values()) for name, r in self._releases.items()}, index=index)

    def __repr__(self) -> str:
        return f"<TableRelease {self._releases!r}>"

    def _repr_html_(self) -> str:
        return "".join(f"<h4>{name}</h4>{release._repr_html_()}" for name, release in self._releases.items())


# ---- plans ---------------------------------------------------------------------------------------


class Plan:
    """What will be computed and what it costs, decided before any data are seen.

    The same plan runs on one machine or on many: workers call :meth:`partial` on their rows, the driver merges the
    partials with :func:`merge` and calls :meth:`release`, which pays and adds noise, once.

    Parameters
    ----------
    aggregates : dict
        Name to :class:`Count`, :class:`CountUnits`, :class:`Sum`, :class:`Mean`, :class:`Variance` or
        :class:`Quantile`.
    unit : str or ROW
        Whose privacy it is: a column that names the person, or each row for itself.
    neighbors : {"add-remove", "replace-one"}
        Whether the number of people is private or public.
    epsilon, delta : float, Fraction or Decimal
        The whole plan's budget. It is split so that every aggregate has about the same relative error, or by the
        ``weight`` of each, or as each one's ``epsilon`` says. ``delta`` is for unknown keys and for Gaussian noise.
    max_contributions : int
        Most rows of one person that count; required with a unit column.
    max_groups, max_per_group : int, optional
        Most groups of one person, and most of its rows in one group.
    by : str or list of str, optional
        Group by these columns. A list of one is that one.
    keys : list, optional
        The public keys to report, exactly these and in this order; tuples for several columns. Without them keys are
        unknown, and private selection decides which of them may be named.
    selection_epsilon : float, optional
        What the selection of unknown keys may spend of ``epsilon``.
    noise : {"laplace", "gaussian"}
        The noise of everything but quantiles, which have their own. Discrete Laplace noise needs no delta and grows with
        the number of groups that a person is in, and with the number of aggregates. Discrete Gaussian noise grows with the
        square roots of these, and is the better choice from about ten on; all parts together are within ``epsilon`` and
        ``delta`` (half of it for the choice of unknown keys, if there is one). A ledger with the "zcdp" filter is
        charged the noise itself; one with the "basic" filter is charged (epsilon, delta); a pure one refuses.

    Examples
    --------
    >>> import veilsum as vs
    >>> plan = vs.dp.Plan(
    ...     {"people": vs.dp.CountUnits(), "visits": vs.dp.Mean(column="visits", bounds=(0, 10))},
    ...     unit="person", neighbors="add-remove", epsilon=1, max_contributions=3)
    >>> plan.cost()
    Amount(epsilon=1.0, delta=0.0)
    >>> table = {"person": [1, 1, 2, 3], "visits": [2.0, 4.0, 0.0, 7.0]}
    >>> left, right = (plan.partial(table, part=(i, 2)) for i in range(2))
    >>> release = plan.release(vs.dp.merge(left, right), ledger=None)
    >>> sorted(release)
    ['people', 'visits']
    """

    def __init__(
        self,
        aggregates: Mapping[str, Count],
        *,
        unit: str | _Row,
        neighbors: str,
        epsilon: Number,
        delta: Number = 0.0,
        max_contributions: int | None = None,
        max_groups: int | None = None,
        max_per_group: int | None = None,
        by: str | Sequence[str] | None = None,
        keys: Iterable[Any] | None = None,
        selection_epsilon: Number | None = None,
        noise: str = "laplace",
    ):
        self._set(
            aggregates=aggregates,
            unit=unit,
            neighbors=neighbors,
            epsilon=epsilon,
            delta=delta,
            limits=(max_contributions, max_groups, max_per_group),
            by=by,
            keys=keys,
            selection=selection_epsilon,
            noise=noise,
            seed=os.urandom(16),
        )

    def _set(
        self,
        *,
        aggregates: Mapping[str, Count],
        unit: str | _Row,
        neighbors: str,
        epsilon: Number,
        delta: Number,
        limits: tuple[int | None, int | None, int | None],
        by: str | Sequence[str] | None,
        keys: Iterable[Any] | None,
        selection: Number | None,
        noise: str,
        seed: bytes,
    ) -> None:
        columns = None if by is None else _by(by)
        self._single = columns is not None and len(columns) == 1
        self._keys = None if keys is None else _keys(keys, None if columns is None else len(columns), self._single)
        tuples = None if self._keys is None else [(key,) if self._single else key for key in self._keys]
        if not isinstance(aggregates, Mapping) or not all(isinstance(a, Count) for a in aggregates.values()):
            raise TypeError('aggregates must be a dictionary from names to aggregates, such as {"people": vs.dp.CountUnits()}')
        for name in aggregates:
            if not isinstance(name, str):
                raise TypeError(f"names of aggregates must be texts, not {type(name).__name__}")
        self._aggregates = dict(aggregates)
        self._core = _core.Plan(
            unit=_unit_column(unit),
            neighbors=neighbors,
            limits=_limits(unit, *limits),
            by=columns,
            keys=tuples,
            measures=[aggregate._fields(name) for name, aggregate in self._aggregates.items()],
            epsilon=epsilon,
            delta=delta,
            selection=selection,
            noise=noise,
            seed=list(seed),
        )

    @property
    def hash(self) -> str:
        """Names the plan: partials of different plans do not merge."""
        return self._core.hash

    @property
    def event(self) -> Event:
        """What a release of this plan is, for an accountant."""
        return self._core.event

    def cost(self) -> Amount:
        """What a release spends, exactly. It needs no data."""
        return Amount(*self._core.cost())

    def forecast(self, *, rows: int | None = None) -> dict[str, dict[str, Any]]:
        """The error to expect from noise, for each aggregate and each group. It needs no data.

        Parameters
        ----------
        rows : int, optional
            A guess of the number of rows in a group after bounding, for means and variances, whose error depends on
            it. A guess from the data themselves is not public.

        Returns
        -------
        dict
            For each name: ``epsilon``, ``scale``, and ``error``, which the noise exceeds with probability 5 %, in the
            units ``error_in``; None where it needs ``rows``.
        """
        rows = None if rows is None else _whole("rows", rows, 0, 1 << 62)
        return {entry.pop("name"): entry for entry in json.loads(self._core.forecast(rows))}

    def partial(
        self, table: Any, *, part: tuple[int, int] = (0, 1), threads: int | None = None, memory: int = _MEMORY
    ) -> bytes:
        """The exact sums over a table, without noise: **raw data**. Seal them in transit, never log them.

        Parameters
        ----------
        table
            A data frame or anything that :class:`Session` takes. An Arrow stream is read once and not kept. (A reader that
            somebody else has read is an empty table, which nobody can tell from one; a second reading here is refused.)
        part : (int, int)
            ``(i, n)``: this worker owns the i-th of n equal parts of all people, by keyed hash, and drops the rows of
            others. Give every worker that can see a person's rows all of them, and its own part.
        threads : int, optional
            Threads to use; all processors by default. The result does not depend on it.
        memory : int
            For files: bytes that rows may take while they are bounded. A file with more is read several times, each
            time for a part of all people; the result does not depend on it.
        """
        memory = _whole("memory", memory, 1 << 20, 1 << 60)
        if not isinstance(part, (tuple, list)) or len(part) != 2:
            raise TypeError("part must be a pair (i, n): the i-th of n equal parts of all people")
        count = _whole("the number of parts", part[1], 1, 1 << 20)
        index = _whole("the part", part[0], 0, count - 1)
        return _columns.table(table, once=True).partial(self._core, (index, count), _threads(threads), memory)

    def release(self, partial: bytes, ledger: Any) -> TableRelease:
        """Pay, add noise once, and publish. Run it on the driver alone.

        Parameters
        ----------
        partial : bytes
            The partial of everyone: of the whole table, or merged from all parts.
        ledger : veilsum.accounting.Ledger or None
            Who pays; the spend is durable before a value exists. None if you account for the plan elsewhere.
        """
        _same_relation(ledger, json.loads(self._core.to_json())["neighbors"])
        return self._publish(self._core.release(partial, None, _payment(ledger, self._core, "plan " + self.hash[:16])))

    def _publish(self, released: _core.TableRelease) -> TableRelease:
        spec = json.loads(self._core.to_json())
        keys: list[Any] | None = None
        if spec["groups"] != "whole":
            keys = self._keys if self._keys is not None else [k[0] if self._single else k for k in released.keys]
        facts = {
            "plan": self.hash,
            "unit": "each row" if spec["unit"] == "row" else f"column {spec['unit']['column']}",
            "neighbors": spec["neighbors"],
            "limits": dict(zip(("rows", "groups", "rows_per_group"), spec["limits"], strict=True)),
            "noise": "gaussian" if "noise" in spec else "laplace",
        }
        releases = {}
        for i, (name, aggregate) in enumerate(self._aggregates.items()):
            releases[name] = _release(released, self._core, i, aggregate, keys, facts)
        return TableRelease(releases, keys)

    def to_json(self) -> str:
        """The plan as text, for workers: it is public."""
        return self._core.to_json()

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read what :meth:`to_json` wrote: the same plan, with the same hash."""
        core = _core.Plan.from_json(text)
        spec = json.loads(core.to_json())
        plan = cls.__new__(cls)
        plan._core = core
        plan._aggregates = {m["name"]: _aggregate(m["aggregate"]) for m in spec["measures"]}
        plan._keys, plan._single = None, False
        if isinstance(spec["groups"], dict):
            groups = next(iter(spec["groups"].values()))
            plan._single = len(groups["by"]) == 1
            keys = core.keys
            if keys is not None:
                plan._keys = [k[0] if plan._single else k for k in keys]
        return plan

    def __reduce__(self) -> Any:
        return Plan.from_json, (self.to_json(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        cost = self.cost()
        return f"<Plan {list(self._aggregates)}, epsilon {float(cost.epsilon):g}, delta {float(cost.delta):g}>"


def merge(a: bytes, b: bytes) -> bytes:
    """The partial of everyone in either of two partials of one plan; any order gives the same bytes.

    Raises
    ------
    VeilsumError
        If they belong to different plans, or own the same people.
    """
    return _core.merge_partials(a, b)


def _by(by: Any) -> list[str]:
    """The columns to group by."""
    columns = [by] if isinstance(by, str) or not isinstance(by, Iterable) else list(by)
    for column in columns:
        if not isinstance(column, str):
            raise TypeError(f"columns to group by must be names, not {type(column).__name__}")
    return columns


def _keys(keys: Any, columns: int | None, single: bool) -> list[Any]:
    """Public keys as plain Python values, or as tuples of them where there are several columns."""
    if columns is None:
        raise ArgumentError("keys are given without by=: say which columns they are keys of")
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise TypeError(f"keys must be a list of keys, not {type(keys).__name__}")

    def plain(key: Any) -> Any:
        if hasattr(key, "as_py"):  # pyarrow's scalars
            key = key.as_py()
        if isinstance(key, Decimal):
            key = _columns.scalar(key)
        return key.item() if hasattr(key, "item") and not isinstance(key, str) else key

    if single:
        return [plain(key[0] if isinstance(key, (tuple, list)) and len(key) == 1 else key) for key in keys]
    keys = list(keys)
    for key in keys:
        if not isinstance(key, (tuple, list)) or len(key) != columns:
            raise ArgumentError(f"by names a list of {columns} column(s), so each key must be a tuple of as many values")
    return [tuple(plain(part) for part in key) for key in keys]


def _unit_column(unit: Any) -> str | None:
    if unit is ROW:
        return None
    if isinstance(unit, str):
        return unit
    raise ArgumentError("unit must be the name of the column that tells people apart, or vs.dp.ROW if each row is a person")


def _limits(unit: Any, rows: int | None, groups: int | None, per_group: int | None) -> tuple[int, int | None, int | None] | None:
    if unit is ROW:
        if (rows or 1) != 1 or (groups or 1) != 1 or (per_group or 1) != 1:
            raise ArgumentError("each row is a person (unit=vs.dp.ROW), so contribution limits are 1: leave them out")
        return None
    if rows is None:
        raise ArgumentError(
            "max_contributions is missing: say how many rows of one person may count. More rows bias less and need more "
            "noise; without a limit no noise would be enough"
        )
    for name, limit in (("max_contributions", rows), ("max_groups", groups), ("max_per_group", per_group)):
        if limit is not None and (isinstance(limit, bool) or not hasattr(limit, "__index__")):
            raise ArgumentError(f"{name} must be a whole number, not {type(limit).__name__}")
        if limit is not None and not 1 <= limit <= 1 << 24:
            raise ArgumentError(f"{name} is {limit}: it must be a whole number from 1 to 2^24")
    return rows, groups, per_group


def _threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _whole("threads", threads, 1, 1 << 16)


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if not least <= value <= most:
        raise ArgumentError(f"{name} is {int(value):.6g}: it must be a whole number from {least} to {most}")
    return int(value)


def _same_relation(ledger: Any, neighbors: str) -> None:
    """Refuse a ledger whose budget is about other neighbours than the query is."""
    if ledger is not None and not hasattr(ledger, "spend"):
        raise TypeError(f"ledger must be a veilsum.accounting.Ledger or None, not {type(ledger).__name__}")
    if ledger is not None and ledger.neighbors != neighbors:
        raise ArgumentError(
            f"neighbors is {neighbors!r}, and the ledger's budget is about {ledger.neighbors!r} neighbours: open a ledger "
            f"for {neighbors!r}, or ask with neighbors={ledger.neighbors!r}"
        )


def _payment(ledger: Any, plan: _core.Plan, label: str) -> Callable[[], None]:
    if ledger is None:
        return lambda: None
    event = plan.event_for(ledger) if isinstance(ledger, _core.Ledger) else plan.event
    return lambda: ledger.spend(event, label=label, provenance=plan.provenance)


_KINDS = {"sum": Sum, "mean": Mean, "variance": Variance}


def _aggregate(spec: Any) -> Count:
    if isinstance(spec, str):
        return {"rows": Count, "people": CountUnits}[spec]()
    ((kind, fields),) = spec.items()
    bounds = (float(fields["bounds"][0]), float(fields["bounds"][1]))
    if kind == "quantiles":
        confidence = fields["interval"]
        return Quantile(
            column=fields["column"],
            bounds=bounds,
            q=[float(Fraction(q)) for q in fields["at"]],
            step=None if fields["step"] is None else float(Fraction(fields["step"])),
            confidence=None if confidence is None else float(Fraction(confidence)),
        )
    return _KINDS[kind](column=fields["column"], bounds=bounds)


def _release(
    released: _core.TableRelease, plan: _core.Plan, index: int, aggregate: Count, keys: list[Any] | None, facts: dict[str, Any]
) -> Release:
    facts = dict(facts)
    one = True
    if isinstance(aggregate, Sum):
        facts |= {"column": aggregate.column, "bounds": list(_bounds(aggregate.bounds, aggregate.column))}
    if isinstance(aggregate, Quantile):
        facts["q"], one = _several(aggregate.q)

    def unpack(numbers: Any) -> Any:
        return numbers[0] if isinstance(aggregate, Quantile) and one else numbers

    def interval(confidence: float) -> Any:
        def of(group: int) -> Any:
            ends = released.interval(index, group, confidence)
            if isinstance(aggregate, (Sum, Quantile)) and (one or not isinstance(aggregate, Quantile)):
                return ends[0]
            if isinstance(aggregate, Quantile):
                return ends
            low, high = ends[0]
            return int(low), int(high)

        return of(0) if keys is None else {key: of(group) for group, key in enumerate(keys)}

    values = [unpack(released.value(index, group)) for group in range(1 if keys is None else len(keys))]
    return Release(
        kind=aggregate._kind,
        value=values[0] if keys is None else dict(zip(keys, values, strict=True)),
        scale=released.scale(index),
        grid=released.grid(index),
        event=released.event(index),
        cost=Amount(*plan.measure_cost(index)),
        noiseless=released.noiseless,
        _interval=interval,
        _facts=facts,
    )


# ---- sessions ------------------------------------------------------------------------------------


class Session:
    """Ask questions about a table about people, and publish the answers.

    A session has a budget. Every question names its part of it, and is refused, with nothing spent and nothing
    released, when the budget does not cover it. The session itself and the process hold the raw table: this is
    accounting, not a wall against the analyst.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow table, a DuckDB relation, a dictionary of arrays or lists, anything with
        ``__arrow_c_stream__``, or the path of a Parquet or CSV file. Columns are held by reference; a file is read again for
        every question, in pieces.
    unit : str or veilsum.dp.ROW
        Whose privacy it is: the column that tells people apart, or each row for itself. Rows without a person belong
        to nobody and are dropped.
    neighbors : {"add-remove", "replace-one"}
        Which tables must look alike: with one person more or less (the number of people is private), or with one
        person's rows replaced (the number of people is public).
    epsilon, delta : float, Fraction or Decimal
        The session's budget; floats are read as decimals, so ten times 0.1 is 1. Composition is basic and exact.
    ledger : veilsum.accounting.Ledger, optional
        A durable ledger behind the session; both must cover a question, and the ledger records it before it is
        answered.
    max_contributions : int
        Most rows of one person that count, in every question; required with a unit column. Which of a person's rows
        count is decided by keyed hash, whatever their order.
    max_groups, max_per_group : int, optional
        For histograms: most groups of one person, and most of its rows in one group.

    Notes
    -----
    NaN, infinity and null are missing: such a value is dropped *after* bounding, by the same rule in every table, and
    is never an error.

    Examples
    --------
    >>> import veilsum as vs
    >>> table = {"person": [1, 1, 2, 3], "visits": [2.0, 4.0, 0.0, 7.0]}
    >>> s = vs.dp.Session(table, unit="person", neighbors="add-remove", epsilon=1, max_contributions=2)
    >>> r = s.mean("visits", bounds=(0, 10), epsilon=0.5)
    >>> 0 <= r.value <= 10
    True
    >>> s.remaining
    Amount(epsilon=0.5, delta=0.0)
    """

    def __init__(
        self,
        table: Any,
        *,
        unit: str | _Row,
        neighbors: str,
        epsilon: Number,
        delta: Number = 0.0,
        ledger: Any = None,
        max_contributions: int | None = None,
        max_groups: int | None = None,
        max_per_group: int | None = None,
    ):
        column = _unit_column(unit)
        if neighbors not in ("add-remove", "replace-one"):
            raise ArgumentError(
                f'neighbors is {neighbors!r:.64}: it must be "add-remove" (the number of people is private) or '
                '"replace-one" (it is public)'
            )
        _same_relation(ledger, neighbors)
        _limits(unit, max_contributions, max_groups, max_per_group)
        self._unit = unit
        self._neighbors = neighbors
        self._limits = (max_contributions, max_groups, max_per_group)
        self._ledger = ledger
        self._budget = _core.SessionBudget(epsilon, delta)
        self._table = _columns.table(table)
        self._seed = os.urandom(16)
        if column is not None:
            self._table.check(column)

    @property
    def spent(self) -> Amount:
        """What was spent, exactly."""
        return Amount(*self._budget.spent())

    @property
    def remaining(self) -> Amount:
        """What is left, exactly; a ledger behind the session may have less."""
        return Amount(*self._budget.remaining())

    def count(self, *, epsilon: Number, delta: Number | None = None, noise: str = "laplace") -> Release:
        """Number of rows, at most ``max_contributions`` of each person.

        Parameters
        ----------
        epsilon : float, Fraction or Decimal
            The cost of the call.
        delta : float, optional
            For Gaussian noise: the cost of the call in delta.
        noise : {"laplace", "gaussian"}
            Discrete Laplace noise, or discrete Gaussian noise: for a histogram where a person is in many groups, or for a
            ledger with the "zcdp" filter, which charges many such answers less than the sum of their epsilons. (The
            session's own budget does add them up.)
        """
        return self._ask(Count(), epsilon, delta=delta, noise=noise)

    def count_units(self, *, epsilon: Number, delta: Number | None = None, noise: str = "laplace") -> Release:
        """Number of people; ``delta`` and ``noise`` as for :meth:`count`."""
        return self._ask(CountUnits(), epsilon, delta=delta, noise=noise)

    def sum(
        self,
        column: str,
        *,
        bounds: Bounds | None = None,
        epsilon: Number,
        delta: Number | None = None,
        noise: str = "laplace",
    ) -> Release:
        """Sum of the values, clamped to ``bounds``, which are public knowledge about the quantity.

        ``delta`` and ``noise`` are as for :meth:`count`.
        """
        return self._ask(Sum(column=column, bounds=bounds), epsilon, delta=delta, noise=noise)

    def mean(
        self,
        column: str,
        *,
        bounds: Bounds | None = None,
        epsilon: Number,
        delta: Number | None = None,
        noise: str = "laplace",
    ) -> Release:
        """Mean of the values that are not missing, clamped to ``bounds``.

        It is a quotient of two noisy sums that share the whole ``epsilon``: the values' places in the bounds, t and
        1 - t, always sum to 1 in a row, so both together have the sensitivity of one count. ``delta`` and ``noise`` are
        as for :meth:`count`.
        """
        return self._ask(Mean(column=column, bounds=bounds), epsilon, delta=delta, noise=noise)

    def variance(
        self,
        column: str,
        *,
        bounds: Bounds | None = None,
        epsilon: Number,
        delta: Number | None = None,
        noise: str = "laplace",
    ) -> Release:
        """Population variance of the values that are not missing, clamped to ``bounds``, from three noisy sums.

        ``delta`` and ``noise`` are as for :meth:`count`.
        """
        return self._ask(Variance(column=column, bounds=bounds), epsilon, delta=delta, noise=noise)

    def quantile(
        self,
        column: str,
        q: float | Sequence[float],
        *,
        bounds: Bounds | None = None,
        epsilon: Number,
        step: float | None = None,
        confidence: float | None = 0.95,
    ) -> Release:
        """One or several quantiles of the values that are not missing, by the exponential mechanism.

        Parameters
        ----------
        column : str
            The column of values.
        q : float or sequence of float
            In [0, 1]. Several share ``epsilon`` equally, and are released in the order of ``q``.
        bounds : (float, float)
            Public bounds; the answers lie in them.
        epsilon : float
            The cost of the whole call.
        step : float, optional
            Distance between possible answers: 1 by default for columns of whole numbers with whole bounds, else a
            2^-20th of the bounds.
        confidence : float or None
            Confidence of an interval, for which half of ``epsilon`` pays. None: no interval, and the whole of it for
            the value.
        """
        if not isinstance(column, str):
            raise TypeError(f"column must be the name of one column, not {type(column).__name__}")
        bounds = _bounds(bounds, column)
        whole = self._table.is_whole(column) and all(b == int(b) for b in bounds if abs(b) < 1e15)
        if step is None and whole and 1 <= bounds[1] - bounds[0] <= 1 << 20:
            step = 1.0
        return self._ask(Quantile(column=column, bounds=bounds, q=q, step=step, confidence=confidence), epsilon)

    def histogram(
        self,
        column: str | Sequence[str],
        *,
        keys: Iterable[Any] | None = None,
        epsilon: Number,
        delta: Number | None = None,
        noise: str = "laplace",
    ) -> Release:
        """Number of rows for each value of a column, or for each combination of several.

        Parameters
        ----------
        column : str or sequence of str
            The column; several make tuples.
        keys : iterable, optional
            Public keys: the answer has exactly these, in this order, whether or not they occur, and costs no delta.
            Without them the keys are unknown, and one is named only if enough people have it: half of ``epsilon``
            and the whole ``delta`` pay for that, half for the counts.
        epsilon : float
            The cost of the call.
        delta : float, optional
            For unknown keys: the probability budget of naming a key that should not be; what is left of the session's
            by default. For Gaussian noise: the cost of the call in delta, half of it for unknown keys if they are.
        noise : {"laplace", "gaussian"}
            As for :meth:`count`. A person in g groups needs Laplace noise g times, and Gaussian noise sqrt(g) times as large
            as a person in one.

        Returns
        -------
        Release
            ``value`` is a dictionary from key to count, unknown keys in their own order.
        """
        by = column if isinstance(column, str) else _by(column)
        if keys is not None:
            return self._ask(Count(), epsilon, by=by, keys=keys, delta=delta, noise=noise)
        delta = self.remaining.delta if delta is None else delta
        if delta == 0:
            raise ArgumentError(
                "unknown keys need a delta, for the probability of naming a key that only one person has: give delta=, "
                "or the keys if they are public"
            )
        return self._ask(Count(weight=1), epsilon, by=by, delta=delta, noise=noise)

    def _ask(
        self,
        aggregate: Count,
        epsilon: Number,
        *,
        by: str | list[str] | None = None,
        keys: Iterable[Any] | None = None,
        delta: Number | None = None,
        noise: str = "laplace",
    ) -> Release:
        unknown = by is not None and keys is None
        if noise == "laplace" and not unknown and delta:
            raise ArgumentError("Laplace noise needs no delta: leave it out, or ask for noise=\"gaussian\"")
        if noise == "gaussian" and not delta:
            raise ArgumentError("Gaussian noise needs a delta: give delta=, such as 1e-6, or ask for noise=\"laplace\"")
        plan = Plan.__new__(Plan)
        plan._set(
            aggregates={aggregate._kind: aggregate},
            unit=self._unit,
            neighbors=self._neighbors,
            epsilon=epsilon,
            delta=0 if delta is None else delta,
            limits=self._limits,
            by=by,
            keys=keys,
            selection=None,
            noise=noise,
            seed=self._seed,
        )
        self._budget.covers(plan._core)
        partial = self._table.partial(plan._core, (0, 1), _threads(None), _MEMORY)
        label = aggregate._kind + (f" {aggregate.column}" if isinstance(aggregate, Sum) else "")
        label += f" by {by if isinstance(by, str) else ', '.join(by)}" if by is not None else ""
        released = plan._core.release(partial, self._budget, _payment(self._ledger, plan._core, label))
        release = plan._publish(released)[aggregate._kind]
        facts = {**release._facts, **({"by": by} if by is not None else {})}
        return Release(
            kind="histogram" if by is not None else release.kind,
            value=release.value,
            scale=release.scale,
            grid=release.grid,
            event=plan.event,
            cost=plan.cost(),
            noiseless=release.noiseless,
            _interval=release._interval,
            _facts=facts,
        )

    def __repr__(self) -> str:
        return f"<Session: spent {self.spent!r}, remaining {self.remaining!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a session cannot be copied or pickled: its budget would be spent twice")
