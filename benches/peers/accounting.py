"""``make bench-accounting``: certified accounting beside dp-accounting 0.6 and prv-accountant 0.2, on the same cases.

Each peer lives in a virtual environment of its own, made on first use; one that cannot be installed is named, with the
reason. Times are processor time, so that other work on the machine does not count: ours is the least of several runs, from
the making of the events to the answer, both directions, in one thread; the peers run once. Every answer is checked:
dp-accounting promises an upper bound, prv-accountant an interval.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import ROOT, interpreter


FIRST = (256 / 60000, 1.1, 14040)
DIFFERENT = [(0.002 + 0.0001 * i, 0.8 + 0.012 * i, 100) for i in range(100)]
# Name, (rate, sigma, steps) of every part, delta, least ratio to dp-accounting.
CASES: list[tuple[str, list[tuple[float, float, int]], float, int]] = [
    ("q 256/60000, sigma 1.1, 14040 steps, delta 1e-5", [FIRST], 1e-5, 200),
    ("q 0.0819, sigma 2, 2500 steps, delta 1e-5", [(0.0819, 2.0, 2500)], 1e-5, 300),
    ("q 0.001, sigma 0.8, 100000 steps, delta 1e-7", [(1e-3, 0.8, 100_000)], 1e-7, 150),
    ("100 different, 100 steps each, delta 1e-6", DIFFERENT, 1e-6, 1000),
    ("the first, delta 1e-12", [FIRST], 1e-12, 0),
    ("the first, delta 1e-20", [FIRST], 1e-20, 0),
    ("the first, delta 1e-30", [FIRST], 1e-30, 0),
]


@dataclass
class Answer:
    """What one library said, and how long it took."""

    lo: float
    hi: float
    seconds: float

    def width(self) -> float:
        """Relative to the upper end."""
        return (self.hi - self.lo) / self.hi if self.hi < float("inf") else float("inf")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


# ---- ours ---------------------------------------------------------------------------------------


def ours() -> dict[str, Answer]:
    """Every case, the best of several runs."""
    from veilsum import accounting as ac

    def epsilon(parts: list[tuple[float, float, int]], delta: float) -> ac.Enclosure:
        accountant = ac.PldAccountant(neighbors="add-remove")
        for rate, sigma, steps in parts:
            accountant.compose(ac.poisson_sampled(rate, ac.gaussian(sigma)), steps)
        return accountant.epsilon(delta)

    def best(work: Callable[[], Any]) -> tuple[Any, float]:
        return min((timed(work) for _ in range(20)), key=lambda run: run[1])

    answers = {}
    for name, parts, delta, _ in CASES:
        found, seconds = best(lambda parts=parts, delta=delta: epsilon(parts, delta))
        answers[name] = Answer(found.lo, found.hi, seconds)
    rate, _, steps = FIRST
    for target in (1.0, 0.01):
        event = lambda sigma: ac.poisson_sampled(rate, ac.gaussian(sigma))  # noqa: E731
        sigma, seconds = best(lambda t=target: ac.calibrate(event, epsilon=t, delta=1e-5, steps=steps))
        assert epsilon([(rate, sigma, steps)], 1e-5).hi <= target < epsilon([(rate, sigma * (1 - 1e-7), steps)], 1e-5).lo
        answers[f"calibrate {target:g}"] = Answer(sigma * (1 - 1e-8), sigma, seconds)
    return answers


def memory() -> float:
    """MB that calibrating at epsilon 0.01 takes at most, the interpreter and its imports included: in a process of its own."""
    program = (
        "import resource; from veilsum import accounting as ac; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "ac.calibrate(lambda s: ac.poisson_sampled(256 / 60000, ac.gaussian(s)), epsilon=0.01, delta=1e-5, steps=14040); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, before)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    most, before = map(int, done.stdout.split())
    return most / 1024 if most > before else before / 1024


def lattice() -> dict[str, Answer]:
    """The cases of the contour by the lattice alone, through the Rust benchmark: processor time of many rounds."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "veilsum-benches"], check=True, cwd=ROOT)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    answers = {}
    for name, parts, delta, _ in CASES[:4]:
        rounds = 3 if len(parts) > 1 else 20
        case = [":".join(map(repr, part)) for part in parts]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [target / "release" / "veilsum-benches", "accounting", repr(delta), str(rounds), *case]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lo, hi = map(float, done.stdout.split())
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        answers[name] = Answer(lo, hi, used / rounds)
    return answers


# ---- peers, each under its own interpreter ------------------------------------------------------


def dp_accounting() -> dict[str, Answer]:
    """Google's: pessimistic, so an upper bound."""
    from dp_accounting import calibrate_dp_mechanism, dp_event
    from dp_accounting.pld import PLDAccountant

    def event(rate: float, sigma: float) -> Any:
        return dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(sigma))

    def epsilon(parts: list[tuple[float, float, int]], delta: float) -> float:
        accountant = PLDAccountant()
        for rate, sigma, steps in parts:
            accountant.compose(event(rate, sigma), steps)
        return float(accountant.get_epsilon(delta))

    answers = {}
    for name, parts, delta, _ in CASES:
        found, seconds = timed(lambda parts=parts, delta=delta: epsilon(parts, delta))
        answers[name] = Answer(0.0, found, seconds)
    rate, _, steps = FIRST
    make = lambda sigma: dp_event.SelfComposedDpEvent(event(rate, sigma), steps)  # noqa: E731
    sigma, seconds = timed(lambda: calibrate_dp_mechanism(PLDAccountant, make, 1.0, 1e-5))
    answers["calibrate 1"] = Answer(0.0, sigma, seconds)
    return answers


