"""The demo's course: table, training, total, and what the server saw."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import accounting
from . import data, report, table, training

TABLE_EPSILON, TABLE_DELTA = 1, 1e-6
TRAINING_EPSILON, TRAINING_DELTA = 1, 1e-5
TOTAL_EPSILON, TOTAL_DELTA = 2, 1.1e-5


@dataclass(frozen=True)
class Options:
    """What ``veilsum demo`` can be told."""

    reveal_truth: bool = False
    ledger: Path | None = None
    report: Path = Path("veilsum-report.html")
    progress: bool = True


def run(options: Options) -> None:
    """Run the main job and write the report."""
    frame = data.load()
    path = options.ledger or _fresh_ledger()
    ledger = accounting.Ledger.open(
        path,
        epsilon=TOTAL_EPSILON,
        delta=TOTAL_DELTA,
        dataset="RAND Health Insurance Experiment",
        unit="zper",
        neighbors="add-remove",
        filter="basic",
    )
    print(f"Data     RAND Health Insurance Experiment, six sites, public domain")
    print(f"Ledger   {path}: epsilon {TOTAL_EPSILON}, delta {TOTAL_DELTA} for everything below\n")

    figures = table.publish(frame, ledger, epsilon=TABLE_EPSILON, delta=TABLE_DELTA)
    table.show(figures, frame if options.reveal_truth else None)

    people = float(figures.people.value)
    trained = training.train(
        frame,
        ledger,
        epsilon=TRAINING_EPSILON,
        delta=TRAINING_DELTA,
        people=people,
        progress=options.progress,
    )
    quality = training.reveal(frame, trained, progress=options.progress) if options.reveal_truth else None
    training.show(trained, quality)

    print("\n3. One total")
    print("   The table and the model are about the same people, so their budgets add up.")
    print(f"   spent      epsilon {float(ledger.spent.epsilon):g}, delta {float(ledger.spent.delta):.3g}")
    print(f"   remaining  epsilon {float(ledger.remaining.epsilon):g}, delta {float(ledger.remaining.delta):.3g}")
    print(f"   ledger     {len(ledger.history())} spends, verified, head {ledger.head[:16]}...")
    ledger.verify()

    training.show_server(trained)

    report.write(options.report, figures, trained, quality, ledger)
    print(f"\n5. The report is in {options.report}")


def _fresh_ledger() -> Path:
    """A new ledger for this run, so that the demo can be run twice. Your own data have one ledger for good."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path(tempfile.mkdtemp(prefix="veilsum-demo-")) / f"{stamp}.ledger"
