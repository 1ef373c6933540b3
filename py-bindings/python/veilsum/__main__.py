"""The command line: ``python -m veilsum`` or ``veilsum``.

Each module of ``veilsum.commands`` adds its subcommands with ``register``.
"""

import argparse
import sys
from collections.abc import Sequence

from . import VeilsumError, __version__
from .commands import demo, ledger, privacy, sealing


def parser() -> argparse.ArgumentParser:
    """Build the parser with every subcommand."""
    top = argparse.ArgumentParser(prog="veilsum", description="Publish sums without publishing people.")
    top.add_argument("--version", action="version", version=f"veilsum {__version__}")
    subparsers = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (demo, ledger, privacy, sealing):
        module.register(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors of veilsum and of the file system print one line and give exit status 1."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (VeilsumError, OSError) as error:
        print(f"veilsum: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
