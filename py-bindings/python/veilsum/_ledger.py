"""The Python side of the ledger: stored answers, what history holds, pictures, forks."""

import html as _html
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._errors import ArgumentError, LedgerError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._core import Event, Ledger

# Whatever thread forks, no ledger call is half done in the child.
os.register_at_fork(
    before=_core.ledger_quiesce, after_in_parent=_core.ledger_resume, after_in_child=_core.ledger_resume
)


@dataclass(frozen=True)
class Amount:
    """An amount of budget.

    Examples
    --------
    >>> from fractions import Fraction
    >>> a = Amount(Fraction(1, 10), Fraction(0))
    >>> float(a.epsilon), a
    (0.1, Amount(epsilon=0.1, delta=0.0))
    """

    epsilon: Fraction
    delta: Fraction

    def __iter__(self) -> Iterator[Fraction]:
        return iter((self.epsilon, self.delta))

    def __repr__(self) -> str:
        return f"Amount(epsilon={float(self.epsilon)!r}, delta={float(self.delta)!r})"


@dataclass(frozen=True)
class Entry:
    """One spend as a ledger remembers it; ``entry["label"]`` is ``entry.label``."""

    row: int
    milliseconds: int
    label: str
    key: str | None
    event: "Event"
    cost: Mapping[str, Fraction]
    provenance: Mapping[str, str]
    version: str

    @property
    def time(self) -> datetime:
        """When, by the clock of the machine that wrote the row."""
        return datetime.fromtimestamp(self.milliseconds / 1000, UTC)

    def __getitem__(self, name: str) -> Any:
        if name == "time" or name in {field.name for field in fields(self)}:
            return getattr(self, name)
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The entry as a dictionary that JSON can hold; amounts are fractions as text."""
        return {
            "row": self.row,
            "time": self.time.isoformat(timespec="milliseconds"),
            "label": self.label,
            "key": self.key,
            "event": self.event.to_dict(),
            "cost": {name: str(amount) for name, amount in self.cost.items()},
            "provenance": dict(self.provenance),
            "version": self.version,
        }


_ON_INTEGERS = (
    _core.DiscreteLaplace,
    _core.DiscreteGaussian,
    _core.DiscreteGaussianVector,
    _core.Skellam,
    _core.SkellamVector,
)
_ON_FLOATS = (_core.Laplace, _core.Gaussian)


def check_input(mechanism: Any, x: Any) -> None:
    """Refuse, before anything is spent, what an additive mechanism would refuse afterwards."""
    if not callable(getattr(mechanism, "release", None)):
        raise TypeError(f"{type(mechanism).__name__} has no release(x): pass a mechanism")
    if not isinstance(mechanism, _ON_INTEGERS + _ON_FLOATS):
        return
    try:
        values = np.asarray(x)
        kind = values.dtype.kind
        accepted = kind in "biu" or (kind == "f" and bool(np.isfinite(values).all()))
        if accepted and isinstance(mechanism, _ON_INTEGERS):
            if kind == "u":
                accepted = bool(np.all(values <= 2**63 - 1))
            elif kind == "f":
                accepted = bool(np.all((np.trunc(values) == values) & (values >= -(2.0**63)) & (values < 2.0**63)))
    except (TypeError, ValueError, OverflowError):
        accepted = False
    if not accepted:
        raise ArgumentError(
            "the input is not what this mechanism takes (finite numbers, whole ones of 64 bits for integer laws): "
            "nothing was spent"
        )


def pack(answer: Any) -> bytes:
    """Bytes from which :func:`unpack` makes an equal answer of the same type, dtype and shape."""
    if isinstance(answer, np.ndarray | np.generic):
        buffer = io.BytesIO()
        np.save(buffer, answer, allow_pickle=False)
        return (b"array:" if isinstance(answer, np.ndarray) else b"numpy:") + buffer.getvalue()
    if isinstance(answer, float):
        return b"float:" + answer.hex().encode()
    text = json.dumps(answer, allow_nan=False)
    if json.loads(text) != answer or isinstance(answer, tuple):
        raise TypeError(f"a ledger cannot store a {type(answer).__name__} under a key: release it without one")
    return b"json:" + text.encode()


def unpack(stored: bytes) -> Any:
    """The answer that :func:`pack` was given."""
    kind, _, content = stored.partition(b":")
    match kind:
        case b"array":
            return np.load(io.BytesIO(content), allow_pickle=False)
        case b"numpy":
            return np.load(io.BytesIO(content), allow_pickle=False)[()]
        case b"float":
            return float.fromhex(content.decode())
        case b"json":
            return json.loads(content)
    raise LedgerError("the stored answer is of a kind that this version does not know: use a newer version of veilsum")


def text(ledger: "Ledger") -> str:
    """One line about a ledger."""
    budget, spent = ledger.budget, ledger.spent
    return (
        f"Ledger({str(ledger.path)!r}, dataset={ledger.dataset!r}, unit={ledger.unit!r}, "
        f"neighbors={ledger.neighbors!r}, filter={ledger.filter!r}, "
        f"epsilon {float(spent.epsilon):.6g} of {float(budget.epsilon):.6g} spent, "
        f"delta {float(spent.delta):.6g} of {float(budget.delta):.6g})"
    )


def html(ledger: "Ledger", last: int = 20) -> str:
    """What a notebook shows: the budget as a bar, and the last spends."""
    budget, spent = ledger.budget, ledger.spent
    history = ledger.history()
    share = min(100.0, 100 * float(spent.epsilon / budget.epsilon))

    def row(cells: list[str], tag: str = "td") -> str:
        return "<tr>" + "".join(f"<{tag} style='text-align:left'>{_html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    rows = [
        row([str(e.row), f"{e.time:%Y-%m-%d %H:%M:%S}", e.label, repr(e.event), cost_text(e.cost)]) for e in history[-last:]
    ]
    more = f"<p>{len(history) - last} earlier spends are not shown.</p>" if len(history) > last else ""
    return (
        f"<p><b>{_html.escape(ledger.dataset or 'Ledger')}</b>, per {_html.escape(ledger.unit or 'unit')}, "
        f"{ledger.neighbors}, {ledger.filter} composition: "
        f"&epsilon; {float(spent.epsilon):.6g} of {float(budget.epsilon):.6g}, "
        f"&delta; {float(spent.delta):.3g} of {float(budget.delta):.3g}</p>"
        "<div style='width:20em;height:.6em;background:#ddd'>"
        f"<div style='width:{share:.1f}%;height:100%;background:#36c'></div></div>"
        f"{more}<table>{row(['row', 'time (UTC)', 'label', 'event', 'cost'], 'th')}{''.join(rows)}</table>"
    )


def cost_text(cost: Mapping[str, Fraction]) -> str:
    """The measures of a cost that are not zero."""
    return ", ".join(f"{name} {float(amount):.4g}" for name, amount in cost.items() if amount)


def plot(ledger: "Ledger", ax: "Axes | None" = None) -> "Axes":
    """Draw the share of the budget that was spent, by what the ledger's filter sums, over time."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise LedgerError("plotting needs matplotlib: pip install 'veilsum[plot]'") from error
    history = ledger.history()
    measure = "renyi" if ledger.filter == "zcdp" else "epsilon"
    limit = ledger.limit
    total = Fraction(0)
    shares = []
    for entry in history:
        total += entry.cost.get(measure, Fraction(0))
        shares.append(100 * float(total / limit))
    times = np.array([entry.milliseconds for entry in history], dtype="datetime64[ms]")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    ax.step(times, shares, where="post", marker=".", color="#3366cc")
    ax.axhline(100, color="#999999", linestyle="--", linewidth=1)
    ax.set_ylim(0, 105)
    ax.set_ylabel("% of the budget")
    ax.set_xlabel("time (UTC)")
    ax.set_title(ledger.dataset or os.fspath(ledger.path))
    return ax
