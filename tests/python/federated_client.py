"""The client's message layer of ``federated/docs/protocol.md`` in plain Python: a second, independent implementation.

It shares no code with the library. Primitives come from pyca/cryptography. It is slow, it does not hide its timing, and it is
for tests alone. ``python tests/python/federated_client.py`` prints the test vectors.
"""

import json
import secrets
import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SERVER = 2**32 - 1
RAW = (Encoding.Raw, PublicFormat.Raw)


def u32(x: int) -> bytes:
    return struct.pack(">I", x)


def u64(x: int) -> bytes:
    return struct.pack(">Q", x)


def opaque(x: bytes) -> bytes:
    return u32(len(x)) + x


def digest(label: str, *parts: bytes) -> bytes:
    return sha256(label.encode() + b"\0" + b"".join(parts)).digest()


def bitmap(members: list[bool]) -> bytes:
    out = bytearray((len(members) + 7) // 8)
    for i, member in enumerate(members):
        out[i // 8] |= member << (i % 8)
    return bytes(out)


def read_bitmap(data: bytes, clients: int) -> list[bool]:
    assert len(data) == (clients + 7) // 8
    return [bool(data[i // 8] >> (i % 8) & 1) for i in range(clients)]


# ---- what the parties agree on


@dataclass
class Parameters:
    clients: int
    corrupt: int
    dropouts: int
    neighbors: int
    threshold: int
    window: int
    quorum: int
    malicious: bool
    dimension: int
    value_bits: int
    max_weight: int
    max_records: int
    bits: int
    clip: float

    @classmethod
    def of(cls, cfg: Any) -> "Parameters":
        return cls(
            cfg.clients, cfg.corrupt, cfg.dropouts, cfg.neighbors, cfg.threshold, cfg.window, cfg.quorum,
            cfg.malicious_server, cfg.dimension, cfg.value_bits, cfg.max_weight, 0, cfg.modulus_bits, cfg.clip,
        )  # fmt: skip

    def canonical(self) -> bytes:
        numbers = (
            self.clients, self.corrupt, self.dropouts, self.neighbors, self.threshold, self.window, self.quorum,
            int(self.malicious), self.dimension, self.value_bits, self.max_weight, self.max_records, self.bits,
        )  # fmt: skip
        return b"".join(map(u32, numbers)) + struct.pack(">d", self.clip) + b"\0" + u32(0)


def context(parameters: Parameters, peer_ids: list[bytes], session: bytes, number: int, model: bytes, beacon: bytes | None) -> bytes:
    return digest(
        "veilsum.federated.context.v1",
        opaque(parameters.canonical()),
        digest("veilsum.federated.roster.v1", *peer_ids),
        opaque(session),
        u64(number),
        sha256(model).digest(),
        b"\0" if beacon is None else b"\1" + beacon,
    )


# ---- the graph


def ring(clients: int, *drawn_from: bytes) -> list[int]:
    """From the beacon, or from the context and the server's seed."""
    seed = digest("veilsum.federated.graph-seed.v1", *drawn_from)

    def words() -> Any:
        counter = 0
        while True:
            yield from struct.unpack(">8I", digest("veilsum.federated.graph.v1", seed, u64(counter)))
            counter += 1

    stream, order = words(), list(range(clients))
    for last in range(clients - 1, 0, -1):
        bound = last + 1
        word = next(w for w in stream if w < 2**32 // bound * bound)
        order[last], order[word % bound] = order[word % bound], order[last]
    return order


class Graph:
    def __init__(self, parameters: Parameters, *drawn_from: bytes) -> None:
        self.n, self.half = parameters.clients, parameters.neighbors // 2
        self.complete = parameters.neighbors == parameters.clients - 1
        if not self.complete:
            self.order = ring(self.n, *drawn_from)
            self.place = {client: place for place, client in enumerate(self.order)}

    def neighbors(self, client: int) -> list[int]:
        if self.complete:
            return [other for other in range(self.n) if other != client]
        here = self.place[client]
        return sorted(self.order[(here + s) % self.n] for s in range(-self.half, self.half + 1) if s)

    def point(self, dealer: int, holder: int) -> int:
        if self.complete:
            return holder + 1
        return (self.place[holder] - self.place[dealer] + self.half) % self.n + 1


# ---- sharing: GF(2^16) modulo x^16 + x^12 + x^3 + x + 1


def times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = a << 1, b >> 1
        a ^= 0x1100B * (a >> 16)
    return product


def split(secret: bytes, threshold: int, points: list[int], random: bytes | None = None) -> list[bytes]:
    random = random or secrets.token_bytes(32 * (threshold - 1))
    rows = [struct.unpack("<16H", (random + secret)[i : i + 32]) for i in range(0, 32 * threshold, 32)]
    shares = []
    for point in points:
        value = [0] * 16
        for row in rows:
            value = [times(v, point) ^ c for v, c in zip(value, row, strict=True)]
        shares.append(struct.pack("<16H", *value))
    return shares


# ---- keys, masks, sealing


def pair_key(label: str, ctx: bytes, shared: bytes, me: tuple[int, bytes], other: tuple[int, bytes]) -> bytes:
    (low, low_key), (high, high_key) = sorted((me, other))
    info = label.encode() + b"\0" + u32(low) + u32(high) + low_key + high_key
    return HKDF(SHA256(), 32, salt=ctx, info=info).derive(shared)


def self_key(ctx: bytes, client: int, seed: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=ctx, info=b"veilsum.federated.self-mask.v1\0" + u32(client)).derive(seed)


def keystream(key: bytes, count: int, bits: int) -> list[int]:
    width = 4 if bits <= 32 else 8
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(width * count))
    return list(struct.unpack(f"<{count}{'I' if width == 4 else 'Q'}", stream))


def pack(words: list[int], bits: int) -> bytes:
    whole = sum((word % 2**bits) << (bits * i) for i, word in enumerate(words))
    return whole.to_bytes((len(words) * bits + 7) // 8, "little")


ENVELOPE = b"VEIL\x01\x01\x01\x00"


def cobblestone(key: bytes, salt: bytes, ctx: bytes) -> tuple[bytes, bytes, bytes]:
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + ENVELOPE + ctx
    out = HKDFExpand(SHA512(), 76, info).derive(key + bytes(32))
    return out[:32], out[32:44], out[44:]


def seal(key: bytes, data: bytes, ctx: bytes) -> bytes:
    salt = secrets.token_bytes(24)
    cipher, nonce, commitment = cobblestone(key, salt, ctx)
    return ENVELOPE + salt + commitment + AESGCM(cipher).encrypt(nonce, data, b"")


def unseal(key: bytes, box: bytes, ctx: bytes) -> bytes:
    assert box[:8] == ENVELOPE
    cipher, nonce, commitment = cobblestone(key, box[8:32], ctx)
    assert commitment == box[32:64]
    return AESGCM(cipher).decrypt(nonce, box[64:], b"")


# ---- messages


def header(kind: int, ctx: bytes, sender: int) -> bytes:
    return bytes([1, 1, kind]) + ctx + u32(sender)


def signed_bytes(kind: int, ctx: bytes, sender: int, body: bytes) -> bytes:
    domain = b"veilsum.federated.message.v1"
    return b"veilsum.signature.v1\0" + opaque(domain) + header(kind, ctx, sender) + sha256(body).digest()


class Fields:
    """Takes fields off the front of a server's message."""

    def __init__(self, kind: int, ctx: bytes, message: bytes) -> None:
        assert message[:39] == header(kind, ctx, SERVER), "not this round's message"
        self.rest = message[39:]

    def take(self, count: int) -> bytes:
        assert len(self.rest) >= count, "cut short"
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def u32(self) -> int:
        return struct.unpack(">I", self.take(4))[0]


@dataclass
class PlainClient:
    parameters: Parameters
    identity: Ed25519PrivateKey
    verifying: list[bytes]
    number: int
    ctx: bytes
    beacon: bytes | None = None
    mask: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    sharing: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def send(self, kind: int, body: bytes) -> bytes:
        signature = self.identity.sign(signed_bytes(kind, self.ctx, self.number, body))
        return header(kind, self.ctx, self.number) + body + signature

    def check(self, kind: int, sender: int, body: bytes, signature: bytes) -> None:
        Ed25519PublicKey.from_public_bytes(self.verifying[sender]).verify(signature, signed_bytes(kind, self.ctx, sender, body))

    def commitment(self, dealer: int, holder: int, secret: int, share: bytes) -> bytes:
        return digest("veilsum.federated.share-commitment.v1", self.ctx, u32(dealer), u32(holder), bytes([secret]), share)

    def advertise(self) -> bytes:
        self.mask_public = self.mask.public_key().public_bytes(*RAW)
        self.share_public = self.sharing.public_key().public_bytes(*RAW)
        seed_commitment = digest("veilsum.federated.seed-commitment.v1", self.ctx, u32(self.number), self.seed)
        self.advert = self.mask_public + self.share_public + seed_commitment
        return self.send(1, self.advert)

    def share(self, directory: bytes) -> bytes:
        fields = Fields(0x81, self.ctx, directory)
        seed = fields.take(32)
        self.graph = Graph(self.parameters, *([self.beacon] if self.beacon is not None else [self.ctx, seed]))
        near = self.graph.neighbors(self.number)
        self.adverts: dict[int, bytes] = {}
        for _ in range(fields.u32()):
            client, advert, signature = fields.u32(), fields.take(96), fields.take(64)
            if client == self.number:
                assert advert == self.advert
                continue
            assert client in near
            self.check(1, client, advert, signature)
            self.adverts[client] = advert
        assert not fields.rest
        holders = sorted([*self.adverts, self.number])
        points = [self.graph.point(self.number, holder) for holder in holders]
        seeds = split(self.seed, self.parameters.threshold, points)
        keys = split(self.mask.private_bytes_raw(), self.parameters.threshold, points)
        body = u32(len(holders))
        for holder, shares in zip(holders, zip(seeds, keys, strict=True), strict=True):
            commitments = b"".join(self.commitment(self.number, holder, s, share) for s, share in enumerate(shares))
            box = b""
            if holder == self.number:
                self.held = {self.number: shares}
            else:
                box = seal(self.share_key(holder), b"".join(shares), self.bound(self.number, holder, commitments))
            body += u32(holder) + commitments + opaque(box)
        return self.send(2, body)

    def share_key(self, other: int) -> bytes:
        public = self.adverts[other][32:64]
        shared = self.sharing.exchange(X25519PublicKey.from_public_bytes(public))
        return pair_key("veilsum.federated.share-key.v1", self.ctx, shared, (self.number, self.share_public), (other, public))

    def bound(self, dealer: int, holder: int, commitments: bytes) -> bytes:
        return b"veilsum.federated.shares.v1\0" + self.ctx + u32(dealer) + u32(holder) + commitments

    def upload(self, delivery: bytes, integers: list[int]) -> bytes:
        fields = Fields(0x82, self.ctx, delivery)
        n, bits = self.parameters.clients, self.parameters.bits
        self.present = read_bitmap(fields.take((n + 7) // 8), n)
        assert self.present[self.number] and sum(self.present) >= n - self.parameters.dropouts
        for _ in range(fields.u32()):
            dealer, commitments = fields.u32(), fields.take(64)
            both = unseal(self.share_key(dealer), fields.take(fields.u32()), self.bound(dealer, self.number, commitments))
            shares = (both[:32], both[32:])
            for secret, share in enumerate(shares):
                assert self.commitment(dealer, self.number, secret, share) == commitments[32 * secret :][:32]
            self.held[dealer] = shares
        assert not fields.rest
        assert set(self.held) == {d for d in [*self.adverts, self.number] if self.present[d]}
        words = list(integers)
        masks = [(1, self_key(self.ctx, self.number, self.seed))]
        for other in self.held:
            if other != self.number:
                public = self.adverts[other][:32]
                shared = self.mask.exchange(X25519PublicKey.from_public_bytes(public))
                me, them = (self.number, self.mask_public), (other, public)
                key = pair_key("veilsum.federated.pair-mask.v1", self.ctx, shared, me, them)
                masks.append((1 if self.number < other else -1, key))
        for sign, key in masks:
            stream = keystream(key, len(words), bits)
            words = [(w + sign * s) % 2**bits for w, s in zip(words, stream, strict=True)]
        return self.send(3, pack(words, bits))

    def confirm(self, survivors: bytes) -> bytes:
        fields = Fields(0x83, self.ctx, survivors)
        n = self.parameters.clients
        self.included = read_bitmap(fields.rest, n)
        assert self.included[self.number] and sum(self.included) >= n - self.parameters.dropouts
        assert all(p for p, i in zip(self.present, self.included, strict=True) if i)
        assert not self.thin(self.included)
        self.transcript = digest("veilsum.federated.transcript.v1", self.ctx, bitmap(self.present), bitmap(self.included))
        return self.send(4, self.transcript)

    def thin(self, members: list[bool]) -> bool:
        if not self.parameters.window or self.graph.complete:
            return False
        order, half, n = self.graph.order, self.graph.half, self.parameters.clients
        windows = (sum(members[order[(s + i) % n]] for i in range(half)) for s in range(n))
        return min(windows) < self.parameters.window

    def unmask(self, quorum: bytes) -> bytes:
        fields = Fields(0x84, self.ctx, quorum)
        signers = []
        for _ in range(fields.u32()):
            signers.append(fields.u32())
            self.check(4, signers[-1], self.transcript, fields.take(64))
        assert not fields.rest and signers == sorted(set(signers)) and len(signers) >= self.parameters.quorum
        assert not self.thin([number in signers for number in range(self.parameters.clients)])
        body = u32(len(self.held))
        for dealer in sorted(self.held):
            secret = 0 if self.included[dealer] else 1
            body += u32(dealer) + bytes([secret]) + self.held[dealer][secret]
        return self.send(5, body)


# ---- vectors


def vectors() -> dict[str, Any]:
    ctx, seed = bytes(range(32)), bytes(range(100, 132))
    private = [X25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2)]
    public = [key.public_key().public_bytes(*RAW) for key in private]
    shared = private[0].exchange(X25519PublicKey.from_public_bytes(public[1]))
    pair = [(3, public[0]), (8, public[1])]
    mask_key = pair_key("veilsum.federated.pair-mask.v1", ctx, shared, *pair)
    words = [2**26 - 1, 0, 5, 2**25, 77]
    plain = PlainClient(None, None, [], 3, ctx)  # type: ignore[arg-type]
    return {
        "source": "tests/python/federated_client.py, an independent implementation of federated/docs/protocol.md",
        "licence": "MIT OR Apache-2.0",
        "context": ctx.hex(),
        "pair": {"secrets": ["01" * 32, "02" * 32], "clients": [3, 8], "mask_key": mask_key.hex(),
                 "mask_words_26": keystream(mask_key, 4, 26), "mask_words_40": [str(w) for w in keystream(mask_key, 4, 40)]},
        "self": {"client": 3, "seed": seed.hex(), "mask_key": self_key(ctx, 3, seed).hex(),
                 "commitment": digest("veilsum.federated.seed-commitment.v1", ctx, u32(3), seed).hex()},
        "share": {"random": (bytes(range(64))).hex(), "threshold": 3, "points": [1, 2, 700, 65535],
                  "shares": [s.hex() for s in split(seed, 3, [1, 2, 700, 65535], bytes(range(64)))],
                  "commitment": plain.commitment(3, 8, 1, seed).hex()},
        "packed": {"bits": 26, "words": words, "bytes": pack(words, 26).hex()},
        "ring": {"clients": 40, "graph_seed": "00" * 32, "order": ring(40, ctx, bytes(32))},
        "ring_of_a_beacon": {"clients": 40, "beacon": "05" * 32, "order": ring(40, bytes([5]) * 32)},
        "transcript": {"present": [0, 1, 2, 4, 9], "included": [0, 2, 4, 9], "clients": 10, "digest": digest(
            "veilsum.federated.transcript.v1", ctx,
            bitmap([c in (0, 1, 2, 4, 9) for c in range(10)]), bitmap([c in (0, 2, 4, 9) for c in range(10)])).hex()},
        "bad_directories": {
            "of version 2": (b"\2" + header(0x81, ctx, SERVER)[1:] + bytes(36)).hex(),
            "of suite 2": (b"\1\2" + header(0x81, ctx, SERVER)[2:] + bytes(36)).hex(),
            "of another kind": (header(0x82, ctx, SERVER) + bytes(36)).hex(),
            "of another round": (header(0x81, bytes(32), SERVER) + bytes(36)).hex(),
            "from a client": (header(0x81, ctx, 3) + bytes(36)).hex(),
            "cut short": (header(0x81, ctx, SERVER) + bytes(35)).hex(),
            "with trailing bytes": (header(0x81, ctx, SERVER) + bytes(37)).hex(),
            "longer than the round": (header(0x81, ctx, SERVER) + bytes(32) + u32(7) + bytes(7 * 164)).hex(),
            "out of order": (header(0x81, ctx, SERVER) + bytes(32) + u32(2) + u32(1) + bytes(160) + u32(0) + bytes(160)).hex(),
            "of a stranger": (header(0x81, ctx, SERVER) + bytes(32) + u32(1) + u32(6) + bytes(160)).hex(),
        },
        "good_directory": (header(0x81, ctx, SERVER) + bytes(36)).hex(),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1))
