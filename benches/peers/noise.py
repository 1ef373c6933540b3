"""Samples a second: veilsum beside rand_distr, NumPy, OpenDP, diffprivlib and Google's library (PyDP), in one run.

veilsum and rand_distr come from the Rust benchmark, which checks moments; veilsum again from Python; each peer from a
virtual environment of its own. Ratios are to ``numpy.random.Generator.normal``.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from environment import ROOT, interpreter

import veilsum as vs

N = 1_000_000

OPENDP = """
import json, time, opendp.prelude as dp
dp.enable_features("contrib")
n = 20_000
space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
m = dp.m.make_gaussian(*space, scale=1000.0)
started = time.perf_counter()
out = m([0] * n)
seconds = time.perf_counter() - started
print(json.dumps({"million_per_second": n / seconds / 1e6, "second_moment": sum(v * v for v in out) / n}))
"""

DIFFPRIVLIB = """
import json, time
from diffprivlib.mechanisms import Laplace
n = 20_000
m = Laplace(epsilon=1.0, delta=0.0, sensitivity=1000.0)
started = time.perf_counter()
out = [m.randomise(0.0) for _ in range(n)]
seconds = time.perf_counter() - started
print(json.dumps({"million_per_second": n / seconds / 1e6, "second_moment": sum(v * v for v in out) / n}))
"""

PYDP = """
import json, time
from pydp.algorithms.numerical_mechanisms import LaplaceMechanism
n = 100_000
m = LaplaceMechanism(1.0, 1000.0)
started = time.perf_counter()
out = [m.add_noise(0.0) for _ in range(n)]
seconds = time.perf_counter() - started
print(json.dumps({"million_per_second": n / seconds / 1e6, "second_moment": sum(v * v for v in out) / n}))
"""

# What each peer's script should find for the second moment: of a normal law and of two Laplace laws at scale 1000.
PEERS = (
    ("OpenDP discrete Gaussian", "opendp", OPENDP, 1e6),
    ("diffprivlib Laplace", "diffprivlib", DIFFPRIVLIB, 2e6),
    ("PyDP Laplace (Google)", "pydp", PYDP, 2e6),
)


PASSES = 3


def main() -> None:
    numpy_row = ("numpy Generator.normal", "1")
    mechanisms = [law(sigma=s, sensitivity=1) for s in (1, 1000, 2**30) for law in (vs.dp.DiscreteGaussian, vs.dp.Gaussian)]
    best: dict[tuple[str, str], float] = {}
    set_up: dict[tuple[str, str], dict] = {}

    def keep(row: tuple[str, str], value: float) -> None:
        best[row] = max(value, best.get(row, 0.0))

    # In turns, so that a moment in which the machine is slow strikes all of them or none.
    for _ in range(PASSES):
        keep(numpy_row, rate(lambda: np.random.default_rng().normal(size=N)))
        for result in ours():
            if "law" in result:
                keep((result["law"], result["scale"]), result["million_per_second"])
            else:
                seen = set_up.setdefault((result["set_up"], result["scale"]), result)
                set_up[result["set_up"], result["scale"]] = min(seen, result, key=lambda r: r["first_ms"])
        for m in mechanisms:
            check(m.sample(N).std(), m.sigma)
            name, scale = f"{type(m).__name__}, from Python", f"{m.sigma:.0f}"
            keep((name, scale), rate(lambda m=m: m.sample(N)))
            keep((f"{name}, two threads", scale), rate(lambda m=m: m.sample(N, threads=2)))
    rows: list[tuple[str, str, float | None]] = [(name, scale, value) for (name, scale), value in best.items()]
    reference = best[numpy_row]
    for name, package, script, second_moment in PEERS:
        rows.append((name, "1000", peer(package, script, second_moment)))
    print(f"{'':44}{'scale':>8}{'million/s':>12}{'x NumPy':>10}")
    for name, scale, value in rows:
        shown = "not run" if value is None else f"{value:12.3f}{value / reference:10.2f}"
        print(f"{name:44}{scale:>8}{shown:>12}")
    for r in set_up.values():
        print(f"set-up {r['set_up']:18} {r['scale']:>12}: first {r['first_ms']:.2f} ms, again {r['again_ms']:.4f} ms")
    m = vs.dp.Gaussian(sigma=1.0, sensitivity=1.0)
    m.release(0.5)
    fastest = float("inf")
    for _ in range(100):
        started = time.perf_counter()
        for _ in range(1000):
            m.release(0.5)
        fastest = min(fastest, time.perf_counter() - started)
    print(f"scalar release from Python: {fastest * 1000:.2f} microseconds")


def ours() -> list[dict]:
    """What the Rust benchmark found."""
    rust = ["cargo", "run", "--quiet", "--release", "-p", "veilsum-benches", "--", "noise"]
    lines = subprocess.run(rust, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def rate(draw) -> float:
    """Millions a second: the best of fifteen."""
    best = float("inf")
    for _ in range(15):
        started = time.perf_counter()
        draw()
        best = min(best, time.perf_counter() - started)
    return N / best / 1e6


def check(deviation: float, expected: float) -> None:
    assert abs(deviation / expected - 1) < 0.01, (deviation, expected)


def peer(package: str, script: str, second_moment: float) -> float | None:
    """Runs a peer's script in its own environment, which is made first, and checks the moment that it found."""
    try:
        python = interpreter(package)
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        run = subprocess.run([python, "-W", "ignore", "-c", script], check=True, capture_output=True, text=True, env=environment)
    except subprocess.CalledProcessError as failed:
        print(f"{package}: {failed}", file=sys.stderr)
        return None
    found = json.loads(run.stdout)
    assert abs(found["second_moment"] / second_moment - 1) < 0.2, (package, found)
    return found["million_per_second"]


if __name__ == "__main__":
    main()
