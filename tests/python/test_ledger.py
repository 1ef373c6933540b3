"""The ledger from Python: what it refuses, what it remembers, who may share it."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import veilsum as vs
from veilsum.accounting import BudgetExceeded, Event, Ledger


def pure(epsilon: str) -> Event:
    return Event.from_dict({"kind": "pure", "epsilon": epsilon})


def gaussian(noise_multiplier: str) -> Event:
    return Event.from_dict({"kind": "gaussian", "noise_multiplier": noise_multiplier})


TENTH = pure("1/10")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "survey.ledger"


def test_ten_tenths_are_one(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    for _ in range(10):
        ledger.spend(TENTH)
    assert ledger.spent.epsilon == 1 and Fraction(ledger.remaining.epsilon) == 0 and float(ledger.spent.delta) == 0.0
    with pytest.raises(BudgetExceeded, match="nothing was spent"):
        ledger.spend(pure("1e-300"))
    assert ledger.spent.epsilon == 1


@pytest.mark.parametrize("epsilon", [1.0, 1, Fraction(1), Decimal("1.0"), np.float64(1.0), np.int64(1)])
def test_amounts_are_numbers_of_any_kind(path: Path, epsilon: Any) -> None:
    assert Ledger.open(path, epsilon=epsilon).budget.epsilon == 1


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf"), 1e-310])
def test_budgets_that_are_none(path: Path, epsilon: float) -> None:
    with pytest.raises(vs.VeilsumError, match="epsilon") as raised:
        Ledger.open(path, epsilon=epsilon)
    assert isinstance(raised.value, ValueError)
    assert not path.exists()


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "approximate", "epsilon": "0", "delta": "0"},
        {"kind": "approximate", "epsilon": "1e-320", "delta": "0"},
        {"kind": "composed", "events": []},
        {"kind": "gaussian", "noise_multiplier": "1"},
        {"kind": "randomized_response", "epsilon": "1/10", "categories": 2},
    ],
)
def test_spends_that_are_refused(path: Path, event: dict[str, Any]) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    with pytest.raises(vs.VeilsumError):
        ledger.spend(Event.from_dict(event))
    assert ledger.spent.epsilon == 0 and ledger.history() == []


def test_a_session_that_differs_is_refused(path: Path) -> None:
    same = {"epsilon": 1.0, "delta": 1e-6, "dataset": "survey", "unit": "person", "neighbors": "add-remove"}
    head = Ledger.open(path, **same).head
    for name, other in [
        ("epsilon", 2.0),
        ("delta", 1e-5),
        ("dataset", "another"),
        ("unit", "household"),
        ("neighbors", "replace-one"),
        ("filter", "basic"),
        ("event_delta", 1e-7),
    ]:
        with pytest.raises(vs.VeilsumError, match=name):
            Ledger.open(path, **(same | {name: other}))
    assert Ledger.open(path, **same).head == head


def test_filters(path: Path) -> None:
    assert Ledger.open(path, epsilon=1.0).filter == "pure"
    assert Ledger.open(path.with_suffix(".b"), epsilon=1.0, delta=1e-6).filter == "zcdp"
    assert Ledger.open(path.with_suffix(".c"), epsilon=1.0, delta=1e-6, filter="basic").filter == "basic"
    for bad in ({"filter": "pld"}, {"filter": "pure", "delta": 1e-6}, {"filter": "zcdp"}, {"event_delta": 1e-7}):
        with pytest.raises(vs.VeilsumError):
            Ledger.open(path.with_suffix(".d"), epsilon=1.0, **bad)


def test_many_small_spends_cost_less_than_their_sum(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0, delta=1e-6)
    for _ in range(150):
        ledger.spend(pure("1/100"))
    assert ledger.spent.epsilon < 1 and ledger.spent.delta <= Fraction(1, 10**6)
    ledger.spend(gaussian("100"))
    assert ledger.spent.epsilon + ledger.remaining.epsilon == 1
    with pytest.raises(vs.VeilsumError, match="poisson_sampled"):
        ledger.spend(Event.from_dict({"kind": "poisson_sampled", "rate": "1/10", "event": gaussian("1").to_dict()}))


@pytest.mark.parametrize(
    "x", [3.0, 7, np.float32(2.5), [1.0, 2.0], np.arange(6.0).reshape(2, 3), np.zeros((0, 2)), np.array(5.0)]
)
def test_the_same_key_is_one_spend_and_one_answer(path: Path, x: Any) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    m = vs.dp.Laplace(scale=10.0, sensitivity=1.0)
    first = ledger.release(m, x, key="cell 1", label="mean")
    again = Ledger.open(path, epsilon=1.0).release(m, x, key="cell 1", label="mean")
    assert type(first) is type(again) and np.shape(first) == np.shape(again)
    assert np.array_equal(first, again)
    if isinstance(first, np.ndarray):
        assert first.dtype == again.dtype
    assert ledger.spent.epsilon == Fraction(1, 10) and len(ledger.history()) == 1
    with pytest.raises(vs.VeilsumError, match="cell 1"):
        ledger.release(vs.dp.Laplace(scale=20.0, sensitivity=1.0), x, key="cell 1")
    with pytest.raises(vs.VeilsumError, match="cell 1"):
        ledger.spend(m.event, key="cell 1")


def test_integers_stay_integers(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    m = vs.dp.DiscreteLaplace(scale=10, sensitivity=1)
    for i, x in enumerate([2**62, np.arange(3)]):
        first, again = (ledger.release(m, x, key=f"k{i}") for _ in range(2))
        assert np.array_equal(first, again) and type(first) is type(again)


def test_without_a_key_each_release_is_paid(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=0.2)
    m = vs.dp.Laplace(scale=10.0, sensitivity=1.0)
    assert ledger.release(m, 1.0) != ledger.release(m, 1.0)
    with pytest.raises(BudgetExceeded):
        ledger.release(m, 1.0)


class Spy:
    """A mechanism that reports when it runs."""

    event = TENTH

    def __init__(self, ledger: Ledger, fails: bool = False) -> None:
        self.ledger, self.fails, self.calls = ledger, fails, 0

    def __repr__(self) -> str:
        return "Spy()"

    def release(self, x: float) -> float:
        self.calls += 1
        assert self.ledger.spent.epsilon > 0, "it ran before it was paid for"
        if self.fails:
            raise KeyboardInterrupt
        return x


@pytest.mark.parametrize("key", [None, "k"])
def test_paid_before_it_runs_and_never_run_unpaid(path: Path, key: str | None) -> None:
    ledger = Ledger.open(path, epsilon=0.1)
    spy = Spy(ledger, fails=True)
    with pytest.raises(KeyboardInterrupt):
        ledger.release(spy, 1.0, key=key)
    assert spy.calls == 1 and ledger.spent.epsilon == Fraction(1, 10)
    if key:  # The value was lost and nobody saw it: the same key makes another without paying again.
        assert ledger.release(Spy(ledger), 1.0, key=key) == 1.0
    spy = Spy(ledger)
    with pytest.raises(BudgetExceeded):
        ledger.release(spy, 1.0, key="another")
    assert spy.calls == 0


@pytest.mark.parametrize(
    ("mechanism", "x"),
    [
        (vs.dp.Laplace(scale=10.0, sensitivity=1.0), float("nan")),
        (vs.dp.Laplace(scale=10.0, sensitivity=1.0), [1.0, float("inf")]),
        (vs.dp.Laplace(scale=10.0, sensitivity=1.0), "text"),
        (vs.dp.DiscreteLaplace(scale=10, sensitivity=1), 1.5),
        (vs.dp.DiscreteLaplace(scale=10, sensitivity=1), [2**64]),
        (vs.dp.DiscreteLaplace(scale=10, sensitivity=1), 2.0**63),
    ],
)
def test_a_bad_input_costs_nothing(path: Path, mechanism: Any, x: Any) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    for key in (None, "k"):
        with pytest.raises((vs.VeilsumError, TypeError)):
            ledger.release(mechanism, x, key=key)
    with pytest.raises(TypeError):
        ledger.release(TENTH, 1.0)
    assert ledger.spent.epsilon == 0


def test_history_says_where_it_comes_from(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    ledger.spend(TENTH, label="mean age", key="k", provenance={"bounds": "[0, 120], stated"})
    ledger.release(vs.dp.Laplace(scale=10.0, sensitivity=1.0), 1.0)
    first, second = ledger.history()
    assert (first.label, first["label"], first.key, first.event) == ("mean age", "mean age", "k", TENTH)
    assert first.provenance == {"bounds": "[0, 120], stated"}
    assert first.version == vs.__version__ and first.time.year >= 2024
    assert first.cost["epsilon"] == Fraction(1, 10)
    assert "Laplace" in second.provenance["mechanism"]
    assert json.loads(json.dumps(first.to_dict()))["event"] == TENTH.to_dict()


def test_heads_pin(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0)
    ledger.spend(TENTH)
    old = path.read_bytes()
    ledger.spend(TENTH)
    head = ledger.head
    ledger.verify()
    ledger.verify(head=head)
    del ledger
    path.write_bytes(old)
    again = Ledger.open(path, epsilon=1.0)
    again.verify()
    with pytest.raises(vs.VeilsumError, match="row 2"):
        again.verify(head=head)
    with pytest.raises(vs.VeilsumError, match="head"):
        again.verify(head="nonsense")


def test_a_damaged_file_is_refused_and_left_alone(path: Path) -> None:
    Ledger.open(path, epsilon=1.0).spend(TENTH, label="a label to damage")
    damaged = path.read_bytes().replace(b"to damage", b"to forget")
    path.write_bytes(damaged)
    for opened in (lambda: Ledger.open(path, epsilon=1.0), lambda: Ledger.inspect(path)):
        with pytest.raises(vs.VeilsumError, match="row 1"):
            opened()
    assert path.read_bytes() == damaged


def test_looking_does_not_spend(path: Path) -> None:
    Ledger.open(path, epsilon=1.0, dataset="d").spend(TENTH)
    seen = Ledger.inspect(path)
    assert (seen.dataset, seen.spent.epsilon, seen.path) == ("d", Fraction(1, 10), path)
    with pytest.raises(vs.VeilsumError, match="looked at"):
        seen.spend(TENTH)


def test_ledgers_do_not_pickle(path: Path) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Ledger.open(path, epsilon=1.0))


def test_noiseless_releases_are_refused(path: Path) -> None:
    with pytest.warns(UserWarning, match="tests alone"):
        sys.modules.pop("veilsum.testing", None)
        from veilsum.testing import noiseless
    ledger = Ledger.open(path, epsilon=1.0)
    m = vs.dp.Laplace(scale=10.0, sensitivity=1.0)
    with noiseless(), pytest.raises(vs.VeilsumError, match="NOT PRIVATE"):
        ledger.release(m, 1.0)
    with noiseless(), pytest.raises(vs.VeilsumError, match="NOT PRIVATE"):
        ledger.spend(m.event)
    assert ledger.spent.epsilon == 0


def spend_until_refused(ledger: Ledger) -> int:
    accepted = 0
    while True:
        try:
            ledger.spend(pure("1/200"))
        except BudgetExceeded:
            return accepted
        accepted += 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_threads_and_forked_children_share_one_budget(path: Path) -> None:
    """The children inherit the open ledger while threads of the parent are spending from it."""
    ledger = Ledger.open(path, epsilon=1.0)
    accepted: list[int] = []
    threads = [threading.Thread(target=lambda: accepted.append(spend_until_refused(ledger))) for _ in range(4)]
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    for thread in threads:
        thread.start()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                results.put(spend_until_refused(ledger))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    for thread in threads:
        thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert sum(accepted) + sum(results.get() for _ in children) == 200
    ledger.verify()
    assert ledger.spent.epsilon == 1


def test_spawned_processes_share_one_budget(path: Path) -> None:
    code = (
        "import sys; from veilsum.accounting import *\n"
        "ledger, n = Ledger.open(sys.argv[1], epsilon=1.0), 0\n"
        "event = Event.from_dict({'kind': 'pure', 'epsilon': '1/50'})\n"
        "try:\n"
        "    while True: ledger.spend(event); n += 1\n"
        "except BudgetExceeded: print(n)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) for _ in range(4)]
    assert sum(int(process.communicate()[0]) for process in running) == 50


def test_pictures(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0, delta=1e-6, dataset="<survey>")
    for i in range(25):
        ledger.spend(gaussian("100"), label=f"<{i}>")
    html = ledger._repr_html_()
    assert "&lt;survey&gt;" in html and "<survey>" not in html and "&lt;24&gt;" in html and "5 earlier spends" in html
    assert "zcdp" in repr(ledger) and "epsilon" in repr(ledger)
    matplotlib = pytest.importorskip("matplotlib", reason="the plot is an optional extra")
    matplotlib.use("Agg")
    axes = ledger.plot()
    heights = axes.lines[0].get_ydata()
    assert len(heights) == 25 and np.all(np.diff(heights) > 0) and heights[-1] < 100


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "veilsum", "ledger", *arguments], capture_output=True, text=True)


def test_command_line(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=1.0, dataset="survey", unit="person")
    ledger.spend(TENTH, label="mean age")
    shown = run("show", str(path))
    assert shown.returncode == 0 and "mean age" in shown.stdout and "survey" in shown.stdout
    shown = json.loads(run("show", str(path), "--json").stdout)
    assert shown["spent"] == {"epsilon": 0.1, "delta": 0.0} and shown["history"][0]["label"] == "mean age"
    assert run("verify", str(path)).returncode == 0
    verified = json.loads(run("verify", str(path), "--head", ledger.head, "--json").stdout)
    assert verified["verified"] and verified["pinned"] and verified["head"] == ledger.head
    path.write_bytes(path.read_bytes().replace(b"mean age", b"mean wage"[:8]))
    refused = run("verify", str(path))
    assert refused.returncode == 1 and "row 1" in refused.stderr
    assert run("show", str(path.with_suffix(".none"))).returncode == 1


def test_a_session_of_another_relation_is_refused(tmp_path: Path) -> None:
    ledger = vs.accounting.Ledger.open(tmp_path / "budget.ledger", epsilon=1)
    with pytest.raises(vs.VeilsumError, match="replace-one"):
        vs.dp.Session({"x": [1, 2]}, unit=vs.dp.ROW, neighbors="replace-one", epsilon=1, ledger=ledger)
    vs.dp.Session({"x": [1, 2]}, unit=vs.dp.ROW, neighbors="add-remove", epsilon=1, ledger=ledger).count(epsilon=0.5)
    assert ledger.spent.epsilon == Fraction(1, 2)


def test_a_key_is_needed_where_one_was_given(path: Path, tmp_path: Path) -> None:
    mac_key = bytes(range(32))
    ledger = Ledger.open(path, epsilon=1.0, mac_key=mac_key)
    ledger.spend(TENTH)
    for opened in (lambda: Ledger.open(path, epsilon=1.0), lambda: Ledger.inspect(path)):
        with pytest.raises(vs.VeilsumError, match="mac_key"):
            opened()
    with pytest.raises(vs.VeilsumError, match="row 0"):
        Ledger.inspect(path, mac_key=mac_key[::-1])
    with pytest.raises(vs.VeilsumError, match="32 bytes drawn at random") as raised:
        Ledger.inspect(path, mac_key=b"short")
    assert isinstance(raised.value, ValueError)
    assert Ledger.inspect(path, mac_key=mac_key).spent.epsilon == Fraction(1, 10)

    key_file = tmp_path / "ledger.key"
    key_file.write_bytes(mac_key)
    command = [sys.executable, "-m", "veilsum", "ledger", "verify", str(path)]
    assert subprocess.run([*command, "--mac-key", str(key_file)], capture_output=True, check=False).returncode == 0
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "mac_key" in refused.stderr and "Traceback" not in refused.stderr
    missing = subprocess.run([*command, "--mac-key", str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert missing.returncode != 0 and "Traceback" not in missing.stderr


def test_history_says_where_parameters_came_from(path: Path) -> None:
    ledger = Ledger.open(path, epsilon=2.0, delta=1e-6, unit="person")
    table = {"person": np.arange(50), "days": np.arange(50) % 7.0, "site": ["a", "b"] * 25}
    session = vs.dp.Session(
        table, unit="person", neighbors="add-remove", epsilon=1.0, delta=1e-7, ledger=ledger, max_contributions=2
    )
    session.mean("days", bounds=(0, 7), epsilon=0.1)
    session.histogram("site", keys=["a", "b"], epsilon=0.1)
    session.histogram("site", epsilon=0.1, delta=1e-8)
    mean, public, private = ledger.history()
    assert mean.provenance["measure 0"].endswith("mean of days in [0, 7], stated")
    assert mean.provenance["unit"] == "column person, stated" and mean.provenance["limits"].startswith("2 rows")
    assert public.provenance["keys"] == "2 by site, stated"
    assert private.provenance["keys"] == "by site, chosen by private selection"
    assert len(mean.provenance["plan"]) == 64 and mean.version == vs.__version__
