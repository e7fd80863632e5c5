"""What all files of ``deploy/`` owe: names that exist, files that exist, no host of a registry."""

import re
from pathlib import Path
from typing import Any

import pytest

from proxy.metrics.table import BY_NAME, PREFIX
from proxy.settings import FIELDS
from tests.deploy.shipped import DEPLOY, ROOT, longest_leave, read, settings, variables

FILES = [
    one for one in DEPLOY.rglob("*")
    if one.is_file() and one.suffix not in {".lock", ".pyc"}
]  # fmt: skip
COMPOSE = read(DEPLOY / "compose.yaml")
UNIT = (DEPLOY / "systemd" / "bedrock-openai-proxy@.service").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda one: str(one.relative_to(DEPLOY)))
def test_settings_and_metrics_that_are_named_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    named = set(re.findall(r"\bBEDROCK_PROXY_[A-Z_]*[A-Z]\b", text))
    assert {one for one in named if one.removeprefix("BEDROCK_PROXY_").lower() not in FIELDS} <= {
        "BEDROCK_PROXY_CONFIG"
    }
    exported = {one.exported for one in BY_NAME.values()}
    metrics = set(re.findall(rf"\b{PREFIX}[a-z_]*[a-z]\b", text))
    bare = {re.sub("_(bucket|sum|count)$", "", one) for one in metrics}
    assert bare <= exported | {one.family for one in BY_NAME.values()}


def references(tree: Any) -> list[str]:
    """Every value of a key ``image`` (or ``Image``) that is text."""
    if isinstance(tree, dict):
        own = [v for k, v in tree.items() if k in {"image", "Image"} and isinstance(v, str)]
        return own + [one for value in tree.values() for one in references(value)]
    if isinstance(tree, list):
        return [one for value in tree for one in references(value)]
    return []


def test_images_are_named_without_a_host() -> None:
    """Whose registry they come from is the user's choice."""
    trees = [COMPOSE, read(DEPLOY / "cloudformation" / "ecs-fargate-alb.yaml")]
    trees += [read(DEPLOY / "kubernetes" / "base" / "deployment.yaml")]
    images = [one for tree in trees for one in references(tree)]
    images += re.findall(r"^ARG PYTHON_IMAGE=(\S+)", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert len(images) >= 5
    for image in images:
        first, slash, _ = image.partition("/")
        assert not slash or not re.search(r"[.:]", first), image


def test_compose_mounts_what_is_there() -> None:
    seen = 0
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
                assert volume.endswith(":ro")
                seen += 1
            else:
                assert source in COMPOSE["volumes"]
    assert seen == 6
    assert (ROOT / COMPOSE["x-proxy"]["build"]["dockerfile"]).exists()


def test_compose_has_a_profile_with_aws_and_one_without() -> None:
    aws, demo = COMPOSE["services"]["proxy"], COMPOSE["services"]["demo"]
    assert (aws["profiles"], demo["profiles"]) == (["aws"], ["demo"])
    assert demo["command"] == ["demo"]
    assert not any(name.startswith("AWS_") for name in demo["environment"])
    assert "BEDROCK_PROXY_API_KEY" in aws["environment"]
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["cap_drop"] == ["ALL"]


def test_compose_scrapes_and_waits_as_the_proxy_does() -> None:
    told = {k: v for k, v in COMPOSE["services"]["proxy"]["environment"].items() if v is not None}
    proxy = settings(told)
    (job,) = read(DEPLOY / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"proxy:{proxy.metrics_port}"]}]
    assert proxy.metrics_host == "0.0.0.0"
    assert COMPOSE["x-proxy"]["networks"]["default"]["aliases"] == ["proxy"]
    assert COMPOSE["x-proxy"]["ports"] == [f"127.0.0.1:8000:{proxy.port}"]
    assert float(COMPOSE["x-proxy"]["stop_grace_period"].removesuffix("s")) > longest_leave(proxy)


def test_grafana_asks_the_prometheus_that_is_there() -> None:
    (ours,) = read(DEPLOY / "grafana-datasource.yaml")["datasources"]
    (theirs,) = read(ROOT / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert ours.pop("url") == "http://prometheus:9090"
    theirs.pop("url")
    assert ours == theirs


def unit(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def test_the_unit_waits_for_the_drain_and_restarts_what_can_be_helped() -> None:
    told = settings(variables(DEPLOY / "systemd" / "proxy.env"))
    assert float(unit("TimeoutStopSec")[0]) > longest_leave(told)
    assert unit("KillMode") == ["mixed"]
    assert unit("RestartPreventExitStatus") == ["2"]
    assert unit("LimitNOFILE")[0] >= "65536"
    assert told.api_key is None, "the key is made where it is installed"


def test_the_unit_and_its_installer_agree_on_paths() -> None:
    script = (DEPLOY / "systemd" / "install.sh").read_text(encoding="utf-8")
    assert unit("ExecStart") == [
        "/opt/bedrock-openai-proxy/venv/bin/bedrock-openai-proxy serve --port %i"
    ]
    assert unit("EnvironmentFile")[0] == "/etc/bedrock-openai-proxy/proxy.env"
    assert "home=$destination/opt/bedrock-openai-proxy\n" in script
    assert "settings=$destination/etc/bedrock-openai-proxy\n" in script
