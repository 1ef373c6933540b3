"""Accountants that answer with enclosures, and the durable ledger.

Which accountant? :class:`PldAccountant` gives the tight answer for events that were chosen beforehand.
:class:`RdpAccountant` and :class:`ZcdpAccountant` give upper bounds of a kind that also makes sound *filters*, for budgets
that are spent adaptively; a privacy loss distribution cannot be a filter.
"""

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from numbers import Rational
from typing import Any, NoReturn

from ._core import (
    Enclosure,
    Event,
    Ledger,
    PldAccountant,
    RdpAccountant,
    RdpFilter,
    ZcdpAccountant,
    calibrate_sigma,
    calibrate_steps,
)
from ._errors import ArgumentError, BudgetExceeded

__all__ = [
    "BudgetExceeded",
    "Enclosure",
    "Event",
    "Ledger",
    "PldAccountant",
    "RdpAccountant",
    "RdpFilter",
    "ZcdpAccountant",
    "approximate",
    "calibrate",
    "composed",
    "discrete_gaussian",
    "discrete_laplace",
    "filter_of",
    "gaussian",
    "laplace",
    "most_steps",
    "poisson_sampled",
    "pure",
    "randomized_response",
    "sampled_without_replacement",
    "skellam",
]

Number = float | Fraction | Decimal


def _exact(what: str, value: Any, *, decimal: bool = False) -> str:
    """A number as the text of an exact fraction: floats by their binary value, or by their shortest decimal."""
    if type(value).__name__ in ("bool", "bool_"):  # Python's, and those of NumPy
        raise TypeError(f"{what} must be a number, not a truth value")
    if isinstance(value, Rational):
        return f"{value.numerator}/{value.denominator}"
    if not isinstance(value, Decimal):
        try:
            value = float(value)
        except TypeError:
            raise TypeError(f"{what} must be a number, not {type(value).__name__}") from None
    if not math.isfinite(value):
        raise ArgumentError(f"{what} is {value}: it must be a finite number")
    exact = Fraction(repr(value)) if decimal and isinstance(value, float) else Fraction(value)
    return f"{exact.numerator}/{exact.denominator}"


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} must be an integer, not {type(value).__name__}")
    number = int(value)
    if not 0 <= number < 2**64:
        raise ArgumentError(f"{what} is {number}: it must be a whole number >= 0, below 2^64")
    return number


def gaussian(noise_multiplier: Number) -> Event:
    """Gaussian noise; ``noise_multiplier`` is its standard deviation over the L2 sensitivity.

    Examples
    --------
    >>> gaussian(1.5)
    gaussian(noise_multiplier=1.5)
    """
    return Event.from_dict({"kind": "gaussian", "noise_multiplier": _exact("noise_multiplier", noise_multiplier)})


def laplace(noise_multiplier: Number) -> Event:
    """Laplace noise; ``noise_multiplier`` is its scale over the L1 sensitivity."""
    return Event.from_dict({"kind": "laplace", "noise_multiplier": _exact("noise_multiplier", noise_multiplier)})


def discrete_gaussian(sigma: Number, sensitivity: int = 1) -> Event:
    """Discrete Gaussian noise on integers, with a whole L1 sensitivity."""
    fields = {"sigma": _exact("sigma", sigma), "sensitivity": _whole("sensitivity", sensitivity)}
    return Event.from_dict({"kind": "discrete_gaussian", **fields})


def discrete_laplace(scale: Number, sensitivity: int = 1) -> Event:
    """Discrete Laplace noise on integers, with a whole L1 sensitivity."""
    fields = {"scale": _exact("scale", scale), "sensitivity": _whole("sensitivity", sensitivity)}
    return Event.from_dict({"kind": "discrete_laplace", **fields})


def skellam(variance: Number, l1: int, l2: Number) -> Event:
    """Skellam noise of this total variance on integers, with sensitivities in L1 and L2 (whose square is whole).

    Examples
    --------
    >>> skellam(100, 3, 3).parameters["squared_l2"]
    9
    """
    square = float(l2) ** 2
    squared = round(square)
    if squared < 1 or abs(squared - square) > 1e-9 * square:
        raise ArgumentError(f"l2 is {l2}: its square must be a whole number >= 1, since the noise is on integers")
    fields = {"variance": _exact("variance", variance), "l1": _whole("l1", l1), "squared_l2": squared}
    return Event.from_dict({"kind": "skellam", **fields})


def randomized_response(epsilon: Number, categories: int = 2) -> Event:
    """Randomized response over ``categories`` answers: a replace-one event."""
    fields = {"epsilon": _exact("epsilon", epsilon, decimal=True), "categories": _whole("categories", categories)}
    return Event.from_dict({"kind": "randomized_response", **fields})


