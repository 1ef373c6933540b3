"""``vs.crypto``: the face, and messages exchanged with independent implementations.

``Foreign`` reads and writes the sealed format from its description (crypto/docs/format.md) with pyca/cryptography
alone: Cobblestone-256, HPKE, Ed25519. It shares no code with veilsum.
"""

import copy
import hashlib
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pandas as pd
import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum import crypto

CHUNK = 16 * 1024
LENGTHS = [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3, 3_000_000]


@pytest.fixture(scope="module")
def key() -> crypto.Key:
    return crypto.Key.generate()


# ---- interoperation with pyca/cryptography ----------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_cobblestone_is_pycas_in_both_directions(length: int) -> None:
    secret, data, context = os.urandom(32), os.urandom(length), b"context"
    ours = crypto.hazmat.cobblestone256_encrypt(secret, data, context=context)
    decryptor = Cobblestone256Decryptor(secret, context)
    assert decryptor.update(ours) + decryptor.finalize() == data
    encryptor = Cobblestone256Encryptor(secret, context)
    theirs = encryptor.update(data) + encryptor.finalize()
    assert crypto.hazmat.cobblestone256_decrypt(secret, theirs, context=context) == data
    with pytest.raises(crypto.Rejected):
        crypto.hazmat.cobblestone256_decrypt(secret, theirs, context=b"other")
    with pytest.raises(crypto.Rejected):
        crypto.hazmat.cobblestone256_decrypt(os.urandom(32), theirs, context=context)


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def in_domain(domain: bytes, message: bytes) -> bytes:
    return b"veilsum.signature.v1\0" + len(domain).to_bytes(4, "big") + domain + message


class Foreign:
    """A participant who was written from the format's description, with pyca/cryptography."""

    def __init__(self) -> None:
        self.signing = Ed25519PrivateKey.generate()
        self.mlkem, self.x_of_xwing = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self.x25519 = X25519PrivateKey.generate()
        certified = (
            b"\x01"
            + self.signing.public_key().public_bytes_raw()
            + self.mlkem.public_key().public_bytes_raw()
            + self.x_of_xwing.public_key().public_bytes_raw()
            + self.x25519.public_key().public_bytes_raw()
        )
        self.bytes = certified + self.signing.sign(in_domain(b"veilsum.peer.v1", certified))
        self.id = hashlib.sha256(self.bytes).digest()
        self.peer = crypto.Peer.from_text("veilsum-peer-" + urlsafe_b64encode(self.bytes).rstrip(b"=").decode())

    def open_from(self, sender: bytes, box: bytes, context: bytes) -> bytes:
        """Open a message of the peer with these bytes."""
        assert box[:6] == b"VEIL\x01\x03" and box[7] == 0
        aead = {1: AEAD.AES_256_GCM, 2: AEAD.CHACHA20_POLY1305}[box[6]]
        private: MLKEM768X25519PrivateKey | X25519PrivateKey
        if box[8] == 1:
            kem, encapsulated, private = KEM.MLKEM768_X25519, 1120, MLKEM768X25519PrivateKey(self.mlkem, self.x_of_xwing)
        else:
            kem, encapsulated, private = KEM.X25519, 32, self.x25519
        stanza = 32 + encapsulated + 48
        end = 11 + int.from_bytes(box[9:11], "big") * stanza
        mine = next(at for at in range(11, end, stanza) if box[at : at + 32] == self.id)
        info = b"veilsum.wrap.v1\0" + box[:8] + self.id
        file_key = Suite(kem, KDF.HKDF_SHA512, aead).decrypt(box[mine + 32 : mine + stanza], private, info)
        decryptor = Cobblestone256Decryptor(file_key, box[:end] + context)
        payload = decryptor.update(box[end:]) + decryptor.finalize()
        data, trailer = payload[:-96], payload[-96:]
        assert trailer[:32] == hashlib.sha256(sender).digest()
        signed = self.signed(box[:end], box[end + 24 : end + 56], context, data)
        Ed25519PublicKey.from_public_bytes(sender[1:33]).verify(trailer[32:], signed)
        return data

    @staticmethod
    def signed(public: bytes, commitment: bytes, context: bytes, data: bytes) -> bytes:
        digest = blake3.blake3(data).digest()
        parts = hashlib.sha512(public).digest(), commitment, u64(len(context)), context, u64(len(data)), digest
        return in_domain(b"veilsum.seal.v1", b"".join(parts))

    def seal_to(self, recipient: bytes, data: bytes, context: bytes) -> bytes:
        """Seal to the peer with these bytes, by X-Wing."""
        header, to = b"VEIL\x01\x03\x01\x00", hashlib.sha256(recipient).digest()
        public_key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(recipient[33:1217]),
            X25519PublicKey.from_public_bytes(recipient[1217:1249]),
        )
        file_key = os.urandom(32)
        suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA512, AEAD.AES_256_GCM)
        wrapped = suite.encrypt(file_key, public_key, b"veilsum.wrap.v1\0" + header + to)
        public = header + b"\x01\x00\x01" + to + wrapped
        encryptor = Cobblestone256Encryptor(file_key, public + context)
        # pyca gives salt and commitment with the first bytes, before the signature over them is due.
        start = encryptor.update(data)
        if len(start) < 56:
            start += encryptor.update(b"")
        signature = self.signing.sign(self.signed(public, start[24:56], context, data))
        return public + start + encryptor.update(self.id + signature) + encryptor.finalize()


