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

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._core import ClientCore, CoinCore, DistributedNoise, Round, RoundConfig, ServerCore, noise_inflation
from ._errors import ArgumentError, ProtocolError, RoundAborted

from .crypto import Identity, Key, Peer, PeerSet

__all__ = [
    "Client",
    "Coin",
    "DistributedNoise",
    "ProtocolError",
    "Round",
    "RoundAborted",
    "RoundConfig",
    "Server",
    "noise_inflation",
    "simulate",
]

#: Masked words are kept for display up to this many in a round.
_KEPT_WORDS = 1 << 22


def simulate(
    updates: ArrayLike | Sequence[ArrayLike],
    cfg: RoundConfig,
    *,
    weights: ArrayLike | None = None,
    metrics: Sequence[Mapping[str, float]] | None = None,
    dropouts: Mapping[int, str] | None = None,
    strategy: str = "mean",
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
    metrics : sequence of mappings, optional
        For each client the values of ``cfg.metrics``, by name. They travel masked; the result has their sums.
    dropouts : mapping, optional
        Client number to the stage before whose message it is gone: ``"advertise"``, ``"share"``, ``"upload"``,
        ``"confirm"`` or ``"unmask"``. One that is lost at confirm is in the sum.
    strategy : str
        ``"mean"``. Rules that look at single updates, such as ``"median"`` and ``"krum"``, are refused: masks hide them.
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
    if not isinstance(strategy, str):
        raise TypeError("strategy must be the name of a way to average")
    _core.check_strategy(strategy)
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
    reported = None if metrics is None else [_metrics(cfg, values) for values in metrics]
    arguments = (vectors, records, cfg, whole, reported, stages, keep)
    if not progress:
        return _core.simulate(*arguments, None)
    from tqdm import tqdm

    with tqdm(total=5 * cfg.clients, desc="round", unit="client stage") as bar:
        return _core.simulate(*arguments, bar.update)


class Client:
    """One client of a round, stage by stage: bytes in, bytes out.

    Parameters
    ----------
    cfg : RoundConfig
        The round. The client enforces it: a server cannot talk it into less.
    identity : Identity
        The enrolled identity.
    roster : PeerSet or sequence of Peer
        Everyone enrolled, in order; fixed before the round begins.
    client_id : int
        The place of this identity on the roster.
    session, round : bytes, int
        The name of the round. Use each pair once.
    model : bytes
        The model that updates refer to, or its digest. Clients of different models do not finish together.
    beacon : bytes, optional
        32 bytes of public randomness drawn after the roster was fixed; needed where ``cfg.needs_beacon``.

    Notes
    -----
    Each stage is answered once. The same request gets the same bytes, any other is refused. To survive a crash, write
    ``snapshot()`` after each answer and *before* sending it.

    Examples
    --------
    >>> import veilsum as vs
    >>> cfg = vs.federated.RoundConfig(clients=3, dimension=2, clip=1.0, corrupt=0, dropouts=0)
    >>> people = [vs.crypto.Identity.generate() for _ in range(3)]
    >>> roster = vs.crypto.PeerSet([person.peer for person in people])
    >>> clients = [vs.federated.Client(cfg, person, roster, i) for i, person in enumerate(people)]
    >>> server = vs.federated.Server(cfg, roster)
    >>> def stage(step):
    ...     for i, client in enumerate(clients):
    ...         server.receive(i, step(i, client))
    ...     return server.finish_stage()
    >>> to = stage(lambda i, c: c.advertise())
    >>> to = stage(lambda i, c: c.share(to[i]))
    >>> to = stage(lambda i, c: c.upload(to[i], [0.5, 0.25]))
    >>> to = stage(lambda i, c: c.confirm(to[i]))
    >>> to = stage(lambda i, c: c.unmask(to[i]))
    >>> server.result().sum.round(3).tolist()
    [1.5, 0.75]
    """

    def __init__(
        self,
        cfg: RoundConfig,
        identity: Identity,
        roster: PeerSet | Sequence[Peer],
        client_id: int,
        *,
        session: bytes = b"",
        round: int = 0,
        model: bytes = b"",
        beacon: bytes | None = None,
    ) -> None:
        self._core = ClientCore(cfg, identity, roster, client_id, session, round, model, beacon)

    @property
    def client_id(self) -> int:
        """Place on the roster."""
        return self._core.client_id

    @property
    def state(self) -> str:
        """The last stage that was answered: "enrolled" at first, "finished" at last."""
        return self._core.state

    def advertise(self) -> bytes:
        """Publish fresh keys for the round."""
        return self._core.advertise()

    def share(self, msg: bytes) -> bytes:
        """Deal shares of this client's secrets to its neighbours."""
        return self._core.share(msg)

    def upload(
        self, msg: bytes, update: ArrayLike, *, weight: int = 1, metrics: Mapping[str, float] | None = None
    ) -> bytes:
        """Mask and send the update: one vector, or with ``unit="record"`` rows, and the values of ``cfg.metrics``.

        Refused before anything is masked: NaN, infinities, other shapes, weights beyond ``cfg.max_weight``, and metrics
        beyond what the round said of them.
        """
        rows = _floats(update, None, "the update")
        values = _metrics(self._core.config, metrics or {})
        return self._core.upload(msg, rows, int(_weights([weight])[0]), values)

    def confirm(self, msg: bytes) -> bytes:
        """Check the survivor set against this client's own minima, and sign it."""
        return self._core.confirm(msg)

    def unmask(self, msg: bytes) -> bytes:
        """Open shares, once enough clients have signed the same survivor set."""
        return self._core.unmask(msg)

    def snapshot(self, *, key: Key | None = None) -> bytes:
        """Seal the whole state, its identity and the round's parameters included.

        Parameters
        ----------
        key : Key, optional
            The key to seal with; by default one that is kept in the user's state directory (``VEILSUM_STATE``, or
            ``~/.local/state/veilsum``), readable by the user alone.
        """
        return self._core.snapshot(key)

    @classmethod
    def restore(cls, data: bytes, *, key: Key | None = None) -> "Client":
        """Open a snapshot. Restore the newest: a stage that a copy has answered since is refused."""
        client = cls.__new__(cls)
        client._core = ClientCore.restore(data, key)
        return client

    def __repr__(self) -> str:
        return f"Client({self.client_id}, {self.state})"


class Coin:
    """One client's part in tossing a beacon, by commit and reveal: public randomness that nobody chose.

    Parameters
    ----------
    cfg : RoundConfig
    identity : Identity
    roster : PeerSet or sequence of Peer
        Fixed before the coin is tossed.
    session : bytes
        The name of the round. Use it once.

    Notes
    -----
    Everyone commits; when all commitments are in, everyone reveals against the same list; the beacon is the hash of all
    values. If someone's message does not come, toss :meth:`again` on a roster without them and with ``struck=`` one more:
    at most as many times as clients may be lost.

    Examples
    --------
    >>> import veilsum as vs
    >>> cfg = vs.federated.RoundConfig(clients=3, dimension=2, clip=1.0, corrupt=0, dropouts=0)
    >>> people = [vs.crypto.Identity.generate() for _ in range(3)]
    >>> roster = [person.peer for person in people]
    >>> coins = [vs.federated.Coin(cfg, person, roster, session=b"1") for person in people]
    >>> commitments = {i: coin.commit() for i, coin in enumerate(coins)}
    >>> openings = {i: coin.reveal(commitments) for i, coin in enumerate(coins)}
    >>> len({coin.beacon(openings) for coin in coins}), len(coins[0].beacon(openings))
    (1, 32)
    """

    def __init__(
        self, cfg: RoundConfig, identity: Identity, roster: PeerSet | Sequence[Peer], *, session: bytes
    ) -> None:
        self._core = CoinCore(cfg, identity, roster, session)

    def commit(self) -> bytes:
        """The commitment, signed."""
        return self._core.commit()

    def reveal(self, commitments: Mapping[int, bytes]) -> bytes:
        """Open the value against everyone's commitments: this list and no other."""
        return self._core.reveal(dict(commitments))

    def beacon(self, openings: Mapping[int, bytes]) -> bytes:
        """The beacon, from everyone's openings against the list that this client opened against."""
        return self._core.beacon(dict(openings))

    def again(self, cfg: RoundConfig, roster: PeerSet | Sequence[Peer]) -> "Coin":
        """Toss once more, on a roster from which those were struck whose openings did not come."""
        coin = Coin.__new__(Coin)
        coin._core = self._core.again(cfg, roster)
        return coin

    def __repr__(self) -> str:
        return "Coin(...)"


class Server:
    """The server of a round, stage by stage.

    Parameters
    ----------
    cfg : RoundConfig
    roster : PeerSet or sequence of Peer
        As the clients have it.
    session, round, model, beacon
        As the clients have them.
    log : path, optional
        An append-only file; :meth:`close` it, or use the server in a ``with`` statement. Whatever is accepted is on disk before :meth:`receive` returns; a server that is opened on a
        log resumes where it ends, and ``messages`` holds what the last finished stage sent, to be sent again.
    keep_masked : bool
        Keep masked vectors as they arrive, to show what a server sees.
    """

    def __init__(
        self,
        cfg: RoundConfig,
        roster: PeerSet | Sequence[Peer],
        *,
        session: bytes = b"",
        round: int = 0,
        model: bytes = b"",
        beacon: bytes | None = None,
        log: str | os.PathLike[str] | None = None,
        keep_masked: bool = False,
    ) -> None:
        self._file = None
        before = None
        if log is not None:
            self._file = open(log, "a+b")
            self._file.seek(0)
            before = self._file.read()
        try:
            self._core, self.messages, whole = ServerCore.open(
                cfg, roster, session, round, model, beacon, before, keep_masked
            )
            if self._file is not None:
                self._file.truncate(whole)
        except BaseException:
            self.close()
            raise

    @property
    def stage(self) -> str:
        """The stage whose messages are being received; "done" at last."""
        return self._core.stage

    def receive(self, client_id: int, msg: bytes) -> None:
        """Take one client's message. Malformed, forged, replayed, late and second ones are refused and change nothing."""
        self._core.receive(_client(client_id), msg)
        self._append()

    def finish_stage(self) -> dict[int, bytes]:
        """End the stage: whoever has not sent is lost. Returns what to send to whom."""
        self.messages = self._core.finish_stage()
        self._append()
        return self.messages

    def result(self) -> Round:
        """The outcome, once the last stage is finished."""
        return self._core.result()

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self) -> None:
        if self._file is not None:
            self._file.write(self._core.take_log())
            self._file.flush()
            os.fsync(self._file.fileno())

    def __repr__(self) -> str:
        return f"Server({self.stage})"


def _floats(values: Any, dimensions: int | None, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{what} must be real numbers, not {array.dtype}")
        array = array.astype(np.float64)
    except ValueError:
        raise ArgumentError(f"{what} must be rows of equal length") from None
    if dimensions is not None and array.ndim != dimensions:
        raise ArgumentError(f"{what} must be a two-dimensional array, and have {array.ndim} dimension(s)")
    return array


def _metrics(cfg: RoundConfig, values: Mapping[str, float]) -> list[float]:
    names = list(cfg.metrics)
    if not isinstance(values, Mapping):
        raise TypeError("metrics are mappings of names to numbers, one a client")
    if set(values) != set(names):
        raise ArgumentError(f"metrics must be given for exactly {names}, as the round says")
    return [float(values[name]) for name in names]


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
