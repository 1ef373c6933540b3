"""Mechanisms with exact noise, and private tables.

A mechanism holds public parameters alone: it can be copied, pickled, compared and shared between threads and processes,
and never repeats its noise. :class:`SparseVector` is the exception: its state is private, so it stays where it was made.
"""

from ._core import (
    DiscreteGaussian,
    DiscreteGaussianVector,
    DiscreteLaplace,
    Enclosure,
    Gaussian,
    Laplace,
    RandomizedResponse,
    ReportNoisyMax,
    Skellam,
    SkellamVector,
    SparseVector,
)
from ._table import (
    ROW,
    Amount,
    Count,
    CountUnits,
    Mean,
    Plan,
    Quantile,
    Release,
    Session,
    Sum,
    TableRelease,
    Variance,
    merge,
)

__all__ = [
    "ROW",
    "Amount",
    "Count",
    "CountUnits",
    "DiscreteGaussian",
    "DiscreteGaussianVector",
    "DiscreteLaplace",
    "Enclosure",
    "Gaussian",
    "Laplace",
    "Mean",
    "Plan",
    "Quantile",
    "RandomizedResponse",
    "Release",
    "ReportNoisyMax",
    "Session",
    "Skellam",
    "SkellamVector",
    "SparseVector",
    "Sum",
    "TableRelease",
    "Variance",
    "merge",
]
