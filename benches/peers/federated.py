"""Secure aggregation beside Flower's own functions and the published tables: ``make bench-federated``.

Flower runs in a virtual environment of its own, on the same machine, in the same run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from environment import ROOT, interpreter

HERE = Path(__file__).resolve().parent


def flower() -> dict[str, float]:
    done = subprocess.run([interpreter("flower"), str(HERE / "federated_flower.py")], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def ours(rows: str) -> dict[str, dict[str, float]]:
    command = ["cargo", "run", "--quiet", "--release", "-p", "veilsum-benches", "--features", "fast", "--", "federated"]
    done = subprocess.run([*command, rows] if rows else command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {result["row"]: result for result in results}


def main() -> None:
    rows = os.environ.get("ROWS", "")
    us, them = ours(rows), flower()
    print(f"{'work':58} {'ours':>12} {'reference':>26} {'ratio':>8}  target")

    def line(work: str, mine: float, reference: str, ratio: float | None, target: str, unit: str = "s") -> None:
        shown = "" if ratio is None else f"{ratio:.0f}x"
        print(f"{work:58} {mine:10.4g} {unit:1} {reference:>26} {shown:>8}  {target}")

    if r := us.get("raw"):
        share = r["mask_bytes"] / r["aes_bytes"]
        line("masks, keystream added, one thread, GB/s", r["mask_bytes"] / 1e9, f"raw AES-256 {r['aes_bytes'] / 1e9:.1f}", None,
             f"{100 * share:.0f} % of raw AES-256-CTR", "")  # fmt: skip
    if r := us.get("shamir"):
        line("split one seed, 100 shares, threshold 51", r["split"], f"Flower {them['split']:.3f} s", them["split"] / r["split"], ">= 1000x")
        line("rebuild it", r["rebuild"], f"Flower {them['rebuild']:.3f} s", them["rebuild"] / r["rebuild"], ">= 1000x")
    if r := us.get("client"):
        masks = them["quantise"] + 51 * (them["mask"] + them["add"])
        mine = r["share"] + r["upload"]
        # Ours is all that a client does, agreements, signatures and sealing too; Flower's without those.
        for work, split in {
            "client, 10^6 parameters, 50 neighbours, all it does": them["split51"] + them["split_key"],
            "  beside Flower with two secrets of 32 bytes": 2 * them["split51"],
        }.items():
            peer = masks + split
            line(work, mine, f"Flower {peer:.3f} s", peer / mine, ">= 15x")
        line("  its share message", r["share"], "", None, "")
        line("  its upload", r["upload"], f"Flower {masks:.3f} s", masks / r["upload"], "")
    published = {
        "server500": ("server, n = 500, m = 10^5, complete, 10 % lost, malicious", "Bonawitz 2017: 62 s", 62, "<= 2 s"),
        "server1000": ("server, n = 1,000, m = 10^5, 30 % lost, semi-honest", "Bonawitz 2017: 414 s", 414, "<= 1.5 s"),
        "server1000malicious": ("the same, malicious", "Bonawitz 2017: 414 s", 414, "<= 8 s"),
        "large": ("server, n = 1,000, m = 2^20, 10 % lost, two threads", "", None, "<= 5 s"),
    }
    for row, (work, reference, seconds, target) in published.items():
        if r := us.get(row):
            ratio = None if seconds is None else seconds / r["server"]
            line(f"{work} (k = {r['degree']:.0f})", r["server"], reference, ratio, target)
    if r := us.get("large"):
        line("  traffic of its busiest client, times 16-bit plaintext", r["expansion"], "Bonawitz 2017: 1.73", None, "<= 1.65", "x")
        line("  memory of the server, MB", r["peak_mb"], "", None, f"<= {4 * r['model_mb'] + 100:.0f} (4 models + 100)", "")
    if r := us.get("memory"):
        line("10,000 clients, m = 1,000, 5 % lost, in one process", r["wall"], "", None, "<= 60 s")
        line("  its memory, MB", r["peak_mb"], "", None, "<= 8,000", "")


if __name__ == "__main__":
    main()
