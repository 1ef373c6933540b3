"""Secure-aggregation federated averaging with noise from the clients.

A server that runs a round learns the sum of the clients' updates and nothing else, even if it lies and whoever drops
out; with :class:`DistributedNoise` the clients add the noise themselves, so that the sum is differentially private
against that server too.

>>> import numpy as np
>>> import veilsum as vs
>>> cfg = vs.federated.RoundConfig(clients=6, dimension=3, clip=1.0, corrupt=1, dropouts=1)
>>> r = vs.federated.simulate(np.full((6, 3), 0.25), cfg, dropouts={4: "upload"})
>>> r.survivors, r.mean.round(3).tolist()
([0, 1, 2, 3, 5], [0.25, 0.25, 0.25])
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._core import DistributedNoise, Round, RoundConfig
from ._errors import ArgumentError, ProtocolError, RoundAborted

__all__ = ["DistributedNoise", "ProtocolError", "Round", "RoundAborted", "RoundConfig", "simulate"]

#: Masked words are kept for display up to this many in a round.
_KEPT_WORDS = 1 << 22


def simulate(
    updates: ArrayLike | Sequence[ArrayLike],
    cfg: RoundConfig,
    *,
    weights: ArrayLike | None = None,
    dropouts: Mapping[int, str] | None = None,
    progress: bool = False,
) -> Round:
    """Run one round in this process: every client and the server, with real keys, messages and masks.

    Parameters
    ----------
    updates : array_like
        One row a client, of ``cfg.dimension`` numbers. With ``unit="record"`` a list with one two-dimensional array a
        site: a row a record.
    cfg : RoundConfig
        The round.
    weights : array_like of int, optional
        Whole numbers from 1 to ``cfg.max_weight``, one a client. They travel masked.
    dropouts : mapping, optional
        Client number to the stage before whose message it is gone: ``"advertise"``, ``"share"``, ``"upload"``,
        ``"confirm"`` or ``"unmask"``. One that is lost at confirm is in the sum.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Round
        ``sum`` and ``mean`` in the updates' units, ``survivors``, ``event``, ``statement``, bytes and seconds.
        ``masked`` holds the masked words that the server received, unless they are more than four million.

    Raises
    ------
    VeilsumError
        ``ArgumentError`` for updates, weights or stages that are not of the round; ``RoundAborted`` when more clients are
        lost than the round withstands.

    Examples
    --------
    >>> import numpy as np
    >>> from veilsum.federated import DistributedNoise, RoundConfig, simulate
    >>> cfg = RoundConfig(clients=4, dimension=2, clip=2.0, corrupt=0, dropouts=1, max_weight=10)
    >>> simulate([[1, 0], [1, 1], [0, 1], [0, 0]], cfg, weights=[1, 2, 3, 4]).mean.round(3).tolist()
    [0.3, 0.5]
    """
    vectors, records = None, None
    if cfg.unit == "record":
        if isinstance(updates, np.ndarray) and updates.ndim != 3:
            raise ArgumentError("the updates must be a list with one two-dimensional array a client, a row a record")
        records = [_floats(site, 2, "each client's records") for site in updates]  # type: ignore[union-attr]
    else:
        vectors = _floats(updates, 2, "the updates")
    stages = {_client(client): _stage(stage) for client, stage in (dropouts or {}).items()}
    whole = None if weights is None else _weights(weights)
    keep = cfg.clients * cfg.dimension <= _KEPT_WORDS
    arguments = (vectors, records, cfg, whole, stages, keep)
    if not progress:
        return _core.simulate(*arguments, None)
    from tqdm import tqdm

    with tqdm(total=5 * cfg.clients, desc="round", unit="client stage") as bar:
        return _core.simulate(*arguments, bar.update)


def _floats(values: Any, dimensions: int, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{what} must be real numbers, not {array.dtype}")
        array = array.astype(np.float64)
    except ValueError:
        raise ArgumentError(f"{what} must be rows of equal length") from None
    if array.ndim != dimensions:
        raise ArgumentError(f"{what} must be a two-dimensional array, and have {array.ndim} dimension(s)")
    return array


def _weights(weights: ArrayLike) -> NDArray[np.uint32]:
    array = np.asarray(weights)
    if array.dtype.kind not in "fiub" or array.ndim != 1:
        raise TypeError("weights must be a list of whole numbers, one a client")
    if not (np.isfinite(array).all() and (array == np.floor(array)).all() and (array >= 1).all() and (array < 2**32).all()):
        raise ArgumentError("weights must be whole numbers from 1 to max_weight: scale and round them first")
    return array.astype(np.uint32)


def _client(client: Any) -> int:
    number = int(client)
    if number != client or not 0 <= number < 2**32:
        raise ArgumentError(f"dropouts names client {client!r}: client ids are row numbers")
    return number


def _stage(stage: Any) -> str:
    if not isinstance(stage, str):
        raise TypeError("dropouts maps client numbers to names of stages")
    return stage