def peer_bytes(peer: crypto.Peer) -> bytes:
    return urlsafe_b64decode(peer.to_text().removeprefix("veilsum-peer-") + "===")


@pytest.mark.parametrize("kem", ["x-wing", "x25519"])
@pytest.mark.parametrize("length", [0, 100, CHUNK - 96, CHUNK, 100_000])
def test_a_foreign_reader_opens_what_we_seal(kem: str, length: int) -> None:
    me, other, foreign, data = crypto.Identity.generate(), crypto.Identity.generate(), Foreign(), os.urandom(length)
    box = me.seal_to([other.peer, foreign.peer], data, context=b"round 7", kem=kem)
    assert foreign.open_from(peer_bytes(me.peer), box, b"round 7") == data
    with pytest.raises((InvalidTag, InvalidSignature, ValueError)):
        foreign.open_from(peer_bytes(me.peer), box, b"round 8")


@pytest.mark.parametrize("length", [0, 100, CHUNK - 96, CHUNK, 100_000])
def test_we_open_what_a_foreign_writer_seals(length: int) -> None:
    me, foreign, data = crypto.Identity.generate(), Foreign(), os.urandom(length)
    box = foreign.seal_to(peer_bytes(me.peer), data, b"round 7")
    assert me.open_from(crypto.PeerSet([foreign.peer]), box, context=b"round 7") == (data, foreign.peer)
    with pytest.raises(crypto.Rejected):
        me.open_from(crypto.PeerSet([me.peer]), box, context=b"round 7")