def pure(epsilon: Number) -> Event:
    """Anything that is epsilon-differentially private."""
    return Event.from_dict({"kind": "pure", "epsilon": _exact("epsilon", epsilon, decimal=True)})


def approximate(epsilon: Number, delta: Number) -> Event:
    """Anything that is (epsilon, delta)-differentially private."""
    fields = {"epsilon": _exact("epsilon", epsilon, decimal=True), "delta": _exact("delta", delta, decimal=True)}
    return Event.from_dict({"kind": "approximate", **fields})


def poisson_sampled(rate: Number, event: Event) -> Event:
    """``event`` on a Poisson sample, each unit included with probability ``rate``: an add-remove event.

    Examples
    --------
    >>> poisson_sampled(0.01, gaussian(1.0))
    poisson_sampled(event=gaussian(noise_multiplier=1.0), rate=0.01)
    """
    return Event.from_dict({"kind": "poisson_sampled", "rate": _exact("rate", rate), "event": _event(event).to_dict()})


def sampled_without_replacement(population: int, size: int, event: Event) -> Event:
    """``event`` on a uniform sample of ``size`` of ``population`` units: a replace-one event.

    The sensitivities inside ``event`` are those for replacing one unit of the sample.
    """
    fields = {"population": _whole("population", population), "size": _whole("size", size)}
    return Event.from_dict({"kind": "sampled_without_replacement", **fields, "event": _event(event).to_dict()})


def composed(events: Iterable[Event | tuple[Event, int]]) -> Event:
    """Several events on the same data, chosen beforehand; an item may be a pair of event and count.

    Examples
    --------
    >>> composed([gaussian(2.0), (laplace(3.0), 5)])
    composed([(gaussian(noise_multiplier=2.0), 1), (laplace(noise_multiplier=3.0), 5)])
    """
    pairs = [item if isinstance(item, tuple) else (item, 1) for item in events]
    return Event.from_dict({"kind": "composed", "events": [[_event(e).to_dict(), _whole("count", n)] for e, n in pairs]})


def _event(event: Any) -> Event:
    if not isinstance(event, Event):
        raise TypeError(f"an Event is needed, not {type(event).__name__}")
    return event


def calibrate(
    event: Callable[[float], Event],
    *,
    epsilon: float,
    delta: float,
    steps: int = 1,
    neighbors: str = "add-remove",
) -> float:
    """Find the least sigma for which ``steps`` runs of ``event(sigma)`` certainly meet (epsilon, delta).

    Parameters
    ----------
    event : callable
        From sigma to the event of one step; its epsilon must fall as sigma grows.
    epsilon, delta : float
        The target.
    steps : int
        How often the event runs.
    neighbors : str
        The neighbouring relation.

    Returns
    -------
    float
        A sigma at which the certified epsilon does not exceed the target, within a relative 1e-8 of the least.

    Examples
    --------
    >>> sigma = calibrate(lambda s: poisson_sampled(0.01, gaussian(s)), epsilon=1.0, delta=1e-5)
    >>> round(sigma, 6)
    0.673793
    """
    return calibrate_sigma(event, epsilon=epsilon, delta=delta, steps=steps, neighbors=neighbors)


def most_steps(event: Event, *, epsilon: float, delta: float, neighbors: str = "add-remove") -> int:
    """Find how often ``event`` may run so that all runs together certainly meet (epsilon, delta).

    Parameters
    ----------
    event : Event
        What runs.
    epsilon, delta : float
        The target.
    neighbors : str
        The neighbouring relation.

    Returns
    -------
    int
        The most runs; 0 if one is too much.

    Examples
    --------
    >>> most_steps(gaussian(10.0), epsilon=1.0, delta=1e-5)
    7
    """
    return calibrate_steps(event, epsilon=epsilon, delta=delta, neighbors=neighbors)


def filter_of(accountant: RdpAccountant | ZcdpAccountant | PldAccountant) -> NoReturn:
    """Refuse: an accountant of fixed events is no filter. A budget that is spent adaptively belongs to a ledger or an :class:`RdpFilter`.

    Raises
    ------
    ArgumentError
        Always, with the reason.
    """
    if isinstance(accountant, PldAccountant):
        raise ArgumentError(
            "a privacy loss distribution cannot be a filter: stopping when a composed curve crosses a target is not valid "
            "in general; spend from a Ledger or an RdpFilter, which are"
        )
    raise ArgumentError("an accountant has no budget to stop at: spend from a Ledger, or from an RdpFilter at an order that you choose")
