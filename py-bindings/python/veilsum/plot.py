"""Pictures; they need ``matplotlib`` (``pip install veilsum[plot]``), which is imported when a picture is drawn."""

import math
from typing import Any

from ._errors import ArgumentError
from .accounting import PldAccountant

__all__ = ["privacy_profile"]


def privacy_profile(accountant: PldAccountant, *, largest: float | None = None, points: int = 60, axes: Any = None) -> Any:
    """Draw delta against epsilon: the curve that may be promised, above a band down to what is certainly needed.

    Parameters
    ----------
    accountant : PldAccountant
        What was composed.
    largest : float, optional
        The right end; by default where delta is 1e-12.
    points : int
        How many epsilons are evaluated.
    axes : matplotlib.axes.Axes, optional
        Where to draw; new axes by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    if axes is None:
        _, axes = plt.subplots()
    end = accountant.epsilon(1e-12).hi if largest is None else float(largest)
    if not 0 < end < math.inf:
        raise ArgumentError(f"the picture would end at epsilon {end}: give the right end as largest, a finite number > 0")
    epsilons = np.linspace(0.0, end, points)
    found = [accountant.delta(float(epsilon)) for epsilon in epsilons]
    axes.fill_between(epsilons, [e.lo for e in found], [e.hi for e in found], alpha=0.3)
    axes.plot(epsilons, [e.hi for e in found])
    axes.set(yscale="log", xlabel="epsilon", ylabel="delta", title=f"privacy profile, {accountant.neighbors}")
    return axes
