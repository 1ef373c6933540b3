"""Step 1: a private table, in which one person is the unit."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from .. import dp
from ..accounting import BudgetExceeded, Ledger
from .data import ROWS_A_PERSON, SITES, VISITS

QUANTILES = (0.25, 0.5, 0.75)
SPLIT = {"people": 0.1, "mean visits": 0.2, "3 quantiles": 0.3, "by site": 0.2, "by plan": 0.2}


@dataclass(frozen=True)
class Figures:
    """The releases of the table, and the refusal of the query that went too far."""

    people: Any
    mean: Any
    quantiles: Any
    by_site: Any
    by_plan: Any
    refusal: str


def publish(frame: pd.DataFrame, ledger: Ledger, *, epsilon: float, delta: float) -> Figures:
    """Publish five queries, and show that a sixth is refused."""
    session = dp.Session(
        frame,
        unit="zper",
        neighbors="add-remove",
        max_contributions=ROWS_A_PERSON,
        max_groups=1,  # by the experiment's design a family keeps its site and its plan
        epsilon=epsilon,
        delta=delta,
        ledger=ledger,
    )
    people = session.count_units(epsilon=SPLIT["people"])
    mean = session.mean("mdvis", bounds=VISITS, epsilon=SPLIT["mean visits"])
    quantiles = session.quantile("mdvis", QUANTILES, bounds=VISITS, epsilon=SPLIT["3 quantiles"])
    by_site = session.histogram("site", keys=SITES, epsilon=SPLIT["by site"])
    by_plan = session.histogram("plan", epsilon=SPLIT["by plan"], delta=delta)
    try:
        session.count(epsilon=0.1)
    except BudgetExceeded as refused:
        refusal = str(refused)
    else:
        raise AssertionError("a query beyond the budget was answered")
    return Figures(people, mean, quantiles, by_site, by_plan, refusal)


def show(figures: Figures, truth: pd.DataFrame | None) -> None:
    """Print the table, each number with its 95 % interval and what its bounds mean."""
    print("1. A private table: one person is the unit (add-remove), at most 3 rows each")
    _line("people", figures.people)
    _line("mean visits a year", figures.mean)
    print("      visits count up to 10 a year and 3 years a person: that bias is in no interval")
    intervals = figures.quantiles.interval()
    for q, value, (low, high) in zip(QUANTILES, figures.quantiles.value, intervals, strict=True):
        print(f"   {f'{q:.0%} quantile of visits':28} {value:10.2f}   95 % [{low:.2f}, {high:.2f}]")
    for title, histogram in (("site", figures.by_site), ("plan (keys chosen privately)", figures.by_plan)):
        print(f"   person-years by {title}")
        bounds = histogram.interval()
        for key, value in histogram.value.items():
            low, high = bounds[key]
            print(f"      {key!s:>25} {value:10,.0f}   95 % [{low:,.0f}, {high:,.0f}]")
    print(f"   one query more: refused. {figures.refusal}")
    if truth is not None:
        kept = truth.mdvis.clip(*VISITS)
        print("   without privacy (possible because this data set is public):")
        print(f"      people {truth.zper.nunique():,}, mean of visits cut at 10: {kept.mean():.4f}, uncut: {truth.mdvis.mean():.4f}")


def _line(label: str, release: Any) -> None:
    low, high = release.interval()
    value = float(release.value)
    digits = 0 if value > 100 else 4
    print(f"   {label:28} {value:10,.{digits}f}   95 % [{low:,.{digits}f}, {high:,.{digits}f}]")
