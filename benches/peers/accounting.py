"""Certified accounting beside dp-accounting 0.6, on the same cases: ``make bench-accounting``.

The peer lives in a virtual environment of its own. Each line is the best of several runs, both directions, in one thread.
"""

import json
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

from veilsum import accounting as ac

HERE = Path(__file__).parent
CASES = [(256 / 60000, 1.1, 14040, 1e-5), (0.0819, 2.0, 2500, 1e-5), (1e-3, 0.8, 100_000, 1e-7)]
PEER = """
import json, sys, time
from dp_accounting import dp_event as ev
from dp_accounting.pld import PLDAccountant
out = []
for q, sigma, steps, delta in json.loads(sys.argv[1]):
    start = time.perf_counter()
    a = PLDAccountant()
    a.compose(ev.PoissonSampledDpEvent(q, ev.GaussianDpEvent(sigma)), steps)
    epsilon = a.get_epsilon(delta)
    out.append((epsilon, time.perf_counter() - start))
print(json.dumps(out))
"""


def peer() -> Path:
    """The peer's interpreter, made on first use."""
    home = HERE.parent.parent / ".venv-peers" / "dp-accounting"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "accounting.txt"], check=True)
    return python


def best(run: Callable[[], ac.Enclosure], times: int = 20) -> tuple[ac.Enclosure, float]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - start)
    return found, min(seconds)


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else peer()
    done = subprocess.run([python, "-c", PEER, json.dumps(CASES)], check=True, capture_output=True, text=True)
    print(f"{'case':44}{'ours: hi':>16}{'width':>9}{'ms':>9}{'peer':>12}{'ms':>9}{'ratio':>8}")
    for case, (epsilon, theirs) in zip(CASES, json.loads(done.stdout), strict=True):
        q, sigma, steps, delta = case

        def run(q: float = q, sigma: float = sigma, steps: int = steps, delta: float = delta) -> ac.Enclosure:
            event = ac.poisson_sampled(q, ac.gaussian(sigma))
            return ac.PldAccountant(neighbors="add-remove").compose(event, steps).epsilon(delta)

        found, ours = best(run)
        # The peer's number is an upper bound: it may not lie below what is certainly needed.
        assert found.lo <= epsilon * (1 + 1e-9), (found, epsilon)
        name = f"q {q:.4g}, sigma {sigma:g}, {steps} steps, delta {delta:g}"
        width = (found.hi - found.lo) / found.hi
        print(f"{name:44}{found.hi:16.10f}{width:9.0e}{1e3 * ours:9.3f}{epsilon:12.6f}{1e3 * theirs:9.0f}{theirs / ours:8.0f}")


if __name__ == "__main__":
    main()