def test_the_keys_own_framing_is_cobblestone_after_eight_bytes(tmp_path: Path) -> None:
    """A key file, read with pyca and Argon2id from the description alone, opens a message of that key."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    mine = crypto.Key.generate()
    mine.save(tmp_path / "key", passphrase="words")
    stored = (tmp_path / "key").read_bytes()
    assert stored[:10] == b"VEIL\x01\x05\x01\x00\x01\x01"
    memory, passes = int.from_bytes(stored[10:14], "big"), int.from_bytes(stored[14:18], "big")
    kek = Argon2id(salt=stored[18:34], length=32, iterations=passes, lanes=1, memory_cost=memory).derive(b"words")
    decryptor = Cobblestone256Decryptor(kek, stored[:34])
    secret = decryptor.update(stored[34:]) + decryptor.finalize()
    assert secret[0] == 1 and len(secret) == 33
    box = mine.seal(b"data", context=b"context")
    decryptor = Cobblestone256Decryptor(secret[1:], box[:8] + b"context")
    assert decryptor.update(box[8:]) + decryptor.finalize() == b"data"


# ---- messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_sealed_opens_every_way(key: crypto.Key, length: int) -> None:
    data = os.urandom(length)
    box = key.seal(data, context=b"context")
    assert len(box) == crypto.Key.sealed_length(length) and crypto.Key.opened_length(len(box)) == length
    assert key.open(box, context=b"context") == data
    into = bytearray(len(box))
    assert key.seal_into(data, into, context=b"context", threads=2) == len(into)
    back = np.zeros(length + 5, dtype=np.uint8)
    assert key.open_into(into, back, context=b"context", threads=2) == length
    assert back[:length].tobytes() == data
    file = io.BytesIO()
    with key.writer(file, context=b"context") as out:
        for at in range(0, length, 30_000):
            out.write(data[at : at + 30_000])
    assert out.closed and not file.closed
    assert key.open(file.getvalue(), context=b"context") == data
    assert key.reader(io.BytesIO(box), context=b"context").read() == data


def test_any_contiguous_buffer_is_data(key: crypto.Key) -> None:
    array = np.arange(10.0).reshape(2, 5)
    assert np.frombuffer(key.open(key.seal(array, context=b""), context=b"")).tolist() == list(range(10))
    for data in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
        assert key.open(key.seal(data, context=memoryview(b"c")), context=b"c") == b"ab"
    with pytest.raises(vs.VeilsumError, match="contiguous"):
        key.seal(array.T, context=b"")
    for wrong in ("text", 3, None):
        with pytest.raises(TypeError):
            key.seal(wrong, context=b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        key.seal(b"data")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        key.open_into(key.seal(b"data", context=b""), bytes(10), context=b"")
    shared = bytearray(200)
    with pytest.raises(vs.VeilsumError, match="share memory"):
        key.seal_into(memoryview(shared)[:50], memoryview(shared)[40:], context=b"")


@pytest.mark.parametrize("wrong", [np.float64(3), np.array(["2020"], dtype="M8[D]"), np.array([object()]), "text", 3, None])
def test_what_holds_no_bytes_is_one_typed_error(key: crypto.Key, wrong: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: key.seal(wrong, context=b""),
        lambda: key.seal(b"", context=wrong),
        lambda: key.open(wrong, context=b""),
        lambda: key.seal_into(wrong, bytearray(100), context=b""),
        lambda: crypto.hazmat.cobblestone256_encrypt(wrong, b"", context=b""),
        lambda: crypto.PeerSet.verify(wrong, by=crypto.Identity.generate().peer),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("number", [-1, 1 << 64, 1 << 200])
def test_numbers_that_do_not_fit_are_one_typed_error(key: crypto.Key, number: int) -> None:
    me = crypto.Identity.generate()
    calls: list[Callable[[], object]] = [
        lambda: key.seal(b"", context=b"", threads=number),
        lambda: key.sealed_length(number),
        lambda: key.opened_length(number),
        lambda: crypto.Member(me.peer, valid_from=number),
        lambda: crypto.Member(me.peer, valid_from=5, valid_until=5),
        lambda: crypto.PeerSet([]).sign(me, number=number),
        lambda: crypto.PeerSet.verify(b"", by=me.peer, last=number),
        lambda: crypto.ReplayGuard(senders=number),
        lambda: crypto.ReplayGuard().admit(me.peer, round=number, message=bytes(32)),
        lambda: crypto.ReplayGuard().advance_to(number),
        lambda: crypto.RoundKey.generate(me, round=number, expires=1),
        lambda: crypto.RoundKey.generate(me, round=1, expires=number),
        lambda: crypto.RoundOffer.verify(b"", owner=me.peer, round=number),
    ]
    for call in calls:
        with pytest.raises(vs.VeilsumError) as refusal:
            call()
        assert isinstance(refusal.value, ValueError)


def test_refusals_are_one_class_and_one_text_and_wipe_the_buffer(key: crypto.Key) -> None:
    data = os.urandom(3 * CHUNK)
    box = key.seal(data, context=b"context")
    bad = []
    for at in (8, 40, 70, len(box) // 2, len(box) - 1):
        changed = bytearray(box)
        changed[at] ^= 1
        bad.append((key, bytes(changed), b"context"))
    bad += [(key, box[:-1], b"context"), (key, box[:8], b"context"), (key, box + b"x", b"context")]
    bad += [(key, box, b"Context"), (crypto.Key.generate(), box, b"context")]
    texts = set()
    for opener, message, context in bad:
        buffer = np.full(len(box), 7, dtype=np.uint8)
        with pytest.raises(crypto.Rejected) as refusal:
            opener.open_into(message, buffer, context=context)
        assert not buffer.any()
        with pytest.raises(crypto.Rejected) as again:
            opener.open(message, context=context)
        with pytest.raises(crypto.Rejected) as streamed:
            opener.reader(io.BytesIO(message), context=context).read()
        texts |= {str(refusal.value), str(again.value), str(streamed.value)}
    assert texts == {"the message was not accepted"}
    for message in (b"", box[:7], b"x" + box[1:], box[:4] + b"\x02" + box[5:]):
        with pytest.raises(crypto.Malformed):
            key.open(message, context=b"context")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=40_000), context=st.binary(max_size=30), at=st.integers(0), by=st.integers(1, 255))
def test_no_mutation_opens(data: bytes, context: bytes, at: int, by: int) -> None:
    key = crypto.Key.generate()
    box = bytearray(key.seal(data, context=context))
    assert key.open(box, context=context) == data
    box[at % len(box)] ^= by
    with pytest.raises((crypto.Rejected, crypto.Malformed)):
        key.open(box, context=context)


def test_secrets_do_not_leave_through_python(key: crypto.Key) -> None:
    identity = crypto.Identity.generate()
    ring = crypto.Keyring.generate("updates")
    round_key = crypto.RoundKey.generate(identity, round=1, expires=4_000_000_000)
    for secret in (key, identity, ring, round_key):
        for leak in (pickle.dumps, copy.copy, copy.deepcopy, hash, vars):
            with pytest.raises(TypeError):
                leak(secret)  # type: ignore[operator]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(secret, protocol)
        assert len(repr(secret)) < 130 and not hasattr(secret, "__dict__")
    assert repr(key) == f"Key(id='{key.id}')"
    assert pickle.loads(pickle.dumps(identity.peer)) == identity.peer


# ---- streams -----------------------------------------------------------------------------------------------------


def test_a_reader_seeks(key: crypto.Key) -> None:
    data = os.urandom(5 * CHUNK + 100)
    reader = key.reader(io.BytesIO(key.seal(data, context=b"")), context=b"")
    for at in (0, CHUNK - 1, CHUNK, 3 * CHUNK + 7, len(data) - 1, len(data), 5):
        assert reader.seek(at) == at and reader.tell() == at
        assert reader.read(1000) == data[at : at + 1000]
    assert reader.seek(-10, io.SEEK_END) == len(data) - 10
    assert reader.read() == data[-10:]


def test_numpy_reads_and_writes_through_streams(key: crypto.Key) -> None:
    weights, file = {"a": np.arange(100_000.0), "b": np.eye(50)}, io.BytesIO()
    plain = io.BytesIO()
    np.savez(plain, **weights)
    with key.writer(file, context=b"model") as out:
        out.write(plain.getvalue())
    file.seek(0)
    loaded = np.load(key.reader(file, context=b"model"))
    assert all((loaded[name] == weights[name]).all() for name in weights)


def test_a_stream_that_failed_is_not_finished(key: crypto.Key) -> None:
    file = io.BytesIO()
    with pytest.raises(RuntimeError), key.writer(file, context=b"") as out:
        out.write(os.urandom(100_000))
        raise RuntimeError("the producer failed")
    with pytest.raises(crypto.Rejected):
        key.open(file.getvalue(), context=b"")
    file = io.BytesIO()
    key.writer(file, context=b"").write(b"never closed")
    with pytest.raises(crypto.Rejected):
        key.open(file.getvalue(), context=b"")
    with key.writer(io.BytesIO(), context=b"") as out:
        pass
    with pytest.raises(ValueError, match="closed"):
        out.write(b"after the end")


def test_streams_are_files_for_those_who_ask(key: crypto.Key) -> None:
    """NumPy, gzip, zipfile and pandas look at a file before they use it."""

    def written(use: Callable[[Any], object]) -> Any:
        file = io.BytesIO()
        with key.writer(file, context=b"") as out:
            use(out)
        file.seek(0)
        return key.reader(file, context=b"")

    def zipped(out: Any) -> None:
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("name", b"data")

    array = np.arange(100_000.0)
    assert (np.load(written(lambda out: np.save(out, array))) == array).all()
    assert (np.load(written(lambda out: np.savez(out, a=array)))["a"] == array).all()
    assert zipfile.ZipFile(written(zipped)).read("name") == b"data"
    assert pd.read_csv(written(pd.DataFrame({"a": [1, 2]}).to_csv))["a"].tolist() == [1, 2]
    assert written(lambda out: out.writelines([b"a\n", b"b\n"])).readlines() == [b"a\n", b"b\n"]
    out, reader = key.writer(io.BytesIO(), context=b""), written(lambda out: out.write(b"data"))
    for unsupported in (out.read, lambda: out.seek(0), out.tell, out.fileno, reader.fileno):
        with pytest.raises(io.UnsupportedOperation):
            unsupported()


@pytest.mark.parametrize("wrong", [3, None, "/tmp/path", b"bytes"])
def test_what_is_no_file_is_one_typed_error(key: crypto.Key, wrong: Any) -> None:
    me = crypto.Identity.generate()
    calls: list[Callable[[], object]] = [
        lambda: key.writer(wrong, context=b""),
        lambda: key.reader(wrong, context=b""),
        lambda: me.writer([me.peer], wrong, context=b""),
        lambda: me.reader(crypto.PeerSet([me.peer]), wrong, context=b""),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="fileobj must be an open binary file"):
            call()


class Liar(io.RawIOBase):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def write(self, data: object) -> Any:
        return self.answer

    def read(self, size: int = -1) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [-1, 10**30, "text", 1.5, b"x" * 10**6])
def test_files_that_lie_are_refused(key: crypto.Key, answer: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        key.writer(Liar(answer), context=b"")
    with pytest.raises((ValueError, TypeError)):
        key.reader(Liar(answer), context=b"")


def test_a_long_write_answers_signals(key: crypto.Key) -> None:
    """4 GiB in one call, into a file that runs no Python: a signal after 50 ms of work is not kept waiting for the end."""
    code = """
