"""``veilsum keygen``, ``seal`` and ``open``: files and pipes of any size."""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from .._errors import ArgumentError
from ..crypto import Identity, Key, Peer, PeerSet

PIECE = 1 << 20
LONGEST_PEER = 1 << 16


def register(subparsers: Any) -> None:
    """Add ``keygen``, ``seal`` and ``open``."""
    keygen = subparsers.add_parser("keygen", help="make an identity, or a key to share")
    keygen.add_argument("file", type=Path, help="where the secret goes, encrypted under a passphrase")
    keygen.add_argument("--key", action="store_true", help="a symmetric key; by default an identity")
    keygen.add_argument("--force", action="store_true", help="replace a file that is there")
    _passphrase(keygen)
    keygen.add_argument("--json", action="store_true", help="print the answer as JSON")
    keygen.set_defaults(run=run_keygen)

    seal = subparsers.add_parser("seal", help="seal a file or a pipe")
    _ends(seal)
    seal.add_argument("--to", action="append", default=[], metavar="PEER", help="a recipient: its text, or a file of it")
    seal.set_defaults(run=run_seal)

    open_ = subparsers.add_parser("open", help="open what was sealed")
    _ends(open_)
    open_.add_argument("--from", action="append", default=[], dest="sender", metavar="PEER",
                       help="a sender to accept: its text, or a file of it")
    open_.set_defaults(run=run_open)


def _ends(command: argparse.ArgumentParser) -> None:
    whose = command.add_mutually_exclusive_group(required=True)
    whose.add_argument("--key", type=Path, metavar="FILE", help="a key file of keygen --key")
    whose.add_argument("--identity", type=Path, metavar="FILE", help="an identity file of keygen")
    command.add_argument("--context", required=True, help="what the data are and for whom; the same for seal and open")
    command.add_argument("-i", "--input", type=Path, help="a file; standard input by default")
    command.add_argument("-o", "--output", type=Path, help="a file; standard output by default")
    _passphrase(command)
    command.add_argument("--json", action="store_true", help="print what was done as JSON, on standard error")


def _passphrase(command: argparse.ArgumentParser) -> None:
    command.add_argument("--passphrase-file", type=Path, metavar="FILE",
                         help="its first line; by default VEILSUM_PASSPHRASE, or a question on the terminal")


def passphrase(arguments: argparse.Namespace, *, twice: bool = False) -> str:
    """The passphrase from a file, the environment or the terminal."""
    if arguments.passphrase_file is not None:
        return str(arguments.passphrase_file.read_text(encoding="utf-8").split("\n", 1)[0])
    if "VEILSUM_PASSPHRASE" in os.environ:
        return os.environ["VEILSUM_PASSPHRASE"]
    words = getpass.getpass("passphrase: ")
    if twice and getpass.getpass("again: ") != words:
        raise ArgumentError("the passphrases differ: type the same one twice")
    return words


def peer(text: str) -> Peer:
    """A peer from its text or from a file that holds it."""
    if text.startswith("veilsum-peer-"):
        return Peer.from_text(text)
    with Path(text).open(encoding="ascii", errors="replace") as file:
        return Peer.from_text(file.read(LONGEST_PEER))


def run_keygen(arguments: argparse.Namespace) -> None:
    """Make a key or an identity."""
    if arguments.file.exists() and not arguments.force:
        raise ArgumentError(f"{arguments.file} is there already: choose another name, or give --force")
    words = passphrase(arguments, twice=True)
    if arguments.key:
        key = Key.generate()
        key.save(arguments.file, passphrase=words)
        _say(arguments, {"file": str(arguments.file), "kind": "key", "id": key.id}, f"key {key.id}")
    else:
        identity = Identity.generate()
        identity.save(arguments.file, passphrase=words)
        text = identity.peer.to_text()
        facts = {"file": str(arguments.file), "kind": "identity", "id": identity.peer.id, "peer": text}
        _say(arguments, facts, text)


def run_seal(arguments: argparse.Namespace) -> None:
    """Seal from the input to the output."""
    context = arguments.context.encode()
    with _files(arguments) as (source, sink):
        if arguments.key is not None:
            if arguments.to:
                raise ArgumentError("--to goes with --identity: a shared key has no recipients")
            writer: Any = Key.load(arguments.key, passphrase=passphrase(arguments)).writer(sink, context=context)
        else:
            if not arguments.to:
                raise ArgumentError("no recipient: give --to once for each")
            recipients = [peer(text) for text in arguments.to]
            identity = Identity.load(arguments.identity, passphrase=passphrase(arguments))
            writer = identity.writer(recipients, sink, context=context)
        with writer:
            count = _copy(source, writer, arguments.input)
    _report(arguments, {"sealed": count})


def run_open(arguments: argparse.Namespace) -> None:
    """Open from the input to the output.

    Into a file, all or nothing. Into a pipe, data go out as their chunks are authenticated: who sent a message to an
    identity, and that it was whole, is known when the command has ended well.
    """
    context = arguments.context.encode()
    facts: dict[str, Any] = {}
    with _files(arguments) as (source, sink):
        reader: Any
        if arguments.key is not None:
            reader = Key.load(arguments.key, passphrase=passphrase(arguments)).reader(source, context=context)
            facts["opened"] = _copy(reader, sink, arguments.input)
        else:
            if not arguments.sender:
                raise ArgumentError("no sender to accept: give --from once for each")
            listed = PeerSet([peer(text) for text in arguments.sender])
            identity = Identity.load(arguments.identity, passphrase=passphrase(arguments))
            reader = identity.reader(listed, source, context=context)
            facts["opened"] = _copy(reader, sink, arguments.input)
            facts["sender"] = reader.raw.sender.id
    _report(arguments, facts)


@contextmanager
def _files(arguments: argparse.Namespace) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The two ends. A file that is written appears whole, when everything went well, or not at all."""
    source = sys.stdin.buffer if arguments.input is None else arguments.input.open("rb")
    try:
        if arguments.output is None:
            yield source, sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        beside = arguments.output.with_name(f"{arguments.output.name}.{os.getpid()}.new")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
                yield source, sink
            beside.replace(arguments.output)
        finally:
            beside.unlink(missing_ok=True)
    finally:
        if arguments.input is not None:
            source.close()


def _copy(source: Any, sink: Any, path: Path | None) -> int:
    size = None if path is None else path.stat().st_size
    count = 0
    with tqdm(total=size, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), file=sys.stderr) as bar:
        while piece := source.read(PIECE):
            sink.write(piece)
            count += len(piece)
            bar.update(len(piece))
    return count


def _say(arguments: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    print(json.dumps(facts) if arguments.json else text)


def _report(arguments: argparse.Namespace, facts: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(facts), file=sys.stderr)
