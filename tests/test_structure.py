"""The house itself: one-way imports, small files, nothing at import time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_repr

PACKAGE = Path(sklearn_repr.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
BOTTOM = {"_contracts", "exceptions"}
MIDDLE = {"data", "corruptions", "modules", "objectives", "detection"}
MAY_IMPORT = {
    "_contracts": set(),
    "exceptions": set(),
    "utils": BOTTOM,
    **{room: BOTTOM | {"utils"} for room in MIDDLE},
    "engine": BOTTOM | {"utils"} | MIDDLE,
    "estimators": BOTTOM | {"utils", "engine"} | MIDDLE,
    "distributed": BOTTOM | {"utils", "engine", "estimators"} | MIDDLE,
    "inspection": {"utils"},
}
FORBIDDEN = {
    "detection": {"torch", "skorch", "sklearn"},
    "inspection": {"torch", "skorch"},
    "modules": {"sklearn", "skorch"},
    "objectives": {"sklearn", "skorch"},
    "corruptions": {"sklearn", "skorch"},
    "data": {"skorch"},
    "utils": {"skorch"},
    "estimators": {"skorch"},
}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path):
    """Yield the full name of every module that a file imports, functions included."""
    here = ("sklearn_repr", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(path)
    if room == "__init__":
        return
    allowed = MAY_IMPORT[room] | {room}
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "sklearn_repr" and len(parts) > 1:
            assert parts[1] in allowed, f"{room} must not import {module}"
        assert parts[0] not in FORBIDDEN.get(room, set()), f"{room} imports {module}"


def test_only_the_engine_imports_skorch():
    rooms = {
        room_of(path)
        for path in FILES
        if any(module.split(".")[0] == "skorch" for module in imported_modules(path))
    }
    assert rooms == {"engine"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) < 400


def test_import_is_lazy_and_silent():
    code = (
        "import sys, sklearn_repr; before = set(sys.modules);"
        "assert not {'torch', 'skorch', 'pandas'} & before;"
        "sklearn_repr.AutoencoderTransformer; assert 'torch' in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_inspection_does_not_import_torch():
    code = "import sys, sklearn_repr.inspection; assert 'torch' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_public_names_resolve():
    assert set(sklearn_repr.__all__) <= set(dir(sklearn_repr))
    for name in sklearn_repr.__all__:
        assert getattr(sklearn_repr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        sklearn_repr.nonsense  # noqa: B018