import mmap, signal, time
from veilsum import crypto

class Stopped(Exception):
    pass

def stop(*_):
    raise Stopped

data = mmap.mmap(-1, 4 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
signal.signal(signal.SIGPROF, stop)
out = crypto.Key.generate().writer(open("/dev/null", "wb"), context=b"", threads=1)
start = time.process_time()
signal.setitimer(signal.ITIMER_PROF, 0.05)
try:
    out.write(data)
except Stopped:
    assert time.process_time() - start < 0.3
    print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "stopped\n"


class Broken(io.RawIOBase):
    def write(self, data: object) -> int:
        raise OSError("no space left")

    def read(self, size: int = -1) -> bytes:
        raise OSError("the disk is gone")


def test_errors_of_the_file_pass_through(key: crypto.Key) -> None:
    with pytest.raises(OSError, match="no space left"):
        key.writer(Broken(), context=b"")
    with pytest.raises(OSError, match="the disk is gone"):
        key.reader(Broken(), context=b"")


# ---- people ------------------------------------------------------------------------------------------------------


def test_sealing_to_people(tmp_path: Path) -> None:
    alice, bob, carol = (crypto.Identity.generate() for _ in range(3))
    listed = crypto.PeerSet([alice.peer])
    box = alice.seal_to([bob.peer], b"a share", context=b"round 7")
    assert len(box) <= len(b"a share") + 1434
    assert bob.open_from(listed, box, context=b"round 7") == (b"a share", alice.peer)
    with pytest.raises(crypto.NoKey):
        carol.open_from(listed, box, context=b"round 7")
    for peers, context in ((crypto.PeerSet([carol.peer]), b"round 7"), (listed, b"round 8")):
        with pytest.raises(crypto.Rejected, match="^the message was not accepted$"):
            bob.open_from(peers, box, context=context)
    bob.save(tmp_path / "bob", passphrase="words")
    assert stat.S_IMODE((tmp_path / "bob").stat().st_mode) == 0o600
    again = crypto.Identity.load(tmp_path / "bob", passphrase="words")
    assert again.peer == bob.peer and again.open_from(listed, box, context=b"round 7")[0] == b"a share"
    with pytest.raises(crypto.Rejected):
        crypto.Identity.load(tmp_path / "bob", passphrase="other words")
    with pytest.raises(crypto.Malformed):
        crypto.Key.load(tmp_path / "bob", passphrase="words")
    with pytest.raises(FileNotFoundError) as missing:
        crypto.Key.load(tmp_path / "nowhere", passphrase="words")
    assert missing.value.filename == str(tmp_path / "nowhere")
    assert crypto.Peer.from_text(bob.peer.to_text()) == bob.peer
    for text in ("", "veilsum-peer-AAAA", bob.peer.to_text()[:-1], bob.peer.to_text().replace("A", "B", 1)):
        with pytest.raises(crypto.Malformed):
            crypto.Peer.from_text(text)
    anonymous = crypto.seal_anonymously([bob.peer], b"data", context=b"")
    assert bob.open_anonymous(anonymous, context=b"") == b"data"
    with pytest.raises(crypto.Malformed):
        bob.open_from(listed, anonymous, context=b"")


def test_sealed_streams_name_their_sender_at_the_end() -> None:
    alice, bob, data = crypto.Identity.generate(), crypto.Identity.generate(), os.urandom(200_000)
    file = io.BytesIO()
    with alice.writer([bob.peer], file, context=b"model") as out:
        out.write(data)
    box = file.getvalue()
    assert bob.open_from(crypto.PeerSet([alice.peer]), box, context=b"model")[0] == data
    reader = bob.reader(crypto.PeerSet([alice.peer]), io.BytesIO(box), context=b"model")
    assert reader.raw.sender is None  # type: ignore[attr-defined]
    assert reader.read() == data
    assert reader.raw.sender == alice.peer  # type: ignore[attr-defined]
    with pytest.raises(crypto.Rejected):
        bob.reader(crypto.PeerSet([bob.peer]), io.BytesIO(box), context=b"model").read()


def test_lists_dates_roles_and_replays() -> None:
    alice, bob, admin = (crypto.Identity.generate() for _ in range(3))
    member = crypto.Member(alice.peer, roles=["client"], valid_from=100, valid_until=200)
    signed = crypto.PeerSet([member]).sign(admin, number=4)
    listed = crypto.PeerSet.verify(signed, by=admin.peer, last=4)
    assert (len(listed), listed.number, alice.peer in listed, bob.peer in listed) == (1, 4, True, False)
    for by, last in ((admin.peer, 5), (bob.peer, None)):
        with pytest.raises(crypto.Rejected):
            crypto.PeerSet.verify(signed, by=by, last=last)
    box = alice.seal_to([bob.peer], b"data", context=b"")
    assert bob.open_from(listed.with_role("client"), box, context=b"", now=150) == (b"data", alice.peer)
    for peers, now in ((listed, 99), (listed, 200), (listed, None), (listed.with_role("server"), 150)):
        with pytest.raises(crypto.Rejected):
            bob.open_from(peers, box, context=b"", now=now)
    guard = crypto.ReplayGuard(senders=10, messages=10)
    _, sender, message = bob.open_once(listed, box, context=b"", now=150)
    guard.admit(sender, round=7, message=message)
    with pytest.raises(crypto.Rejected):
        guard.admit(sender, round=7, message=message)
    with pytest.raises(vs.VeilsumError):
        crypto.Member(alice.peer, roles=["no spaces"])


def test_round_keys() -> None:
    alice, bob = crypto.Identity.generate(), crypto.Identity.generate()
    round_key = crypto.RoundKey.generate(bob, round=7, expires=2000)
    offer = crypto.RoundOffer.verify(round_key.offer, owner=bob.peer, round=7, now=1000)
    box = alice.seal_to([offer], b"data", context=b"")
    assert round_key.open_from(crypto.PeerSet([alice.peer]), box, context=b"", now=1999)[0] == b"data"
    with pytest.raises(crypto.NoKey):
        round_key.open_from(crypto.PeerSet([alice.peer]), box, context=b"", now=2000)
    for owner, number, now in ((alice.peer, 7, 1000), (bob.peer, 8, 1000), (bob.peer, 7, 2000)):
        with pytest.raises(crypto.Rejected):
            crypto.RoundOffer.verify(round_key.offer, owner=owner, round=number, now=now)
    round_key.close()
    with pytest.raises(crypto.NoKey):
        round_key.open_from(crypto.PeerSet([alice.peer]), box, context=b"", now=1999)


def test_keyrings(tmp_path: Path, key: crypto.Key) -> None:
    ring = crypto.Keyring()
    first = ring.generate("updates")
    box = ring.seal(b"data", context=b"c")
    second = ring.rotate("updates")
    assert first != second and [k["state"] for k in ring.keys] == ["decrypt-only", "primary"]
    assert ring.open(box, context=b"c") == b"data"
    ring.generate("shares")
    with pytest.raises(vs.VeilsumError, match="several purposes"):
        ring.seal(b"", context=b"")
    assert ring.open(ring.seal(b"x", context=b"", purpose="shares"), context=b"") == b"x"
    ring.disable(first)
    with pytest.raises(crypto.NoKey):
        ring.open(box, context=b"c")
    with pytest.raises(crypto.Rejected):
        ring.open(ring.seal(b"x", context=b"", purpose="shares"), context=b"y")
    for how in ({"passphrase": "words"}, {"key": key}):
        ring.save(tmp_path / "ring", **how)
        loaded = crypto.Keyring.load(tmp_path / "ring", **how)
        assert loaded.keys == ring.keys and isinstance(loaded, crypto.Keyring)
    loaded.enable(first)
    assert loaded.open(box, context=b"c") == b"data"
    with pytest.raises(TypeError):
        ring.save(tmp_path / "ring")
    with pytest.raises(vs.VeilsumError):
        ring.generate("")


# ---- processes ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_processes_share_no_salt_and_do_not_wait_for_threads(key: crypto.Key) -> None:
    large = bytes(8 << 20)
    key.seal(large, context=b"")  # threads have run in this process
    salts = set()
    for _ in range(8):
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            box = key.seal(large, context=b"") if _ == 0 else key.seal(b"same", context=b"same")
            file = io.BytesIO()
            with key.writer(file, context=b"same") as out:
                out.write(b"same")
            identity = crypto.Identity.generate()
            os.write(there, box[8:32] + file.getvalue()[8:32] + bytes.fromhex(crypto.Key.generate().id)[:8].ljust(24)
                     + bytes.fromhex(identity.peer.id)[:24])
            os._exit(0)
        os.close(there)
        with os.fdopen(here, "rb") as answer:
            drawn = answer.read()
        assert os.waitpid(child, 0)[1] == 0 and len(drawn) == 96
        salts |= {drawn[at : at + 24] for at in range(0, 96, 24)}
        salts |= {key.seal(b"same", context=b"same")[8:32]}
    assert len(salts) == 8 * 5


def test_threads_share_no_salt(key: crypto.Key) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        boxes = list(pool.map(lambda _: key.seal(b"same", context=b"same"), range(2000)))
    assert len({box[8:32] for box in boxes}) == 2000
    assert all(key.open(box, context=b"same") == b"same" for box in boxes[:50])


# ---- command line ------------------------------------------------------------------------------------------------


def veilsum(*arguments: str, stdin: bytes = b"", good: bool = True) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "veilsum", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, "VEILSUM_PASSPHRASE": "correct horse"},
        check=False,
    )
    assert (done.returncode == 0) is good, done.stderr.decode()
    return done


