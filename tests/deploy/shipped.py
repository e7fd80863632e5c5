"""The files of ``deploy/`` as data: YAML (CloudFormation's tags too), environment files, rendered
overlays."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proxy.server import configure
from proxy.settings import PREFIX, Settings, load

yaml = pytest.importorskip("yaml", reason="needs pyyaml (extra `test`) to read deploy/")

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
IMAGE_ENVIRONMENT = {"BEDROCK_PROXY_HOST": "0.0.0.0", "BEDROCK_PROXY_PORT": "8000"}
"""What the Dockerfile sets; a test holds it to that."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
    pass


def _tagged(loader: Any, suffix: str, node: Any) -> dict[str, object]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: object = loader.construct_scalar(node)
        return {name: str(value).split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)


def documents(text: str) -> list[Any]:
    return [one for one in yaml.load_all(text, _Loader) if one is not None]


def read(path: Path) -> Any:
    """The one document of a file."""
    (one,) = documents(path.read_text(encoding="utf-8"))
    return one


def variables(path: Path) -> dict[str, str]:
    """An environment file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(one.split("=", 1) for one in lines if one.strip() and not one.startswith("#"))


def settings(environment: dict[str, str]) -> Settings:
    """The proxy's own reading of it, in the image."""
    whole = {**IMAGE_ENVIRONMENT, **environment}
    return load({}, None, {k: v for k, v in whole.items() if k.startswith(PREFIX)}).settings


def longest_leave(told: Settings) -> float:
    """Seconds from SIGTERM to the end of the process, at most."""
    net = configure(None, "", 0, told.drain_timeout).timeout_graceful_shutdown
    assert net is not None
    return told.pre_stop + net


@cache
def rendered(overlay: str) -> tuple[Any, ...]:
    """Every object of an overlay, as ``kubectl kustomize`` puts it together."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl on the path to render the overlays")
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / overlay)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tuple(documents(done.stdout))