def prv_accountant() -> dict[str, Answer]:
    """Microsoft's: an interval of half width 0.01 (its usual setting), rounding left out."""
    from prv_accountant import PRVAccountant
    from prv_accountant.privacy_random_variables import PoissonSubsampledGaussianMechanism

    def epsilon(parts: list[tuple[float, float, int]], delta: float) -> tuple[float, float, float]:
        laws = [PoissonSubsampledGaussianMechanism(rate, sigma) for rate, sigma, _ in parts]
        counts = [steps for _, _, steps in parts]
        accountant = PRVAccountant(prvs=laws, max_self_compositions=counts, eps_error=0.01, delta_error=delta / 1000)
        return accountant.compute_epsilon(delta=delta, num_self_compositions=counts)

    answers = {}
    for name, parts, delta, _ in CASES[:3]:
        (lo, _, hi), seconds = timed(lambda parts=parts, delta=delta: epsilon(parts, delta))
        answers[name] = Answer(float(lo), float(hi), seconds)
    return answers


PEERS = {"dp_accounting": dp_accounting, "prv_accountant": prv_accountant}


def of_peer(name: str) -> dict[str, Answer] | str:
    """Its answers, or why there are none."""
    try:
        done = subprocess.run([interpreter(name), __file__, name], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        return ((error.stderr or "").strip().splitlines() or ["no reason given"])[-1]
    return {case: Answer(**answer) for case, answer in json.loads(done.stdout).items()}


# ---- the table ----------------------------------------------------------------------------------


def main() -> None:
    if len(sys.argv) > 1:
        answers = PEERS[sys.argv[1]]()
        print(json.dumps({case: vars(answer) for case, answer in answers.items()}))
        return
    load = os.getloadavg()[0]
    found = ours()
    most = memory()
    second = lattice()
    peers = {name: of_peer(name) for name in PEERS}
    print(f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after; Python {sys.version.split()[0]}")
    for name, answers in peers.items():
        if isinstance(answers, str):
            print(f"{name} is missing: {answers}")
    google, microsoft = ({} if isinstance(answers, str) else answers for answers in peers.values())

    print(f"{'epsilon, both directions':62}{'ours: hi':>15}{'width':>8}{'ms':>8}{'dp-acc.':>11}{'ms':>9}{'ratio':>8}{'PRV ms':>8}")
    missed = []
    for name, _, delta, least in CASES:
        mine, theirs, other = found[name], google.get(name), microsoft.get(name)
        width = mine.width()
        line = f"{name:62}{mine.hi:15.10f}{width:8.0e}{1e3 * mine.seconds:8.3f}"
        if theirs:
            ratio = theirs.seconds / mine.seconds
            line += f"{theirs.hi:11.6f}{1e3 * theirs.seconds:9.0f}{ratio:8.0f}"
            # It rounds every loss up to a multiple of 1e-4, and adds the tails it cuts to delta: above the truth, by a
            # thousandth in these cases, more where delta is near those tails, and infinite below them.
            assert mine.lo <= theirs.hi * (1 + 1e-12), (name, mine, theirs)
            near = 1.001 if delta > 1e-9 else 1.01 if delta > 1e-15 else float("inf")
            assert theirs.hi <= near * mine.hi, (name, mine, theirs)
            if ratio < least:
                missed.append(f"{name}: {ratio:.0f} times, not {least}")
        if other:
            line += f"{1e3 * other.seconds:8.0f}"
            assert other.lo <= mine.lo and mine.hi <= other.hi, (name, mine, other)
        print(line)
        if not width <= (1e-6 if least else 1e-4):
            missed.append(f"{name}: width {width:.0e}")

    for name, _, _, _ in CASES[:4]:
        mine, theirs, whole = second[name], google.get(name), found[name]
        width = mine.width()
        line = f"{'by lattice: ' + name:62}{mine.hi:15.10f}{width:8.0e}{1e3 * mine.seconds:8.3f}"
        if theirs:
            ratio = theirs.seconds / mine.seconds
            line += f"{theirs.hi:11.6f}{1e3 * theirs.seconds:9.0f}{ratio:8.0f}"
            if ratio < 20:
                missed.append(f"{name}, by lattice: {ratio:.0f} times, not 20")
        print(line)
        assert mine.lo <= whole.hi and whole.lo <= mine.hi, (name, mine, whole)
        if not width <= 1e-3:
            missed.append(f"{name}, by lattice: width {width:.0e}")

    mine, theirs = found["calibrate 1"], google.get("calibrate 1")
    line = f"{'calibrate sigma for (1, 1e-5), the first':62}{mine.hi:15.9f}{'':8}{1e3 * mine.seconds:8.3f}"
    if theirs:
        ratio = theirs.seconds / mine.seconds
        line += f"{theirs.hi:11.6f}{1e3 * theirs.seconds:9.0f}{ratio:8.0f}"
        assert mine.lo <= theirs.hi <= 1.001 * mine.hi, (mine, theirs)
        if ratio < 200:
            missed.append(f"calibration: {ratio:.0f} times, not 200")
    print(line)
    mine = found["calibrate 0.01"]
    print(f"{'calibrate sigma for (0.01, 1e-5), the first':62}{mine.hi:15.9f}{'':8}{1e3 * mine.seconds:8.3f}   {most:.0f} MB at most")
    if mine.seconds > 0.05 or most > 100:
        missed.append("calibration at 0.01")
    print("missed: " + "; ".join(missed) if missed else "every target of this table is met")


if __name__ == "__main__":
    main()
