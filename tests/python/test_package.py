"""The package as a whole: what importing it gives."""

import subprocess
import sys

import veilsum as vs


def test_the_four_modules_come_with_the_package() -> None:
    assert {"dp", "accounting", "crypto", "federated"} <= set(dir(vs))
    assert vs.__version__.count(".") == 2


def test_importing_does_not_load_testing_or_optional_packages() -> None:
    code = "import sys, veilsum; print([m for m in ('veilsum.testing', 'pandas', 'matplotlib', 'mpmath') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
