"""Step 5: everything above as pictures, in one file that needs no network."""

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import __version__
from ..accounting import Ledger
from .data import PUBLIC_PARAMETERS
from .table import QUANTILES, SPLIT, Figures
from .training import LOST_ROUND, LOST_SITE, ROUNDS, Quality, Trained, uniformity

INK, ACCENT, WARM, PALE = "#1d2733", "#2a6f97", "#c8553d", "#d7dee5"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "veilsum",
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>veilsum: the main job</title>
<style>
body {{ font: 16px/1.55 system-ui, sans-serif; color: #1d2733; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: 0; }} h2 {{ font-size: 1.2rem; margin-top: 2.4rem; border-top: 1px solid #d7dee5; padding-top: 1rem; }}
figure {{ margin: 1rem 0; }} figcaption {{ color: #46535f; }} svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .92rem; }} td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d7dee5; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }} code {{ font-size: .85rem; overflow-wrap: anywhere; }}
.public {{ background: #fdf3ef; border-left: 4px solid #c8553d; padding: .5rem 1rem; }}
</style></head><body>
<h1>Sums without people</h1>
<p>RAND Health Insurance Experiment (public domain, six sites). Everything on this page together is
({epsilon}, {delta})-differentially private for each person, add or remove one person, except what is marked as public.</p>
{sections}
<p><small>veilsum {version}</small></p>
</body></html>
"""


def write(path: Path, figures: Figures, trained: Trained, quality: Quality | None, ledger: Ledger) -> None:
    """Write the report to ``path``."""
    with plt.rc_context(STYLE):
        sections = [
            _section("The table", _table(figures)),
            _section("People and visits by group", _histograms(figures)),
            _section("The budget", _budget(ledger)),
            *([_section("The model", _auc(trained, quality))] if quality else []),
            _section("What was promised while training", _training(trained)),
            _section("What the server saw", _server(trained)),
            _section("Where each public parameter came from", _parameters()),
        ]
    page = PAGE.format(
        sections="\n".join(sections),
        version=__version__,
        epsilon=f"{float(ledger.spent.epsilon):g}",
        delta=f"{float(ledger.spent.delta):.3g}",
    )
    path.write_text(page, encoding="utf-8")


def _section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{body}"


def _figure(figure: Figure, caption: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    svg = buffer.getvalue()
    return f"<figure>{svg[svg.index('<svg'):]}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _table(figures: Figures) -> str:
    rows = []
    for name, release, digits in (("people", figures.people, 0), ("mean visits a year", figures.mean, 4)):
        low, high = release.interval()
        rows.append((name, f"{float(release.value):,.{digits}f}", f"{low:,.{digits}f} to {high:,.{digits}f}"))
    for q, value, (low, high) in zip(QUANTILES, figures.quantiles.value, figures.quantiles.interval(), strict=True):
        rows.append((f"{q:.0%} quantile of visits", f"{value:.2f}", f"{low:.2f} to {high:.2f}"))
    figure, axes = plt.subplots(figsize=(8, 2.2))
    values = np.asarray(figures.quantiles.value, float)
    intervals = np.asarray(figures.quantiles.interval(), float)
    axes.errorbar(values, range(len(values)), xerr=_whiskers(values, intervals), fmt="o", color=ACCENT, capsize=4)
    axes.set_yticks(range(len(values)), [f"{q:.0%}" for q in QUANTILES])
    axes.set_xlabel("visits a year")
    axes.set_xlim(-0.5, 10.5)
    axes.set_ylim(-0.6, len(values) - 0.4)
    refused = f"<p>One query more was refused: <em>{html.escape(figures.refusal)}</em></p>"
    caption = (
        "Quantiles of visits with their 95 % intervals. Visits above 10 count as 10, and years beyond a person's third "
        "are left out: that bias is in no interval."
    )
    return _rows(("figure", "value", "95 % interval"), rows) + _figure(figure, caption) + refused


def _histograms(figures: Figures) -> str:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=[1, 2])
    for axes, title, release in ((left, "site", figures.by_site), (right, "insurance plan", figures.by_plan)):
        keys = list(release.value)
        values = np.asarray([release.value[key] for key in keys], float)
        intervals = np.asarray([release.interval()[key] for key in keys], float)
        axes.bar(range(len(keys)), values, color=PALE, edgecolor=ACCENT)
        axes.errorbar(range(len(keys)), values, yerr=_whiskers(values, intervals), fmt="none", ecolor=INK, capsize=3)
        axes.set_xticks(range(len(keys)), [str(key) for key in keys])
        axes.set_xlabel(title)
    left.set_ylabel("person-years kept")
    figure.tight_layout()
    caption = (
        "The six sites are public, so each has a bar whatever the data. The plans were not named beforehand: a plan is "
        "shown only if enough people have it, and the choice was paid for with delta."
    )
    return _figure(figure, caption)


def _whiskers(values: np.ndarray[Any, Any], intervals: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.maximum(np.stack([values - intervals[:, 0], intervals[:, 1] - values]), 0))


def _budget(ledger: Ledger) -> str:
    names = [*SPLIT, f"training, {ROUNDS} rounds"]
    costs = [*SPLIT.values(), 1.0]
    figure, axes = plt.subplots(figsize=(8, 2.4))
    left = 0.0
    colors = plt.get_cmap("Blues")(np.linspace(0.3, 0.8, len(costs)))
    for name, cost, color in zip(names, costs, colors, strict=True):
        axes.barh(0, cost, left=left, color=color, edgecolor="white")
        axes.text(left + cost / 2, 0.46, name, ha="left", rotation=25, fontsize=9)
        left += cost
    axes.set_xlim(0, left * 1.08)
    axes.set_ylim(-0.5, 1.4)
    axes.set_yticks([])
    axes.set_xlabel("epsilon spent")
    axes.spines["left"].set_visible(False)
    caption = (
        f"Each spend was made durable before its number was shown. Spent in all: epsilon {float(ledger.spent.epsilon):g}, "
        f"delta {float(ledger.spent.delta):.3g}. The ledger's chain ends in {ledger.head}."
    )
    return _figure(figure, caption)


def _auc(trained: Trained, quality: Quality) -> str:
    figure, axes = plt.subplots(figsize=(8, 3))
    axes.plot(range(1, len(quality.auc) + 1), quality.auc, color=ACCENT, marker=".", label="private model")
    axes.axhline(quality.auc_without_privacy, color=WARM, linestyle="--", label="without privacy")
    axes.axvline(LOST_ROUND + 1, color=PALE, linewidth=6, zorder=0)
    axes.set_xlabel("round")
    axes.set_ylabel("AUC on public test people")
    axes.legend(frameon=False, loc="lower right")
    caption = (
        f"The model improves while every round is noisy. In round {LOST_ROUND + 1} (shaded) site {LOST_SITE} was lost after "
        "sharing its keys. AUC is computed without privacy, on people who are declared public."
    )
    return '<div class="public">Not private: possible because this data set is public.</div>' + _figure(figure, caption)


def _training(trained: Trained) -> str:
    return (
        f"<p>Promised: {html.escape(trained.promise)}.</p><p>The last round: {html.escape(trained.statement)}.</p>"
        f"<p>As the rounds really happened, with "
        f"{min(trained.survivors)} to {max(trained.survivors)} sites counted, they cost epsilon {trained.epsilon:.4f}. "
        "Each person is at one site; the relation is that the person's contribution becomes zero; who takes part is "
        "public; no amplification by sampling is claimed.</p>"
    )


def _server(trained: Trained) -> str:
    words = np.concatenate(trained.masked)
    statistic, p_value = uniformity(trained)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
    left.hist(words / 2.0**trained.modulus_bits, bins=16, range=(0, 1), color=PALE, edgecolor=ACCENT)
    left.axhline(len(words) / 16, color=INK, linewidth=1)
    left.set_xlabel(f"masked words of site 1, as a part of 2^{trained.modulus_bits}")
    right.bar(range(len(trained.learned)), trained.learned, color=PALE, edgecolor=WARM)
    right.set_xlabel("coordinate of the sum that it learned")
    figure.tight_layout()
    shown = " ".join(f"{int(word):x}" for word in trained.masked[-1][:8])
    caption = (
        f"Left: what one site sent, uniform to the eye and to a test (chi-square {statistic:.1f} at 15 degrees of freedom, "
        f"p = {p_value:.2f}). Right: the noisy sum over all sites, the only thing that the server can read."
    )
    return _figure(figure, caption) + f"<p>First words of the last round: <code>{shown}</code></p>"


def _parameters() -> str:
    return _rows(("parameter", "value", "source"), PUBLIC_PARAMETERS)
