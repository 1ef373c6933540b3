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


def main() -> None:
    rows = [("numpy Generator.normal", "1", rate(lambda: np.random.default_rng().normal(size=N)))]
    reference = rows[0][2]
    rust = ["cargo", "run", "--quiet", "--release", "-p", "veilsum-benches", "--", "noise"]
    lines = subprocess.run(rust, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    results = [json.loads(line) for line in lines]
    rows += [(r["law"], r["scale"], r["million_per_second"]) for r in results if "law" in r]
    for s in (1, 1000, 2**30):
        for m in (vs.dp.DiscreteGaussian(sigma=s, sensitivity=1), vs.dp.Gaussian(sigma=s, sensitivity=1)):
            check(m.sample(N).std(), s)
            name = f"{type(m).__name__}, from Python"
            rows.append((name, str(s), rate(lambda m=m: m.sample(N))))
            rows.append((f"{name}, two threads", str(s), rate(lambda m=m: m.sample(N, threads=2))))
    for name, package, script, second_moment in PEERS:
        rows.append((name, "1000", peer(package, script, second_moment)))
    print(f"{'':44}{'scale':>8}{'million/s':>12}{'x NumPy':>10}")
    for name, scale, value in rows:
        shown = "not run" if value is None else f"{value:12.3f}{value / reference:10.2f}"
        print(f"{name:44}{scale:>8}{shown:>12}")
    for r in results:
        if "set_up" in r:
            print(f"set-up {r['set_up']:18} {r['scale']:>12}: first {r['first_ms']:.2f} ms, again {r['again_ms']:.4f} ms")
    m = vs.dp.Gaussian(sigma=1.0, sensitivity=1.0)
    m.release(0.5)
    best = float("inf")
    for _ in range(100):
        started = time.perf_counter()
        for _ in range(1000):
            m.release(0.5)
        best = min(best, time.perf_counter() - started)
    print(f"scalar release from Python: {best * 1000:.2f} microseconds")


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
