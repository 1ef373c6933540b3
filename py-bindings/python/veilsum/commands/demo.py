"""``veilsum demo``: the main job on real data."""

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add ``demo``."""
    command = subparsers.add_parser(
        "demo",
        help="the main job, end to end, on real data",
        description="A private table and a federated model of the RAND Health Insurance Experiment, from one budget.",
    )
    command.add_argument(
        "--reveal-truth",
        action="store_true",
        help="also show figures without privacy (AUC, raw means): possible because this data set is public",
    )
    command.add_argument("--ledger", type=Path, help="spend from this ledger file instead of a new one")
    command.add_argument("--report", type=Path, default=Path("veilsum-report.html"), help="where the report goes")
    command.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bars")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the demo; pandas and matplotlib are imported only here."""
    from .. import demo

    demo.run(
        demo.Options(
            reveal_truth=arguments.reveal_truth,
            ledger=arguments.ledger,
            report=arguments.report,
            progress=arguments.progress,
        )
    )
