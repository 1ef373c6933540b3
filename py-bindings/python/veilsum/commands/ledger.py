"""``veilsum ledger show|verify``: what a ledger says, and whether it is whole."""

import argparse
import json
from pathlib import Path
from typing import Any

from .._core import Ledger
from .._ledger import cost_text


def register(subparsers: Any) -> None:
    """Add ``ledger`` and its two subcommands."""
    command = subparsers.add_parser("ledger", help="look at a budget's file, or verify it")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, run, purpose in (
        ("show", show, "print the policy, what is spent and remains, and every spend"),
        ("verify", verify, "recompute every hash, charge and sum; exit with 1 if anything is wrong"),
    ):
        action = actions.add_parser(name, help=purpose, description=purpose)
        action.add_argument("path", help="the ledger's file")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.add_argument("--mac-key", metavar="FILE", help="the file with the 32 bytes of the ledger's key, if it has one")
        action.set_defaults(run=run)
    action.add_argument("--head", help="a head that was kept elsewhere, such as 7:9f86d0...")


def show(arguments: argparse.Namespace) -> None:
    """Print a ledger."""
    ledger = inspect(arguments)
    history = ledger.history()
    if arguments.json:
        print(json.dumps(summary(ledger) | {"history": [entry.to_dict() for entry in history]}, indent=2))
        return
    budget, spent, remaining = ledger.budget, ledger.spent, ledger.remaining
    print(f"{ledger.path}")
    print(f"  data set   {ledger.dataset!r}, per {ledger.unit!r}, {ledger.neighbors} neighbours")
    print(f"  budget     epsilon {float(budget.epsilon):g}, delta {float(budget.delta):g}, {ledger.filter} composition")
    print(f"  spent      epsilon {float(spent.epsilon):g}, delta {float(spent.delta):g}")
    print(f"  remaining  epsilon {float(remaining.epsilon):g}, delta {float(remaining.delta):g}")
    print(f"  head       {ledger.head}")
    for entry in history:
        print(f"  {entry.row:>6}  {entry.time:%Y-%m-%d %H:%M:%S}  {cost_text(entry.cost):<28}  {entry.event!r}  {entry.label}")


def verify(arguments: argparse.Namespace) -> None:
    """Verify a ledger; the error that it raises otherwise names the first row at fault."""
    ledger = inspect(arguments)
    ledger.verify(arguments.head)
    if arguments.json:
        print(json.dumps(summary(ledger) | {"verified": True, "pinned": arguments.head is not None}, indent=2))
        return
    print(f"{ledger.path}: every row verifies; head {ledger.head}")
    if arguments.head is None:
        print("without --head, a cut end or an old copy put back cannot be seen")


def inspect(arguments: argparse.Namespace) -> Ledger:
    """The ledger that the command names."""
    mac_key = Path(arguments.mac_key).read_bytes() if arguments.mac_key is not None else None
    return Ledger.inspect(arguments.path, mac_key=mac_key)


def summary(ledger: Ledger) -> dict[str, Any]:
    """A ledger without its rows; amounts as numbers."""
    amounts = {"budget": ledger.budget, "spent": ledger.spent, "remaining": ledger.remaining}
    return {
        "path": str(ledger.path),
        "dataset": ledger.dataset,
        "unit": ledger.unit,
        "neighbors": ledger.neighbors,
        "filter": ledger.filter,
        "head": ledger.head,
    } | {name: {"epsilon": float(a.epsilon), "delta": float(a.delta)} for name, a in amounts.items()}
