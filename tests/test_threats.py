"""The threat model: every test it rests on exists, and the README shows the same table."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
HEAD = "| asset | vector | what holds it | shown by |\n|---|---|---|---|\n"


def threats() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((HERE / "threats.toml").read_text())["threat"]
    return found


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def table() -> str:
    rows = []
    for one in threats():
        shown: dict[str, list[str]] = {}
        for test in one["tests"]:
            file, _, name = test.partition("::")
            shown.setdefault(file, []).append(name.removeprefix("test_").replace("_", " "))
        cells = "; ".join(f"`{file}`: {', '.join(names)}" for file, names in shown.items())
        rows.append(f"| {one['asset']} | {one['vector']} | {one['holds']} | {cells} |\n")
    return HEAD + "".join(rows)


@pytest.mark.parametrize("threat", threats(), ids=lambda one: one["vector"][:50])
def test_what_a_row_rests_on_exists(threat: dict[str, Any]) -> None:
    assert threat.keys() == {"asset", "vector", "holds", "tests"}
    assert threat["tests"]
    for test in threat["tests"]:
        file, _, name = test.partition("::")
        assert (HERE / file).is_file(), file
        assert name in functions_of(HERE / file), test


def test_the_model_is_no_less_than_it_was() -> None:
    """A row that goes takes its promise with it: that is a decision, not an edit."""
    assert len(threats()) >= 16
    assert len({test for one in threats() for test in one["tests"]}) >= 60


def test_the_readme_shows_this_table() -> None:
    assert table() in README.read_text(encoding="utf-8")
