"""Mechanisms with exact noise, and private tables.

A mechanism holds public parameters alone: it can be copied, pickled, compared and shared between threads and processes,
and never repeats its noise. :class:`SparseVector` is the exception: its state is private, so it stays where it was made.
"""

from ._core import (
    DiscreteGaussian,
    DiscreteLaplace,
    Enclosure,
    Gaussian,
    Laplace,
    RandomizedResponse,
    ReportNoisyMax,
    Skellam,
    SparseVector,
)

__all__ = [
    "DiscreteGaussian",
    "DiscreteLaplace",
    "Enclosure",
    "Gaussian",
    "Laplace",
    "RandomizedResponse",
    "ReportNoisyMax",
    "Skellam",
    "SparseVector",
]
