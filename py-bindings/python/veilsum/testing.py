"""For tests alone: releases without noise.

``import veilsum`` does not load this module, and importing it warns: nothing in here belongs in a program that handles
private data.
"""

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._errors import ArgumentError

__all__ = ["fast_sample", "is_noiseless", "noiseless", "reference_sample"]

warnings.warn(
    "veilsum.testing is for tests alone: it can switch privacy off",
    UserWarning,
    stacklevel=2,
)


@contextmanager
def noiseless() -> Iterator[None]:
    """Release without noise inside a ``with`` block: exact values, NOT PRIVATE.

    Values are rounded to the grid of their law, records of releases say NOT PRIVATE, and every ledger refuses them. The
    switch belongs to the thread that entered the block: other threads go on with their noise.

    Raises
    ------
    VeilsumError
        Inside a running event loop, whose other tasks share the thread and would lose their noise too.

    Examples
    --------
    >>> import veilsum as vs
    >>> from veilsum.testing import noiseless
    >>> m = vs.dp.Gaussian(sigma=100.0, sensitivity=1.0)
    >>> with noiseless():
    ...     m.release(42.0)
    42.0
    >>> m.release(42.0) == 42.0
    False
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise ArgumentError(
            "noiseless() inside a running event loop would take the noise from the thread's other tasks: "
            "enter it before the loop starts, or in a thread of its own"
        )
    _core.noiseless_begin()
    try:
        yield
    finally:
        if not _core.noiseless_end():
            raise ArgumentError("noiseless() was left on another thread than it was entered on")


def is_noiseless() -> bool:
    """Whether releases on this thread are without noise at the moment."""
    return _core.is_noiseless()


def fast_sample(mechanism: Any, key: bytes, n: int) -> NDArray[Any]:
    """The shipped sampler under a key of your choosing: whoever knows the key knows the noise.

    Parameters
    ----------
    mechanism : Laplace, Gaussian, DiscreteLaplace, DiscreteGaussian or Skellam
        Its law is sampled.
    key : bytes
        32 of them.
    n : int
        How many samples; sample i is a function of key and i alone.

    Returns
    -------
    ndarray
        Of float64, or of int64 for laws on the integers.

    Examples
    --------
    >>> import veilsum as vs
    >>> from veilsum.testing import fast_sample, reference_sample
    >>> m = vs.dp.DiscreteGaussian(sigma=20, sensitivity=1)
    >>> bool((fast_sample(m, bytes(32), 100) == reference_sample(m, bytes(32), 100)).all())
    True
    """
    law, scale = _law(mechanism)
    return _core.keyed_sample(law, scale, _key(key), n)


def reference_sample(mechanism: Any, key: bytes, n: int) -> NDArray[Any]:
    """What :func:`fast_sample` must give, in plain Python from the written map (``dp-core/docs/sampler.md``).

    Exact integers, fractions and mpmath; some ten thousand samples a second. Parameters and result are those of
    :func:`fast_sample`. Needs the extra ``veilsum[testing]``.
    """
    try:
        from . import _replay
    except ImportError as missing:
        raise ImportError("reference_sample needs mpmath and cryptography: pip install 'veilsum[testing]'") from missing
    law = _replay.Law(*_law(mechanism))
    samples = list(islice(law.samples(_key(key)), n))
    return np.array(samples, dtype=np.float64 if law.is_real else np.int64)


def _law(mechanism: Any) -> tuple[str, Fraction]:
    """The law's name and its exact parameter."""
    name = type(mechanism).__name__
    if name not in ("Laplace", "Gaussian", "DiscreteLaplace", "DiscreteGaussian", "Skellam"):
        raise TypeError(f"{name} has no samples of its own: pass a mechanism that adds noise to numbers")
    _, named = mechanism.__getnewargs_ex__()
    (parameter,) = (value for key, value in named.items() if key != "sensitivity")
    return name, Fraction(parameter)


def _key(key: bytes) -> bytes:
    key = bytes(key)
    if len(key) != 32:
        raise ArgumentError(f"the key has {len(key)} bytes: it must have 32")
    return key
