"""The files in ``grafana/``: made as the generator makes them, and true to the metrics.

Whether an expression finds data is shown with a real Prometheus, in ``test_prometheus.py``. Whether
Grafana takes the dashboards is shown as far as its published types go; no Grafana runs here.
"""

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from proxy.metrics.table import DEFINITIONS, PREFIX

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
ENDINGS = ("", "_bucket", "_sum", "_count")
EXPORTED = {one.exported + end: one for one in DEFINITIONS for end in ENDINGS}
NAME = re.compile(rf"\b{PREFIX}[a-z_]+[a-z]")
ADDED = {"job", "instance", "le", "worker"}  # by Prometheus, by histograms, by merging


@pytest.fixture(scope="module")
def made() -> Any:
    """What the generator gives now, and the metrics that it says are not shown."""
    script = "import build, contents, json; print(json.dumps([build.files(), contents.NOT_SHOWN]))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=GRAFANA, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(GRAFANA.glob("dashboards/*.json"))]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    found = [t["expr"] for board in boards() for panel in panels(board) for t in panel["targets"]]
    for name in ("alerts.yml", "recording.yml"):
        text = (GRAFANA / "prometheus" / name).read_text()
        found += [json.loads(one) for one in re.findall(r"^ +expr: (.*)$", text, re.MULTILINE)]
    assert len(found) > 80
    return found


def test_the_files_are_as_the_generator_makes_them(made: Any) -> None:
    files, _ = made
    assert len(files) == 5
    for path, text in files.items():
        assert (GRAFANA / path).read_text(encoding="utf-8") == text, f"run grafana/build.py: {path}"


def test_every_metric_that_is_named_exists() -> None:
    texts = {path.name: path.read_text() for path in GRAFANA.rglob("*") if path.suffix == ".yml"}
    texts |= {path.name: path.read_text() for path in GRAFANA.rglob("*.json")}
    texts["README.md"] = (ROOT / "README.md").read_text()
    for where, text in texts.items():
        unknown = {name for name in NAME.findall(text) if name not in EXPORTED}
        assert not unknown, f"{where} names {unknown}"


def test_every_exported_metric_is_used_or_listed(made: Any) -> None:
    _, not_shown = made
    used = {EXPORTED[name].name for expr in expressions() for name in NAME.findall(expr)}
    assert used.isdisjoint(not_shown), "listed as not shown, and shown"
    assert used | set(not_shown) == {one.name for one in DEFINITIONS}
    assert all(len(reason) > 10 for reason in not_shown.values())


def test_labels_that_are_asked_for_exist() -> None:
    for expr in expressions():
        for name, matchers in re.findall(rf"({PREFIX}\w+)\{{([^}}]*)\}}", expr):
            asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))
            known = set(EXPORTED[name].labels) | ADDED | {"mode", "version"}
            assert asked <= known, f"{name}{{{matchers}}}"
        grouped = re.findall(r"by \(([^)]*)\) \((?:rate|increase)\((\w+)", expr)
        for labels, name in grouped:
            asked = {one.strip() for one in labels.split(",")}
            assert asked <= set(EXPORTED[name].labels) | ADDED, expr


def test_panels_are_described_measured_and_placed() -> None:
    for board in boards():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        titles = [panel["title"] for panel in panels(board)]
        assert len(titles) == len(set(titles))
        for panel in panels(board):
            assert panel["targets"], panel["title"]
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        places = [panel["gridPos"] for panel in board["panels"]]
        for place in places:
            assert place["x"] + place["w"] <= 24
        for one, other in combinations(places, 2):
            apart = (
                one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            )  # fmt: skip
            assert apart, (one, other)


def test_the_datasource_is_a_variable_and_every_variable_is_known() -> None:
    builtin = {"__rate_interval", "__range", "__all"}
    for board in boards():
        known = {one["name"] for one in board["templating"]["list"]} | builtin
        text = json.dumps(board)
        used = set(re.findall(r"\$\{?([a-z_]\w*)", text))
        assert {"datasource", "job", "instance"} <= used <= known
        uids = re.findall(r'"datasource": \{"type": "prometheus", "uid": "([^"]*)"\}', text)
        assert set(uids) == {"${datasource}"}


def test_the_dashboards_link_to_each_other() -> None:
    uids = {board["uid"] for board in boards()}
    assert len(uids) == 2
    for board in boards():
        [link] = board["links"]
        assert {link["url"].removeprefix("/d/")} == uids - {board["uid"]}
        assert link["keepTime"]
        assert link["includeVars"]


def test_the_issues_list_is_on_the_on_call_board() -> None:
    """Traffic, errors by code, first token, chunk gap, overhead, in flight against the ceiling,
    throttles by region, retries, disconnects, discovery age, credential expiry, loop lag."""
    [board] = [one for one in boards() if one["uid"].endswith("on-call")]
    text = " ".join(t["expr"] for panel in panels(board) for t in panel["targets"])
    for name in (
        "requests_total", "time_to_first_token_seconds_bucket", "inter_chunk_seconds_bucket",
        "overhead_seconds_bucket", "requests_in_flight", "stream_limit", "upstream_throttles_total",
        "upstream_retries_total", "client_disconnects_total",
        "discovery_last_success_timestamp_seconds", "credentials_expiry_timestamp_seconds",
        "event_loop_lag_seconds_bucket",
    ):  # fmt: skip
        assert PREFIX + name in text, name


# ---- Prometheus's own tools -------------------------------------------------------------------


def promtool(*arguments: str, where: Path = GRAFANA / "prometheus") -> tuple[int, str]:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    done = subprocess.run(
        [found, *arguments], cwd=where, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "recording.yml", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    status, said = promtool(*arguments)
    assert status == 0, said


def alert_names() -> list[str]:
    text = (GRAFANA / "prometheus" / "alerts.yml").read_text()
    return re.findall(r'- alert: "(\w+)"', text)


@pytest.mark.parametrize("never", [True, False], ids=["never fires", "always fires"])
@pytest.mark.parametrize("name", alert_names())
@pytest.mark.long
def test_the_cases_notice_an_alert_that_is_wrong(name: str, never: bool, tmp_path: Path) -> None:
    """Each alert has a case that holds it from both sides."""
    for path in (GRAFANA / "prometheus").glob("*.yml"):
        text = path.read_text()
        if path.name == "alerts.yml":
            wrong = "vector(0) > 1" if never else "vector(1)"
            text, count = re.subn(
                rf'(alert: "{name}"\n +expr: ).*', rf'\g<1>"{wrong}"', text, count=1
            )
            assert count == 1
            text = re.sub(r'for: ".*"', 'for: "0s"', text)
        (tmp_path / path.name).write_text(text)
    status, said = promtool("test", "rules", "rules_test.yml", where=tmp_path)
    assert status != 0
    assert name in said


# ---- Grafana's own types ----------------------------------------------------------------------


# JSON holds an enumeration's words, TypeScript wants its members: ``Plain`` takes the words.
TYPES = """
import type { Dashboard } from "@grafana/schema";
type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


@pytest.mark.long
def test_the_dashboards_have_the_types_that_grafana_publishes(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    packages = ["@grafana/schema@13", "typescript@5"]
    try:
        installed = subprocess.run(
            [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", *packages],
            cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("the packages could not be installed in time")
    if installed.returncode != 0:
        pytest.skip(f"the packages cannot be installed here: {installed.stderr[-200:]}")
    wrong = {**boards()[0], "refresh": 30, "titel": "x"}
    for name, board, fine in (
        ("on-call", boards()[0], True), ("usage", boards()[1], True), ("wrong", wrong, False),
    ):  # fmt: skip
        (tmp_path / f"{name}.ts").write_text(
            TYPES + f"export default {json.dumps(board)} satisfies Partial<Plain<Dashboard>>;\n"
        )
        done = subprocess.run(
            [
                str(tmp_path / "node_modules/.bin/tsc"), "--noEmit", "--skipLibCheck", "--strict",
                "--moduleResolution", "bundler", "--module", "esnext", "--target", "es2022",
                f"{name}.ts",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == fine, done.stdout[:2000]


def test_the_readmes_table_of_metrics_is_the_definitions() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == [one.exported for one in DEFINITIONS]
    for (_, kind, labels, meaning), one in zip(rows, DEFINITIONS, strict=True):
        assert kind == one.kind
        known = one.labels or (("version", "python", "mode") if one.kind == "info" else ())
        assert tuple(re.findall(r"`(\w+)`", labels)) == known, one.name
        note = " Only with `metrics_key_label`." if one.optional else ""
        assert meaning == one.help + note, one.name
