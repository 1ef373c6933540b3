"""Virtual environments of their own for peers, under ``.venv-peers``."""

import shutil
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".venv-peers"


def interpreter(peer: str) -> Path:
    """The interpreter of an environment with what ``<peer>.txt`` beside this file lists, made anew if that has changed."""
    wanted = (ROOT / "benches" / "peers" / f"{peer}.txt").read_text()
    home, installed = HOME / peer, HOME / peer / "installed.txt"
    python = home / "bin" / "python"
    if not installed.exists() or installed.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted.split()], check=True)
        installed.write_text(wanted)
    return python
