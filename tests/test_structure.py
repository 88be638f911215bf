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


def lines_of_code(source):
    """Count lines that are no docstring, no comment and not blank."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            texts.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        number not in texts and not line.lstrip().startswith("#") and bool(line.strip())
        for number, line in enumerate(source.splitlines(), start=1)
    )


def test_lines_of_code_are_counted_without_texts():
    assert lines_of_code('"""One\ntwo."""\n\n# why\nx = 1\ny = [\n]\n') == 3


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small(path):
    assert lines_of_code(path.read_text()) <= 300


def test_import_is_lazy_and_silent():
    code = (
        "import sys, sklearn_repr; before = set(sys.modules);"
        "assert not {'torch', 'skorch', 'pandas'} & before;"
        "sklearn_repr.AutoencoderTransformer; assert 'torch' in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_type_checkers_see_the_public_classes(tmp_path):
    pytest.importorskip("mypy")
    code = (
        "from sklearn_repr import AutoencoderTransformer, inspection\n"
        "AutoencoderTransformer(2, loss='huber').fit([[0.0]])\n"
        "AutoencoderTransformer('x', loss=3)\n"
        "inspection.reconstruction_r2\n"
    )
    snippet = tmp_path / "snippet.py"
    snippet.write_text(code)
    # without torch's own types, which would take most of the time
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--config-file="]
    command += ["--no-site-packages", "--ignore-missing-imports", "--no-error-summary"]
    command += ["--cache-dir", str(tmp_path), str(snippet)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    (error,) = [line for line in run.stdout.splitlines() if ": error: " in line]
    assert "snippet.py:3: error: " in error
    assert 'Argument "loss" to "AutoencoderTransformer"' in error


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
