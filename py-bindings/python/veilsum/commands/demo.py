"""``veilsum demo``: the main job on real data."""

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Add ``demo``."""
    command = subparsers.add_parser("demo", help="the main job, end to end, on real data")
    command.add_argument("--reveal-truth", action="store_true", help="also print figures without privacy")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the demo."""
    raise SystemExit("the demo is not written yet")