def test_keygen_seal_and_open(tmp_path: Path) -> None:
    data = os.urandom(500_000)
    alice, bob = (json.loads(veilsum("keygen", str(tmp_path / who), "--json").stdout) for who in ("alice", "bob"))
    assert "is there already" in veilsum("keygen", str(tmp_path / "bob"), good=False).stderr.decode()
    (tmp_path / "bob.peer").write_text(bob["peer"])
    no_peer = veilsum("seal", "--identity", str(tmp_path / "alice"), "--to", str(tmp_path / "bob"), "--context", "c", good=False)
    assert no_peer.stderr.startswith(b"veilsum: a peer's text begins with")
    sealed = veilsum(
        "seal", "--identity", str(tmp_path / "alice"), "--to", str(tmp_path / "bob.peer"), "--context", "c", stdin=data
    ).stdout
    opening = ("open", "--identity", str(tmp_path / "bob"), "--from", alice["peer"], "--context")
    opened = veilsum(*opening, "c", "--json", stdin=sealed)
    assert opened.stdout == data and json.loads(opened.stderr) == {"opened": len(data), "sender": alice["id"]}
    target = tmp_path / "opened"
    (tmp_path / "sealed").write_bytes(sealed[:-1])
    cut = veilsum(*opening, "c", "-i", str(tmp_path / "sealed"), "-o", str(target), good=False)
    assert cut.stderr == b"veilsum: the message was not accepted\n" and not target.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alice", "bob", "bob.peer", "sealed"]

    veilsum("keygen", "--key", str(tmp_path / "key"))
    veilsum("seal", "--key", str(tmp_path / "key"), "--context", "c", "-o", str(tmp_path / "box"), stdin=data)
    veilsum("open", "--key", str(tmp_path / "key"), "--context", "c", "-i", str(tmp_path / "box"), "-o", str(target))
    assert target.read_bytes() == data
    veilsum("open", "--key", str(tmp_path / "key"), "--context", "d", "-i", str(tmp_path / "box"), good=False)


def test_a_pipe_of_any_size_takes_bounded_memory(tmp_path: Path) -> None:
    """Sealing and opening 64 MiB (10 GiB with VEILSUM_DEEP) peaks at most 16 MiB above sealing nothing."""
    size = 10 << 30 if "VEILSUM_DEEP" in os.environ else 64 << 20
    code = """
import io, resource, sys
from veilsum import crypto

class Source(io.RawIOBase):
    left = int(sys.argv[1])
    def readable(self): return True
    def readinto(self, buffer):
        taken = min(len(buffer), self.left)
        self.left -= taken
        return taken

key = crypto.Key.generate()
source = io.BufferedReader(Source())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[2], "wb") as file, key.writer(file, context=b"") as out:
    while piece := source.read(1 << 20):
        out.write(piece)
with open(sys.argv[2], "rb") as file:
    reader, count = key.reader(file, context=b""), 0
    while piece := reader.read(1 << 20):
        count += len(piece)
assert count == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(size), str(tmp_path / "box")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 16 * 1024, f"{done.stdout} KiB"
