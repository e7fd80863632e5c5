"""``doctor`` against simulators and broken machines: each trouble, its line, its exit code."""

import os
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from proxy.bedrock.credentials import State
from proxy.cli import checkup, policy
from proxy.cli.doctor import command
from proxy.simulator import Simulator

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.reset()
    return running


class Doctor:
    """Runs the command on a made machine; ``told`` maps a check's name to it."""

    def __init__(self, patch: pytest.MonkeyPatch, home: Path) -> None:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BEDROCK_PROXY_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_REGION", "us-east-1")
        self._patch = patch

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def at(self, simulator: Simulator) -> None:
        self.set(
            AWS_ACCESS_KEY_ID=simulator.access_key,
            AWS_SECRET_ACCESS_KEY=simulator.secret_key,
            AWS_ENDPOINT_URL=simulator.url,
        )

    def run(self, *arguments: str, port: str = "0") -> tuple[int, dict[str, Any], Any]:
        done = CliRunner().invoke(command, ["--json", "--port", port, *arguments])
        told = orjson.loads(done.stdout)
        return done.exit_code, {one["name"]: one for one in told["checks"]}, told


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Doctor:
    return Doctor(monkeypatch, tmp_path)


def test_all_is_well(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    code, checks, told = doctor.run()
    assert code == 0, checks
    assert told["ok"] is True
    assert {one["status"] for one in checks.values()} == {"ok"}
    for name in (
        "ListFoundationModels", "ListInferenceProfiles", "GetInferenceProfile", "InvokeModel",
        "InvokeModelWithResponseStream",
    ):  # fmt: skip
        assert f"{name} us-east-1" in checks
    assert checks["credentials"]["detail"] == "env AWS_ACCESS_KEY_ID"
    assert told["models"][SONNET] == "accessible"
    operations = {one.operation for one in simulator.requests}
    assert {"Converse", "ConverseStream"} <= operations
    assert sum(one.operation.startswith("Converse") for one in simulator.requests) == 2


def test_lines_for_people_end_with_the_policy(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    done = CliRunner().invoke(command, ["--port", "0"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert all(line.startswith(("ok  ", "--  ")) for line in lines[: lines.index("")])
    assert '"bedrock:InvokeModelWithResponseStream"' in done.output


def test_a_denied_listing_is_a_warning_and_names_the_permission(
    doctor: Doctor, simulator: Simulator
) -> None:
    doctor.at(simulator)
    simulator.control(denied=["ListInferenceProfiles"])
    code, checks, _ = doctor.run()
    assert code == 1
    found = checks["ListInferenceProfiles us-east-1"]
    assert found["status"] == "warn"
    assert found["fix"] == "allow bedrock:ListInferenceProfiles on *"


@pytest.mark.parametrize(
    ("denied", "name"),
    [("Converse", "InvokeModel"), ("ConverseStream", "InvokeModelWithResponseStream")],
)
def test_a_denied_call_is_a_failure(
    doctor: Doctor, simulator: Simulator, denied: str, name: str
) -> None:
    doctor.at(simulator)
    simulator.control(denied=[denied])
    code, checks, _ = doctor.run()
    assert code == 2
    assert checks[f"{name} us-east-1"]["status"] == "fail"
    assert f"allow bedrock:{name} on" in checks[f"{name} us-east-1"]["fix"]


def test_a_model_that_was_not_granted(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    simulator.control(no_access=[SONNET, f"us.{SONNET}"])
    code, checks, told = doctor.run()
    assert code == 1
    assert checks[f"model {SONNET}"]["status"] == "warn"
    assert told["models"][SONNET] == "denied"
    code, checks, told = doctor.run("--model", SONNET)
    assert code == 2
    assert "Bedrock console" in checks["InvokeModel us-east-1"]["fix"]


def test_availability_that_may_not_be_asked_is_no_trouble(
    doctor: Doctor, simulator: Simulator
) -> None:
    doctor.at(simulator)
    simulator.control(denied=["GetFoundationModelAvailability"])
    code, checks, told = doctor.run()
    assert code == 0
    assert checks["models"]["status"] == "skip"
    assert told["models"][SONNET] == "unknown"


def test_every_listed_model_is_called_on_request(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    _, _, told = doctor.run("--call-all", "--provider-filter", "amazon")
    called = {one.model for one in simulator.requests if one.operation == "ConverseStream"}
    assert "us.amazon.nova-pro-v1:0" in called
    assert len(called) > 5
    assert told["models"]["us.amazon.nova-pro-v1:0"] == "accessible"


def test_an_unknown_model_is_told(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    code, checks, _ = doctor.run("--model", "no such model")
    assert code == 2
    assert "model no such model" in checks
    code, checks, _ = doctor.run("--model", "anthropic.claude-none")
    assert code == 2
    assert "identifier" in checks["InvokeModel us-east-1"]["detail"]


def test_a_model_that_is_not_for_chat_is_not_to_be_tried_again(
    doctor: Doctor, simulator: Simulator
) -> None:
    doctor.at(simulator)
    code, checks, _ = doctor.run("--model", "us.twelvelabs.pegasus-1-2-v1:0")
    told = checks["InvokeModel us-east-1"]
    assert (code, told["status"]) == (1, "warn")
    assert "Converse" in told["detail"]
    assert told["fix"].startswith("no fix needed")


def test_failover_targets_are_called_too(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    with Simulator(region="eu-west-1") as europe:
        europe.control(denied=["Converse"])
        target = {"region": "eu-west-1", "endpoint": europe.url}
        doctor.set(BEDROCK_PROXY_TARGETS=orjson.dumps([target]).decode())
        code, checks, told = doctor.run("--model", f"us.{SONNET}")
    assert code == 2
    assert checks["InvokeModel us-east-1"]["status"] == "ok"
    assert checks["InvokeModel targets[1] eu-west-1"]["status"] == "fail"
    assert checks["InvokeModelWithResponseStream targets[1] eu-west-1"]["detail"] == (
        f"eu.{SONNET} answered"
    )
    [call, *_] = told["policy"]["Statement"]
    assert f"arn:aws:bedrock:eu-west-1:*:inference-profile/eu.{SONNET}" in call["Resource"]
    assert any(
        arn.startswith("arn:aws:bedrock:us-west-2::foundation-model/") for arn in call["Resource"]
    ), "a profile's members are in other regions"


def test_a_clock_that_is_wrong(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    account = checkup.Checkup(None)  # type: ignore[arg-type]  # only the clock is looked at
    for date, status in (
        (None, "skip"),
        ((1_000_000.0, 1_000_001.0), "ok"),
        ((1_000_100.0, 1_000_000.0), "warn"),
        ((1_000_000.0, 1_001_000.0), "fail"),
    ):
        account.findings.clear()
        account._date = date
        account._clock()
        assert account.findings[0].status == status


def test_a_bearer_key_needs_its_permission(doctor: Doctor, simulator: Simulator) -> None:
    doctor.set(AWS_BEARER_TOKEN_BEDROCK=simulator.bearer, AWS_ENDPOINT_URL=simulator.url)
    code, checks, told = doctor.run()
    assert code == 0
    assert checks["CallWithBearerToken"]["status"] == "ok"
    assert told["policy"]["Statement"][-1]["Action"] == "bedrock:CallWithBearerToken"
    doctor.set(AWS_BEARER_TOKEN_BEDROCK="ABSKwrong")
    code, checks, _ = doctor.run()
    assert code == 2
    assert checks["CallWithBearerToken"]["status"] == "skip"
    assert "refuses the credentials" in checks["InvokeModel us-east-1"]["detail"]


def test_no_credentials_at_all(doctor: Doctor) -> None:
    code, checks, _ = doctor.run()
    assert code == 2
    assert checks["credentials"]["status"] == "fail"
    assert "AWS_BEARER_TOKEN_BEDROCK" in checks["credentials"]["fix"]
    assert "InvokeModel us-east-1" not in checks


def test_a_profile_that_does_not_exist_is_a_warning(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    doctor.set(AWS_PROFILE="gone")
    code, checks, _ = doctor.run()
    assert code == 1
    assert "no profile 'gone'" in checks["credentials"]["detail"]


def test_an_unreachable_endpoint(doctor: Doctor, simulator: Simulator) -> None:
    doctor.at(simulator)
    doctor.set(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    code, checks, _ = doctor.run()
    assert code == 2
    assert "cannot be reached" in checks["ListFoundationModels us-east-1"]["detail"]
    assert "proxy variables" in checks["InvokeModel us-east-1"]["fix"]


@pytest.mark.parametrize(
    ("variables", "name", "says"),
    [
        ({"BEDROCK_PROXY_GRASE": "1"}, "settings", "did you mean"),
        ({"BEDROCK_PROXY_HOST": "0.0.0.0"}, "door", "no API key is set"),
        ({"AWS_ENDPOINT_URL": "ftp://x"}, "aws config", "not an http(s) endpoint"),
        ({"AWS_REGION": "us east"}, "aws config", "is not an AWS region"),
    ],
)
def test_what_is_wrong_on_this_machine(
    doctor: Doctor, variables: dict[str, str], name: str, says: str
) -> None:
    doctor.set(**variables)
    code, checks, _ = doctor.run("--no-calls")
    assert code == 2
    assert checks[name]["status"] == "fail"
    assert says in checks[name]["detail"]


def test_a_region_by_default_is_a_warning(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    code, checks, _ = doctor.run("--no-calls")
    assert code == 1
    assert checks["region"]["detail"] == "us-east-1 (default)"


def test_a_port_that_is_taken(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0.1)
        port = str(taken.getsockname()[1])
        code, checks, _ = doctor.run("--no-calls", port=port)
    assert code == 2
    assert "another --port" in checks["port"]["fix"]


def test_a_clash_of_packages(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    found = metadata.distribution

    def distribution(name: str) -> metadata.Distribution:
        return found("click") if name == "proxy.py" else found(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    code, checks, _ = doctor.run("--no-calls")
    assert code == 2
    assert "pip uninstall proxy.py" in checks["package"]["fix"]


@pytest.mark.parametrize(
    ("state", "status", "says"),
    [
        (State("sigv4", "", False, absent=True, error="NoCredentials"), "fail", "aws configure"),
        (State("sigv4", "sso", False, error="TokenRetrievalError"), "fail", "exists and fails"),
        (State("bearer", "bearer", True, expiry=1.0), "warn", "cannot be refreshed"),
        (State("sigv4", "iam-role", True, expiry=4e9), "ok", ""),
    ],
)
def test_credentials_by_their_state(state: State, status: str, says: str) -> None:
    found = checkup.credentials_finding(state, None)
    assert found.status == status
    assert says in found.fix


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("amazon.nova-pro-v1:0", ["arn:aws-cn:bedrock:cn-north-1::foundation-model/{}"]),
        ("arn:aws-cn:bedrock:cn-north-1:123456789012:provisioned-model/x", ["{}"]),
    ],
)
def test_the_policy_of_one_model(call: str, expected: list[str]) -> None:
    assert policy.one_model(call, "cn-north-1", ()) == [one.format(call) for one in expected]


def test_a_global_profiles_members_have_no_region() -> None:
    members = [
        {"modelArn": f"arn:aws:bedrock:::foundation-model/{SONNET}"},
        {"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}"},
    ]
    profile = {
        "inferenceProfileId": f"global.{SONNET}",
        "inferenceProfileArn": f"arn:aws:bedrock:us-east-1:1:inference-profile/global.{SONNET}",
        "models": members,
    }
    found = policy.one_model(f"global.{SONNET}", "us-east-1", [profile])
    assert found == sorted([profile["inferenceProfileArn"], *(m["modelArn"] for m in members)])
    assert "arn:aws:bedrock:::foundation-model/*" in policy.all_models(["us-east-1"], [profile])
