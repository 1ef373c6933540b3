"""Spends a second of the ledger, beside one row a transaction in plain SQLite on the same disk.

The peer is the same SQLite, driven by a loop of one-row transactions, so there is no environment to create. The folder
to measure in may be given; this one is the default.
"""

import subprocess
import sys
from pathlib import Path

command = ["cargo", "run", "--quiet", "--release", "--package", "veilsum-benches", "--", "ledger", *sys.argv[1:2]]
sys.exit(subprocess.run(command, cwd=Path(__file__).resolve().parents[2]).returncode)
