"""Private tables beside their peers: the same table, the same bounding, one run.

10^7 rows of 10^6 people in 100 groups: sum, mean, count and three quantiles by group, at most ten rows a person.
DuckDB computes the same with the same bounding and *no privacy*. OpenDP computes counts and sums alone, and is not asked
to bound anyone's rows.
Each peer has a virtual environment of its own. ``ROWS=100000`` runs a small version.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ROWS = int(os.environ.get("ROWS", 10_000_000))
PEOPLE, GROUPS, LIMIT = max(1, ROWS // 10), 100, 10
BOUNDS, QUANTILES = (0.0, 100.0), (0.25, 0.5, 0.75)

DUCKDB = """
import json, sys, time, numpy as np, duckdb
t = dict(np.load(sys.argv[1])); limit = int(sys.argv[2])
import pyarrow as pa
table = pa.table(t)
db = duckdb.connect(); db.execute("set threads=2"); db.register("t", table)
started = time.perf_counter()
rows = db.execute(f'''
    with b as (select g, greatest(0, least(100, x)) as x from (
        select g, x, row_number() over (partition by person order by hash(person, g, x)) as r from t) where r <= {limit})
    select g, count(*), sum(x), avg(x), quantile_disc(x, [0.25, 0.5, 0.75]) from b group by g order by g''').fetchall()
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "count": [r[1] for r in rows], "sum": [r[2] for r in rows]}))
"""

OPENDP = """
import json, sys, time, numpy as np, polars as pl, opendp.prelude as dp
dp.enable_features("contrib")
t = pl.LazyFrame(dict(np.load(sys.argv[1]))); limit = int(sys.argv[2])
started = time.perf_counter()
context = dp.Context.compositor(
    data=t, privacy_unit=dp.unit_of(contributions=limit), privacy_loss=dp.loss_of(epsilon=6.0), split_evenly_over=1,
    margins=[dp.polars.Margin(by=["g"], invariant="keys", max_length=int(sys.argv[3]))])
query = context.query().group_by("g").agg(dp.len(), pl.col("x").fill_null(0.0).fill_nan(0.0).dp.sum((0.0, 100.0)))
frame = query.release().collect().sort("g")
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "count": frame["len"].to_list(), "sum": frame["x"].to_list()}))
"""


def main() -> None:
    rng = np.random.default_rng(1)
    table = {
        "person": rng.integers(0, PEOPLE, ROWS),
        "g": rng.integers(0, GROUPS, ROWS),
        "x": rng.gamma(2.0, 10.0, ROWS),
    }
    results: dict[str, dict] = {}
    for threads in (1, 2):
        results[f"veilsum, {threads} thread{'s' if threads > 1 else ''}"] = ours(table, threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        np.savez(path, **table)
        for name, code in (("duckdb, not private", DUCKDB), ("opendp, count, sum", OPENDP)):
            results[name] = peer(name.split(",")[0], code, path)
    report(results)


def ours(table: dict, threads: int) -> dict:
    import veilsum as vs

    plan = vs.dp.Plan(
        {
            "count": vs.dp.Count(),
            "sum": vs.dp.Sum(column="x", bounds=BOUNDS),
            "mean": vs.dp.Mean(column="x", bounds=BOUNDS),
            "quartiles": vs.dp.Quantile(column="x", bounds=BOUNDS, q=list(QUANTILES), confidence=None),
        },
        unit="person", neighbors="add-remove", epsilon=6, max_contributions=LIMIT, by="g", keys=range(GROUPS),
    )
    started = time.perf_counter()
    partial = plan.partial(table, threads=threads)
    bounded = time.perf_counter()
    release = plan.release(partial, None)
    seconds = time.perf_counter() - started
    print(f"  {threads} thread(s): partial {bounded - started:.2f} s ({len(partial) / 1e6:.1f} MB), release {seconds - bounded + started:.2f} s")
    return {"seconds": seconds, "count": list(release["count"].value.values()), "sum": list(release["sum"].value.values())}


def peer(name: str, code: str, path: Path) -> dict:
    home = ROOT / ".venv-peers" / name
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", "-r", HERE / f"{name}.txt"], check=True)
    try:
        done = subprocess.run([python, "-c", code, path, str(LIMIT), str(ROWS)], capture_output=True, text=True, check=True, timeout=900)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        return {"failed": " ".join(reason)}
    return json.loads(done.stdout.splitlines()[-1])


def report(results: dict[str, dict]) -> None:
    reference = results["veilsum, 2 threads"]
    truth = results["duckdb, not private"]
    print(f"\n{ROWS:,} rows, {PEOPLE:,} people, {GROUPS} groups, at most {LIMIT} rows a person; Python {sys.version.split()[0]}")
    print(f"{'':24}{'seconds':>10}{'ours = 1':>10}   largest relative difference of a group's sum from DuckDB's")
    for name, result in results.items():
        if "failed" in result:
            print(f"{name:24}{'failed':>10}   {result['failed']}")
            continue
        off = ""
        if "sum" in truth:
            off = f"{max(abs(a - b) / abs(b) for a, b in zip(result['sum'], truth['sum'], strict=True)):.1e}"
        print(f"{name:24}{result['seconds']:10.2f}{result['seconds'] / reference['seconds']:10.2f}   {off}")


if __name__ == "__main__":
    main()
