"""Authenticated encryption for data that cross networks which others own.

There is no algorithm to choose and no nonce to give; a *context* is required everywhere. :class:`Key` seals messages
and streams between those who share it, :class:`Identity` seals to :class:`Peer` objects and signs, :class:`PeerSet`
says who may send, :class:`Keyring` holds keys by purpose. :mod:`~veilsum.crypto.hazmat` has raw C2SP bytes.

Errors: ``Malformed`` and ``NoKey`` speak of a message's public header alone; every other failure to open is
``Rejected``, one class with one text. How long a refusal took is not hidden. Plaintext that was handed to Python
cannot be wiped from Python's memory.
"""

import os
from typing import Self

from . import _hazmat as hazmat
from ._core import Identity, Key, Member, Peer, PeerSet, ReplayGuard, RoundKey, RoundOffer, seal_anonymously
from ._core import Keyring as _Keyring
from ._errors import KeyExhausted, Malformed, NoKey, Rejected

__all__ = [
    "Identity",
    "Key",
    "KeyExhausted",
    "Keyring",
    "Malformed",
    "Member",
    "NoKey",
    "Peer",
    "PeerSet",
    "Rejected",
    "ReplayGuard",
    "RoundKey",
    "RoundOffer",
    "hazmat",
    "seal_anonymously",
]


class _Generate:
    """``generate`` of a ring adds a key to it; of the class, it makes a ring with one key."""

    def __get__(self, ring: "Keyring | None", owner: "type[Keyring]") -> "_AddKey | _NewRing":
        return _NewRing(owner) if ring is None else _AddKey(ring)


class _AddKey:
    def __init__(self, ring: "Keyring") -> None:
        self._ring = ring

    def __call__(self, purpose: str) -> str:
        """Add a fresh key and return its id: the first of its purpose is primary, later ones are pending."""
        return self._ring._generate(purpose)


class _NewRing:
    def __init__(self, owner: "type[Keyring]") -> None:
        self._owner = owner

    def __call__(self, purpose: str) -> "Keyring":
        """Make a ring with one primary key for this purpose."""
        ring = self._owner()
        ring._generate(purpose)
        return ring


class Keyring(_Keyring):
    """Keys by purpose, with states, budgets and rotation.

    A message names its key's id, and keys are found by it, never by trial. Each key seals 2**32 messages or 2**50
    bytes, whichever comes first, and then raises ``KeyExhausted``: :meth:`rotate`.

    ``Keyring.generate(purpose)`` makes a ring with one primary key. ``ring.generate(purpose)`` adds a key to a ring
    and returns its id; it waits as "pending" if the purpose has a primary key.

    Examples
    --------
    >>> import veilsum as vs
    >>> ring = vs.crypto.Keyring.generate("updates")
    >>> box = ring.seal(b"an update", context=b"round 7")
    >>> new = ring.rotate("updates")
    >>> [key["state"] for key in ring.keys]
    ['decrypt-only', 'primary']
    >>> ring.open(box, context=b"round 7")
    b'an update'
    """

    __slots__ = ()

    generate = _Generate()

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str | None = None, key: Key | None = None) -> Self:
        """Read a ring that :meth:`save` wrote."""
        ring = cls()
        ring._fill(path, passphrase=passphrase, key=key)
        return ring
