"""``deploy/validate.py`` itself: what is absent is a row with its reason, what is wrong fails."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy.shipped import DEPLOY


@pytest.fixture(scope="module")
def validate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validate", DEPLOY / "validate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["validate"] = module  # NamedTuple looks its module up
    spec.loader.exec_module(module)
    return module


def test_a_tool_that_is_absent_is_told(validate, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    arguments = ["--only", "promtool", "--tools", str(tmp_path)]
    assert validate.main(arguments) == 0
    assert "skipped: promtool is not on the path" in capsys.readouterr().out
    assert validate.main([*arguments, "--strict"]) == 1


def test_a_tool_that_cannot_be_installed_is_told(validate, tmp_path, monkeypatch, capsys) -> None:
    def broken(command, within=0, folder=None):
        return validate.subprocess.CompletedProcess(command, 1, "", "first\nno network")

    monkeypatch.setattr(validate, "_run", broken)
    assert validate.main(["--only", "hadolint", "--tools", str(tmp_path)]) == 0
    assert "could not install it: no network" in capsys.readouterr().out


def test_a_failure_shows_what_the_tool_said(validate) -> None:
    rows = [validate.Row("a", "f", "ok"), validate.Row("bb", "g", "FAILED (1)", "line 3: no\n")]
    assert validate.table(rows).splitlines() == [
        "tool  file  result",
        "a     f     ok",
        "bb    g     FAILED (1)",
        "",
        "==== bb: g",
        "line 3: no",
        "",
        "1 ok, 1 failed, 0 skipped",
    ]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (("", ""), []),
        (("NoNewPrivileges", "NoNewPriviledges"), ["systemd-analyze verify"]),
        (("[Install]", "[Service]\nProtectSystem=no\nDynamicUser=no\nCapabilityBoundingSet=~\n"
          "SystemCallFilter=\n[Install]"), ["systemd-analyze security"]),
    ],
)  # fmt: skip
def test_a_unit_that_is_misspelt_or_soft_fails(
    validate, tmp_path: Path, monkeypatch, change: tuple[str, str], fails: list[str]
) -> None:
    """``systemd-analyze verify`` says so on stderr only, and exits 0."""
    unit = tmp_path / validate.UNIT
    unit.parent.mkdir(parents=True)
    text = (DEPLOY.parent / validate.UNIT).read_text(encoding="utf-8")
    unit.write_text(text.replace(*change, 1) if change[0] else text, encoding="utf-8")
    monkeypatch.setattr(validate, "ROOT", tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    rows = list(validate.systemd(validate.Toolbox(tmp_path / "tools"), scratch))
    assert [row.tool for row in rows if not row.result.startswith("ok")] == fails
