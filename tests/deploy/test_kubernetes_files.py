"""The kustomize base and overlays: deadlines, ports and selectors that agree with the proxy."""

import re
from typing import Any

import pytest

from proxy.settings import Settings
from tests.deploy.shipped import (
    KUBERNETES,
    ROOT,
    longest_leave,
    read,
    rendered,
    settings,
    variables,
)

BASE = KUBERNETES / "base"
OVERLAYS = sorted(f"overlays/{one.name}" for one in (KUBERNETES / "overlays").iterdir())
NAME = "bedrock-openai-proxy"


def told(*more: str) -> Settings:
    """The settings of a pod; ``more`` are literals of a component."""
    return settings({
        **variables(BASE / "proxy.env"), **dict(one.split("=", 1) for one in more),
        "BEDROCK_PROXY_API_KEY": "k",
    })  # fmt: skip


def pod() -> Any:
    return read(BASE / "deployment.yaml")["spec"]["template"]["spec"]


def container() -> Any:
    (one,) = pod()["containers"]
    return one


def found(overlay: str, kind: str, name: str = NAME) -> Any:
    (one,) = [
        each for each in rendered(overlay)
        if each["kind"] == kind and each["metadata"]["name"].startswith(name)
        and (kind == "ConfigMap" or each["metadata"]["name"] == name)
    ]  # fmt: skip
    return one


def test_the_grace_period_is_longer_than_hook_and_drain() -> None:
    hook = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > hook + longest_leave(told())


def test_unready_is_noticed_while_it_still_listens() -> None:
    probe = container()["readinessProbe"]
    assert probe["httpGet"] == {"path": "/readyz", "port": "http"}
    assert probe["periodSeconds"] * probe["failureThreshold"] <= told().pre_stop


def test_probes_of_life_ask_for_life_only() -> None:
    """A pod that waits for credentials is not killed for it."""
    for probe in ("livenessProbe", "startupProbe"):
        assert container()[probe]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_ports_are_those_of_the_settings() -> None:
    ports = {one["name"]: one["containerPort"] for one in container()["ports"]}
    assert ports == {"http": told().port, "metrics": told().metrics_port}
    assert told().metrics_host == "0.0.0.0"


def test_the_pod_may_nothing() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False, "they would set BEDROCK_PROXY_* variables"
    assert pod()["securityContext"]["runAsUser"] == 65532
    own = container()["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    policy = read(BASE / "networkpolicy.yaml")["spec"]
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule["to"] if "ipBlock" in to]
    assert "169.254.0.0/16" in blocks[0]["except"]


def test_the_key_comes_from_a_secret() -> None:
    assert {"secretRef": {"name": NAME}} in container()["envFrom"]
    assert "BEDROCK_PROXY_API_KEY" not in variables(BASE / "proxy.env")


def test_the_balancer_waits_longer_than_an_answer_and_less_than_the_proxy() -> None:
    component = KUBERNETES / "components" / "eks"
    annotations = read(component / "ingress.yaml")["metadata"]["annotations"]
    idle = re.search(r"idle_timeout\.timeout_seconds=(\d+)", str(annotations))
    (generated,) = read(component / "kustomization.yaml")["configMapGenerator"]
    proxy = told(*generated["literals"])
    assert idle is not None
    assert proxy.total_timeout < float(idle[1]) < proxy.idle_timeout
    assert annotations["alb.ingress.kubernetes.io/healthcheck-path"] == "/readyz"


def test_pods_are_added_before_they_are_full() -> None:
    scaler = read(KUBERNETES / "components/observability/horizontalpodautoscaler.yaml")["spec"]
    (streams,) = [one["pods"] for one in scaler["metrics"] if one["type"] == "Pods"]
    assert streams["metric"]["name"] == "bedrock_proxy_streams_in_flight"
    assert float(streams["target"]["averageValue"]) == 0.6 * told().max_streams
    (rule,) = read(KUBERNETES / "components/observability/adapter-values.yaml")["rules"]["custom"]
    assert rule["name"]["as"] == streams["metric"]["name"]
    assert rule["seriesQuery"].startswith(streams["metric"]["name"] + "{")


def test_the_rules_are_grafanas() -> None:
    """``deploy/kubernetes/rules.sh`` was run after they changed."""
    ours = read(KUBERNETES / "components/observability/prometheusrule.yaml")["spec"]["groups"]
    theirs = [
        group for name in ("recording", "alerts")
        for group in read(ROOT / "grafana" / "prometheus" / f"{name}.yml")["groups"]
    ]  # fmt: skip
    assert ours == theirs


@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_what_is_rendered_hangs_together(overlay: str) -> None:
    objects = rendered(overlay)
    spaces = {
        one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"
    }  # fmt: skip
    assert spaces == {"bedrock-proxy"}
    deployment = found(overlay, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    chosen = [
        deployment["selector"]["matchLabels"],
        found(overlay, "Service")["spec"]["selector"],
        found(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        found(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(
            one["labelSelector"]["matchLabels"]
            for one in deployment["template"]["spec"]["topologySpreadConstraints"]
        ),
        *(one["spec"]["selector"]["matchLabels"] for one in objects if one["kind"] == "PodMonitor"),
    ]
    for selector in chosen:
        assert selector.items() <= labels.items()
    (proxy,) = deployment["template"]["spec"]["containers"]
    config = found(overlay, "ConfigMap")
    assert proxy["envFrom"][0]["configMapRef"]["name"] == config["metadata"]["name"]
    settings({**config["data"], "BEDROCK_PROXY_API_KEY": "k"})


def test_one_overlay_has_everything() -> None:
    kinds = {each["kind"] for each in rendered("overlays/production")}
    assert kinds >= {
        "Namespace", "ServiceAccount", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget",
        "NetworkPolicy", "Ingress", "HorizontalPodAutoscaler", "PodMonitor", "PrometheusRule",
    }  # fmt: skip
    deployment = found("overlays/production", "Deployment")["spec"]
    assert "replicas" not in deployment, "the number is the autoscaler's"
    (proxy,) = deployment["template"]["spec"]["containers"]
    assert proxy["image"] == f"{NAME}:0.1.0-full", "Valkey needs the extras"
    egress = found("overlays/production", "NetworkPolicy")["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule["ports"]}
    assert ports == {53, 443, 80, 6379}


def test_valkey_is_reached_by_name_and_password() -> None:
    (proxy,) = found("overlays/valkey", "Deployment")["spec"]["template"]["spec"]["containers"]
    told_of = {one["name"]: one for one in proxy["env"]}
    names = list(told_of)
    assert names.index("VALKEY_PASSWORD") < names.index("BEDROCK_PROXY_VALKEY_URL")
    service = found("overlays/valkey", "Service", f"{NAME}-valkey")
    host = f"@{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/"
    assert host in told_of["BEDROCK_PROXY_VALKEY_URL"]["value"]
    assert "secretKeyRef" in told_of["BEDROCK_PROXY_VALKEY_KEY"]["valueFrom"]


def test_irsa_is_an_annotation() -> None:
    account = found("overlays/eks-irsa", "ServiceAccount")
    assert "eks.amazonaws.com/role-arn" in account["metadata"]["annotations"]
    assert "annotations" not in found("overlays/eks", "ServiceAccount")["metadata"]
