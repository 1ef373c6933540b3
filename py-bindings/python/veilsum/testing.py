"""For tests alone: releases without noise.

``import veilsum`` does not load this module, and importing it warns: nothing in here belongs in a program that handles
private data.
"""

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from . import _core
from ._errors import ArgumentError

__all__ = ["is_noiseless", "noiseless"]

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
