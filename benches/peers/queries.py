"""Private tables beside their peers: the same table, the same bounding, one run.

10^7 rows of 10^6 people in 100 groups: count, sum, mean and three quantiles by group, at most ten rows a person.
DuckDB computes the same with the same bounding and *no privacy*. OpenDP (its Polars path) computes all of it, once with rows
bounded by person, and once with its caller's word that they are; PyDP has no table, so its loop over groups gets values that
are sorted by group already, and nobody is bounded. Each runs in a process of its own, from the table in memory to the numbers.

Each peer has a virtual environment of its own. ``ROWS=100000`` runs a small version, ``ONLY=stream`` the streamed part alone:
the same plan over a Parquet file, read batch by batch (``STREAM_ROWS``, ``STREAM_MEMORY``).
"""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from environment import interpreter

ROWS = int(os.environ.get("ROWS", 10_000_000))
STREAM_ROWS = int(os.environ.get("STREAM_ROWS", ROWS))
STREAM_MEMORY = int(os.environ.get("STREAM_MEMORY", 256 << 20))
TIMEOUT = int(os.environ.get("TIMEOUT", 1800))
PEOPLE, GROUPS, LIMIT = max(1, ROWS // 10), 100, 10

#: Before each script: its arguments, the table, and a clock that also looks at memory.
START = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
path, limit, groups, threads, memory = sys.argv[1], *map(int, sys.argv[2:])
def resident(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) / 1e3
def start():
    global before, began
    open("/proc/self/clear_refs", "w").write("5")
    before, began = resident("VmRSS"), time.perf_counter()
def stop(count, sum, **more):
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": resident("VmHWM") - before, "count": count, "sum": sum, **more}))
"""

OURS = """
import veilsum as vs
source = path if path.endswith(".parquet") else dict(np.load(path))
plan = vs.dp.Plan(
    {
        "count": vs.dp.Count(), "sum": vs.dp.Sum(column="x", bounds=(0, 100)), "mean": vs.dp.Mean(column="x", bounds=(0, 100)),
        "quartiles": vs.dp.Quantile(column="x", bounds=(0, 100), q=[0.25, 0.5, 0.75], confidence=None, step=0.1),
    },
    unit="person", neighbors="add-remove", epsilon=6, max_contributions=limit, by="g", keys=range(groups))
start()
partial = plan.partial(source, threads=threads, memory=memory)
release = plan.release(partial, None)
stop(list(release["count"].value.values()), list(release["sum"].value.values()), partial_megabytes=len(partial) / 1e6)
"""

DUCKDB = """
import duckdb, pyarrow as pa
table = pa.table(dict(np.load(path)))
db = duckdb.connect(); db.execute(f"set threads={threads}"); db.register("t", table)
start()
rows = db.execute(f'''
    with b as (select g, greatest(0, least(100, x)) as x from (
        select g, x, row_number() over (partition by person order by hash(person, g, x)) as r from t) where r <= {limit})
    select g, count(*), sum(x), avg(x), quantile_disc(x, [0.25, 0.5, 0.75]) from b group by g order by g''').fetchall()
stop([r[1] for r in rows], [r[2] for r in rows])
"""

OPENDP = """
import polars as pl, opendp.prelude as dp
dp.enable_features("contrib")
t = pl.LazyFrame(dict(np.load(path))); n = {rows}
x = pl.col("x").fill_null(0.0).fill_nan(0.0)
candidates = np.linspace(0, 100, 1001).tolist()
aggregates = [dp.len(), x.dp.sum((0.0, 100.0)).alias("s"), x.dp.mean((0.0, 100.0)).alias("m"),
              *(x.dp.quantile(q, candidates).alias(str(q)) for q in (0.25, 0.5, 0.75))]
margins = [dp.polars.Margin(by=["g"], {invariant} max_length=n, max_groups=groups), dp.polars.Margin(by=[], max_length=n)]
start()
context = dp.Context.compositor(
    data=t, privacy_unit=dp.unit_of({unit}), privacy_loss=dp.loss_of(epsilon=6.0), split_evenly_over=1, margins=margins)
query = context.query(){bound}.group_by("g").agg(*aggregates){keys}
frame = query.release().collect().sort("g")
stop(frame["len"].to_list(), frame["s"].to_list())
"""
BOUNDED = {
    "unit": 'contributions=1, identifier="person"',
    "bound": ".truncate_per_group(limit)",
    "keys": '.with_keys(pl.LazyFrame({"g": list(range(groups))}))',
    "invariant": "",
}
TRUSTED = {"unit": "contributions=limit", "bound": "", "keys": "", "invariant": 'invariant="keys",'}


def opendp(how: dict[str, str]) -> str:
    script = OPENDP.replace("{rows}", str(ROWS))
    for field, text in how.items():
        script = script.replace("{" + field + "}", text)
    return script


PYDP = """
from pydp.algorithms.laplacian import BoundedMean, BoundedSum, Count, Percentile
t = dict(np.load(path))
order = np.argsort(t["g"], kind="stable")
values = np.split(t["x"][order], np.searchsorted(t["g"][order], range(1, groups)))
count, sums = [], []
start()
for group in values:
    group = group.tolist()
    shared = dict(epsilon=1.0, l0_sensitivity=limit, linf_sensitivity=1, dtype="float")
    bounds = dict(lower_bound=0.0, upper_bound=100.0)
    count.append(Count(**shared).quick_result(group))
    sums.append(BoundedSum(**shared, **bounds).quick_result(group))
    BoundedMean(**shared, **bounds).quick_result(group)
    for q in (0.25, 0.5, 0.75):
        Percentile(epsilon=1.0, percentile=q, **bounds, dtype="float").quick_result(group)
stop(count, sums)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if os.environ.get("ONLY") != "stream":
            compare(Path(folder))
        stream(Path(folder))


def compare(folder: Path) -> None:
    rng = np.random.default_rng(1)
    table = {"person": rng.integers(0, PEOPLE, ROWS), "g": rng.integers(0, GROUPS, ROWS), "x": rng.gamma(2.0, 10.0, ROWS)}
    size = sum(column.nbytes for column in table.values()) / 1e6
    path = folder / "table.npz"
    np.savez(path, **table)
    del table
    results = {
        "veilsum, 1 thread": run(Path(sys.executable), OURS, path, threads=1),
        "veilsum, 2 threads": run(Path(sys.executable), OURS, path),
        "duckdb, not private": peer("duckdb", DUCKDB, path),
        "opendp, bounded": peer("opendp", opendp(BOUNDED), path),
        "opendp, trusted": peer("opendp", opendp(TRUSTED), path),
        "pydp, nobody bounded": peer("pydp", PYDP, path),
    }
    reference, truth = results["veilsum, 2 threads"], results["duckdb, not private"]
    print(f"\n{ROWS:,} rows ({size:.0f} MB), {PEOPLE:,} people, {GROUPS} groups, {LIMIT} rows a person; Python {sys.version.split()[0]}")
    print(f"{'':22}{'seconds':>9}{'ours = 1':>10}{'peak MB':>9}{'of table':>10}   largest relative difference from DuckDB's sums")
    for name, result in results.items():
        if "failed" in result:
            print(f"{name:22}{'failed':>9}   {result['failed']}")
            continue
        off = ""
        if "sum" in truth:
            off = f"{max(abs(a - b) / abs(b) for a, b in zip(result['sum'], truth['sum'], strict=True)):.1e}"
        ratio, share = result["seconds"] / reference["seconds"], result["megabytes"] / size
        print(f"{name:22}{result['seconds']:9.2f}{ratio:10.2f}{result['megabytes']:9.0f}{share:10.2f}   {off}")


def stream(folder: Path) -> None:
    """The plan over a Parquet file that is never in memory as a whole."""
    import pyarrow as pa
    from pyarrow import parquet

    path, rng = folder / "table.parquet", np.random.default_rng(1)
    schema = pa.schema({"person": pa.int64(), "g": pa.int64(), "x": pa.float64()})
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, STREAM_ROWS, 1 << 20):
            n = min(1 << 20, STREAM_ROWS - start)
            people, groups = rng.integers(0, max(1, STREAM_ROWS // 10), n), rng.integers(0, GROUPS, n)
            writer.write_table(pa.table({"person": people, "g": groups, "x": rng.gamma(2.0, 10.0, n)}, schema), row_group_size=1 << 20)
    result = run(Path(sys.executable), OURS, path, memory=STREAM_MEMORY)
    print(
        f"\nParquet, {STREAM_ROWS:,} rows, {path.stat().st_size / 1e6:.0f} MB on disk, memory={STREAM_MEMORY >> 20} MiB: "
        f"{result['seconds']:.1f} s, peak {result['megabytes']:.0f} MB, partial {result['partial_megabytes']:.2f} MB"
    )


def peer(name: str, code: str, path: Path) -> dict:
    return run(interpreter(name), code, path)


def run(python: Path, code: str, path: Path, *, threads: int = 2, memory: int = 1 << 30) -> dict:
    arguments = [path, str(LIMIT), str(GROUPS), str(threads), str(memory)]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    try:
        script = START + textwrap.dedent(code)
        done = subprocess.run([python, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=TIMEOUT, env=environment)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        return {"failed": " ".join(reason)}
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
