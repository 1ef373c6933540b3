"""The typed face: stubs agree with the native module, the package type-checks, and every example in a docstring runs."""

import doctest
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

import veilsum
from veilsum import _core

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    found = pkgutil.walk_packages(veilsum.__path__, prefix="veilsum.")
    return sorted(m.name for m in found if not m.name.endswith("__main__"))


def stubtest(folder: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | ({"PYTHONPATH": folder} if folder else {})
    command = [sys.executable, "-m", "mypy.stubtest", "veilsum._core", "--ignore-disjoint-bases"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_stubs_agree_with_the_native_module() -> None:
    done = stubtest()
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_stub_is_found(tmp_path: Path) -> None:
    """The check above can fail: it reports a function that only a changed stub has."""
    package = Path(veilsum.__path__[0])
    shutil.copytree(package, tmp_path / "veilsum", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "veilsum" / "_core.pyi", "a") as stub:
        stub.write("\ndef never_defined() -> int: ...\n")
    done = stubtest(str(tmp_path))
    assert done.returncode != 0
    assert "never_defined" in done.stdout


def test_the_package_type_checks() -> None:
    settings = Path(__file__).parents[2] / "py-bindings" / "pyproject.toml"
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), "-p", "veilsum"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def load(name: str) -> ModuleType:
    with warnings.catch_warnings():
        # veilsum.testing warns when it is imported.
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name: str) -> None:
    module = load(name)
    results = doctest.testmod(module, optionflags=OPTIONS)
    assert results.failed == 0


def public(thing: object) -> bool:
    return bool(getattr(thing, "__doc__", None))


def members(thing: object, name: str) -> dict[str, object]:
    inside = {f"{name}.{m}": getattr(thing, m) for m in vars(thing)} if isinstance(thing, type) else {}
    return {name: thing} | inside


def test_examples_of_the_native_module() -> None:
    """Doctest does not look into native classes by itself."""
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    found = 0
    for name in dir(_core):
        thing = getattr(_core, name)
        if not callable(thing):
            continue
        for label, member in members(thing, name).items():
            for test in finder.find(member, label, module=False, globs={}):
                found += bool(test.examples)
                runner.run(test)
    assert found > 0
    assert runner.failures == 0


def test_everything_public_is_documented() -> None:
    named = [(m, name) for m in modules() for name in getattr(load(m), "__all__", [])]
    missing = [f"{m}.{name}" for m, name in named if callable(getattr(load(m), name)) and not getattr(load(m), name).__doc__]
    assert missing == []
