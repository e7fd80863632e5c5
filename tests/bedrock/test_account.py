"""Who we are on AWS, end to end: metadata services and STS on loopback, a Bedrock that checks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from proxy.simulator import Simulator
from tests.support.running import Running, serving, wait_until

NOVA = "amazon.nova-micro-v1:0"
ROLE = "arn:aws:iam::123456789012:role/bedrock"


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@contextmanager
def served(machine: Any, bedrock: Simulator, **settings: Any) -> Iterator[Running]:
    """The proxy on ``machine``, with nothing but what that has."""
    with serving(
        bedrock.url,
        settings={"enabled": False, **settings},
        environment=machine.environment,
        access_key="",
        secret_key="",
    ) as running:
        yield running


@pytest.fixture
def instance(machine: Any, fake: Any, bedrock: Simulator) -> Any:
    """An EC2 instance with a role, and no variable that says so. ``AWS_PROFILE`` is not set."""
    bedrock.reset()
    bedrock.rotate(access_key="ASIA1", secret_key="s", session_token="T1")
    machine.unset("AWS_EC2_METADATA_DISABLED")
    machine.set(
        AWS_EC2_METADATA_SERVICE_ENDPOINT=fake.url,
        AWS_EC2_METADATA_DISABLED="false",
        AWS_METADATA_SERVICE_TIMEOUT="1",
    )
    return machine


def ask(running: Running, **more: Any) -> httpx.Response:
    body = {"model": NOVA, "messages": [{"role": "user", "content": "Say hello."}], **more}
    return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=20)


def test_an_instances_role_is_found_by_itself(instance: Any, fake: Any, bedrock: Simulator) -> None:
    with served(instance, bedrock, enabled=True) as running:
        assert ask(running).status_code == 200
        wait_until(lambda: running.service.account.discovery.state().at is not None)
        ready = httpx.get(f"{running.url}/readyz").json()
        samples = running.samples()
    assert ready["credentials"] == {
        "mode": "sigv4", "source": "iam-role", "ok": True, "error": None,
    }  # fmt: skip
    assert ready["catalog"]["models"] > 10
    expiry = 'bedrock_proxy_credentials_expiry_timestamp_seconds{source="iam-role"}'
    assert samples[expiry] == pytest.approx(time.time() + fake.life, abs=30)


def test_a_rotated_role_is_taken_up_after_one_refusal(
    instance: Any, fake: Any, bedrock: Simulator
) -> None:
    with served(instance, bedrock) as running:
        assert ask(running).status_code == 200
        fake.serial = 2
        bedrock.rotate(access_key="ASIA2", session_token="T2")
        answer = ask(running)
    assert answer.status_code == 200
    refused, good = list(bedrock.requests)[-2:]
    assert (refused.status, good.status) == (403, 200)


def test_credentials_that_end_inside_a_stream_do_not_end_it(
    instance: Any, fake: Any, bedrock: Simulator
) -> None:
    fake.life = 2.0
    bedrock.control(pace=0.25)
    with served(instance, bedrock) as running:
        with httpx.stream(
            "POST",
            f"{running.url}/v1/chat/completions",
            json={
                "model": NOVA,
                "stream": True,
                "messages": [{"role": "user", "content": "Count from one to twenty in words."}],
            },
            timeout=30,
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            fake.serial, fake.life = 2, 3600.0
            bedrock.rotate(access_key="ASIA2", session_token="T2")
            time.sleep(2.1)  # the old set has ended
            rest = [line for line in lines if line]
        bedrock.control(pace=0.0)
        assert ask(running).status_code == 200
    assert rest[-1] == "data: [DONE]"
    assert not any('"error"' in line for line in rest)


def test_a_slow_metadata_service_does_not_hold_up_the_start(
    instance: Any, fake: Any, bedrock: Simulator
) -> None:
    fake.delay = 0.8  # of three calls
    with served(instance, bedrock) as running:
        assert httpx.get(f"{running.url}/readyz").status_code == 503, "it is served before they are"
        assert httpx.get(f"{running.url}/healthz").status_code == 200
        assert ask(running).status_code == 200, "a request waits for the first credentials"


def test_a_dead_metadata_service_is_a_503_within_its_time(
    instance: Any, fake: Any, bedrock: Simulator
) -> None:
    instance.set(AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:9")
    with served(instance, bedrock) as running:
        began = time.monotonic()
        answer = ask(running)
        took = time.monotonic() - began
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "upstream_credentials")
    assert int(answer.headers["retry-after"]) >= 1
    assert took < 10


def test_a_role_is_assumed_with_what_was_found(machine: Any, fake: Any, bedrock: Simulator) -> None:
    bedrock.reset()
    bedrock.rotate(access_key="ASIAROLE1", secret_key="s", session_token="R1")
    machine.keys("AKIABASE")
    machine.set(AWS_ENDPOINT_URL_STS=fake.url)
    role = {"role_arn": ROLE, "role_external_id": "x-1", "role_session_name": "tests"}
    with served(machine, bedrock, **role) as running:
        assert ask(running).status_code == 200
        ready = httpx.get(f"{running.url}/readyz").json()
    assert ready["credentials"]["source"] == "assume-role"
    [asked] = fake.asked
    assert asked["RoleArn"] == ROLE
    assert asked["ExternalId"] == "x-1"
    assert asked["RoleSessionName"] == "tests"
    assert "Credential=AKIABASE/" in asked["authorization"]


def test_the_profile_setting_wins_over_the_environments_keys(
    machine: Any, bedrock: Simulator
) -> None:
    bedrock.reset()
    bedrock.rotate(access_key="AKIAWORK", secret_key="s", session_token=None)
    machine.keys("AKIAWORK", profile="work")
    machine.set(AWS_ACCESS_KEY_ID="AKIAOTHER", AWS_SECRET_ACCESS_KEY="x")
    with served(machine, bedrock, profile="work") as running:
        assert ask(running).status_code == 200


def test_each_target_resolves_by_itself(machine: Any, fake: Any, bedrock: Simulator) -> None:
    """A source of one account that hangs holds up no other."""
    bedrock.reset()
    bedrock.rotate(access_key="AKIAOWN", secret_key="s", session_token=None)
    machine.keys("AKIAOWN")
    machine.set(AWS_ENDPOINT_URL_STS=fake.url)
    fake.delay = 30.0
    target = {"region": "us-west-2", "role_arn": ROLE, "endpoint": bedrock.url}
    began = time.monotonic()
    with served(machine, bedrock, targets=[target]) as running:
        assert ask(running).status_code == 200
        assert time.monotonic() - began < 5
        names = [one.name for one in running.service.account.identities]
        assert httpx.get(f"{running.url}/readyz").json()["targets"] == [
            {"name": "targets[1] us-west-2", "ok": False, "source": "", "error": None}
        ]
    assert names == ["own", "targets[1] us-west-2"]
