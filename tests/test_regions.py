"""Regions, accounts and models, from the settings to the wire: each simulator is one region."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from proxy.simulator import Simulator
from tests.support.running import Running, serving, wait_until

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-micro-v1:0"
CHAT = {"messages": [{"role": "user", "content": "Say hello."}]}

Proxy = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="module")
def simulators() -> Iterator[dict[str, Simulator]]:
    with (
        Simulator(region="us-east-1") as east,
        Simulator(region="us-west-2") as west,
        Simulator(region="eu-west-1") as europe,
    ):
        yield {"us-east-1": east, "us-west-2": west, "eu-west-1": europe}


@pytest.fixture
def east(simulators: dict[str, Simulator]) -> Simulator:
    for simulator in simulators.values():
        simulator.reset()
    return simulators["us-east-1"]


@pytest.fixture
def west(east: Simulator, simulators: dict[str, Simulator]) -> Simulator:
    return simulators["us-west-2"]


@pytest.fixture
def europe(east: Simulator, simulators: dict[str, Simulator]) -> Simulator:
    return simulators["eu-west-1"]


@contextmanager
def proxy(
    own: Simulator, *targets: Simulator | Mapping[str, Any], discover: bool = False, **settings: Any
) -> Iterator[Running]:
    """The proxy in front of ``own``, with fail-over to ``targets``."""
    rows = [
        {"region": one.region, "endpoint": one.url} if isinstance(one, Simulator) else dict(one)
        for one in targets
    ]
    given = {"targets": rows, "enabled": discover, **settings}
    with serving(
        own.url, settings=given, access_key=own.access_key, secret_key=own.secret_key
    ) as running:
        if discover:
            wait_until(lambda: running.service.account.discovery.state().at is not None)
        yield running


def ask(running: Running, model: str | None = f"us.{SONNET}", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    body = {**CHAT, **({"model": model} if model is not None else {}), **more}
    return httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def calls(simulator: Simulator) -> list[str]:
    """The models of the runtime calls that it got."""
    return [one.model for one in simulator.requests if one.operation.startswith("Converse")]


# -- fail-over ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "throttle"}, "ThrottlingException"),
        ({"kind": "throttle", "headers": {"retry-after": "30"}}, "ThrottlingException"),
        ({"kind": "error", "error": "ServiceUnavailableException"}, "ServiceUnavailableException"),
        ({"kind": "exception", "error": "throttlingException"}, "ThrottlingException"),
        ({"kind": "exception", "error": "throttlingException", "after": 1}, "ThrottlingException"),
        ({"kind": "reset", "times": 2}, "upstream_reset"),
    ],
)
def test_a_failing_region_is_left_before_the_first_byte(
    east: Simulator, west: Simulator, stream: bool, fault: dict[str, Any], reason: str
) -> None:
    kind = fault["kind"]
    east.control(kind, **{key: value for key, value in fault.items() if key != "kind"})
    with proxy(east, west) as running:
        began = time.monotonic()
        answer = ask(running, stream=stream)
        took = time.monotonic() - began
        samples = running.samples()
    assert answer.status_code == 200
    assert answer.headers["x-bedrock-proxy-region"] == "us-west-2"
    assert answer.headers["x-bedrock-proxy-model"] == f"us.{SONNET}"
    assert took < 3, "another region need not be waited for"
    assert len(calls(west)) == 1
    left = f'reason="{reason}",region="us-east-1",to="us-west-2"'
    assert samples[f"bedrock_proxy_upstream_failovers_total{{{left}}}"] == 1
    ok = f'model="us.{SONNET}",operation="converse-stream",outcome="ok"'
    assert samples[f'bedrock_proxy_upstream_requests_total{{{ok},region="us-west-2"}}'] == 1


def test_a_region_that_cannot_be_reached(east: Simulator, west: Simulator) -> None:
    dead = {"runtime_endpoint": "http://127.0.0.1:9"}
    with proxy(east, west, **dead) as running:
        answers = [ask(running) for _ in range(5)]
        samples = running.samples()
    assert {answer.headers["x-bedrock-proxy-region"] for answer in answers} == {"us-west-2"}
    labels = f'model="us.{SONNET}",operation="converse-stream",outcome="connect_error"'
    tried = samples[f'bedrock_proxy_upstream_requests_total{{{labels},region="us-east-1"}}']
    assert tried == 3, "then its circuit is open, and the others do not knock"


def test_what_is_the_requests_own_fault_goes_nowhere_else(east: Simulator, west: Simulator) -> None:
    with proxy(east, west) as running:
        answer = ask(running, model="anthropic.claude-nobody")
    assert answer.status_code == 404
    assert calls(west) == []


def test_tries_are_counted_over_all_regions(
    east: Simulator, west: Simulator, europe: Simulator
) -> None:
    for simulator in (east, west, europe):
        simulator.control("throttle", times=10)
    with proxy(east, west, europe) as running:
        answer = ask(running)
    assert answer.status_code == 429
    assert [len(calls(one)) for one in (east, west, europe)] == [1, 1, 1]


def test_a_profile_takes_its_twin_in_another_geography(east: Simulator, europe: Simulator) -> None:
    east.control("throttle")
    with proxy(east, europe) as running:
        answer = ask(running)
    assert answer.status_code == 200
    assert answer.headers["x-bedrock-proxy-model"] == f"eu.{SONNET}"
    assert calls(europe) == [f"eu.{SONNET}"]
    assert answer.json()["model"] == f"us.{SONNET}", "the client sees the name it sent"


def test_the_residency_policy_holds_for_failover(east: Simulator, europe: Simulator) -> None:
    east.control("throttle", times=10)
    with proxy(east, europe, geographies="us") as running:
        answer = ask(running)
    assert answer.status_code == 429
    assert calls(europe) == []


def test_a_stand_in_without_access_does_not_speak_for_the_region(
    east: Simulator, west: Simulator
) -> None:
    east.control("throttle", times=10)
    west.control(no_access=[f"us.{SONNET}"])
    with proxy(east, west) as running:
        first, second = ask(running), ask(running)
    assert {first.status_code, second.status_code} == {429}
    assert first.json()["error"]["code"] == "rate_limit_exceeded"
    assert len(calls(west)) == 1, "it is not asked again for a while"


def test_the_circuit_of_one_model_leaves_the_others_alone(east: Simulator, west: Simulator) -> None:
    east.control("throttle", times=3)
    with proxy(east, west) as running:
        told = [ask(running).headers["x-bedrock-proxy-region"] for _ in range(4)]
        other = ask(running, model=NOVA)
    assert told == ["us-west-2"] * 4
    assert len(calls(east)) == 3 + 1
    assert other.headers["x-bedrock-proxy-region"] == "us-east-1"


def test_an_arn_is_one_regions(east: Simulator, west: Simulator) -> None:
    east.control("throttle", times=10)
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}"
    with proxy(east, west) as running:
        assert ask(running, model=arn).status_code == 429
    assert calls(west) == []


def test_another_account_by_its_profile(east: Simulator, west: Simulator, tmp_path: Path) -> None:
    files = tmp_path / "credentials"
    files.write_text("[second]\naws_access_key_id = AKIASECOND\naws_secret_access_key = other\n")
    west.rotate(access_key="AKIASECOND", secret_key="other")
    east.control("throttle")
    row = {"region": west.region, "endpoint": west.url, "profile": "second"}
    try:
        with serving(
            east.url,
            settings={"targets": [row], "enabled": False},
            environment={"AWS_SHARED_CREDENTIALS_FILE": str(files)},
            access_key=east.access_key,
            secret_key=east.secret_key,
        ) as running:
            answer = ask(running)
    finally:
        west.rotate(access_key=east.access_key, secret_key=east.secret_key)
    assert answer.status_code == 200
    assert answer.headers["x-bedrock-proxy-region"] == "us-west-2"


def test_an_account_whose_credentials_fail_is_passed_over(east: Simulator, west: Simulator) -> None:
    east.control("throttle")
    row = {"region": west.region, "endpoint": west.url, "profile": "no-such-profile"}
    with proxy(east, row) as running:
        answer = ask(running)
    assert answer.status_code == 200  # the first region's second try
    assert answer.headers["x-bedrock-proxy-region"] == "us-east-1"


# -- discovery and resolution -------------------------------------------------------------------


def test_a_model_is_called_where_it_was_found(east: Simulator, europe: Simulator) -> None:
    """Two listings, told apart by the region that their signature is for. The simulator lists the
    profiles of all geographies everywhere; AWS only those of the region's own."""
    region = {"us-east-1": east, "eu-west-1": europe}
    foreign = {"us-east-1": "eu.", "eu-west-1": "us."}

    async def split(request: httpx.Request) -> httpx.Response:
        scope = request.headers["authorization"].split("/")[2]
        url = httpx.URL(region[scope].url).copy_with(raw_path=request.url.raw_path)
        transport = httpx.AsyncHTTPTransport()
        forwarded = httpx.Request(
            request.method, url, headers=request.headers, content=request.content
        )
        answer = await transport.handle_async_request(forwarded)
        body = b"".join([part async for part in answer.stream])  # type: ignore[union-attr]
        await transport.aclose()
        if request.url.path == "/inference-profiles":
            listed = orjson.loads(body)
            listed["inferenceProfileSummaries"] = [
                one
                for one in listed["inferenceProfileSummaries"]
                if not one["inferenceProfileId"].startswith(foreign[scope])
            ]
            body = orjson.dumps(listed)
        kept = {
            k: v
            for k, v in answer.headers.items()
            if k not in ("content-length", "transfer-encoding")
        }
        return httpx.Response(answer.status_code, headers=kept, content=body)

    with serving(
        "http://bedrock.test",
        settings={"discovery_region": "us-east-1,eu-west-1"},
        access_key=east.access_key,
        secret_key=east.secret_key,
        engine=httpx.MockTransport(split),
    ) as running:
        wait_until(lambda: running.service.account.discovery.state().at is not None)
        rows = {row["id"]: row for row in httpx.get(f"{running.url}/v1/models").json()["data"]}
        answer = ask(running, model=f"eu.{SONNET}")
    assert rows[f"us.{SONNET}"]["region"] == "us-east-1"
    assert rows[f"eu.{SONNET}"]["region"] == "eu-west-1"
    assert answer.status_code == 200
    assert answer.headers["x-bedrock-proxy-region"] == "eu-west-1"
    assert calls(europe) == [f"eu.{SONNET}"]
    assert calls(east) == []


def test_where_to_list_is_where_to_call_if_nothing_else_is_said(europe: Simulator) -> None:
    with serving(
        europe.url,
        settings={"discovery_region": "eu-west-1"},
        environment={"AWS_REGION": ""},
        access_key=europe.access_key,
        secret_key=europe.secret_key,
        configured_region=None,
    ) as running:
        assert running.service.account.region == "eu-west-1"
        assert ask(running, model=f"eu.{SONNET}").status_code == 200


@pytest.mark.parametrize(
    ("asked", "called"),
    [
        (SONNET, f"us.{SONNET}"),
        (f"bedrock/{SONNET}", f"us.{SONNET}"),
        (f"amazon-bedrock/us.{SONNET}", f"us.{SONNET}"),
        (f"converse/{NOVA}", NOVA),
        ("fast", NOVA),
        (None, f"global.{SONNET}"),
        ("gpt-4o", f"global.{SONNET}"),
    ],
)
def test_names_and_what_they_become(east: Simulator, asked: str | None, called: str) -> None:
    names = {"default_model": f"global.{SONNET}", "aliases": f"fast={NOVA}"}
    with proxy(east, discover=True, **names) as running:
        answer = ask(running, model=asked)
    assert answer.status_code == 200
    assert answer.headers["x-bedrock-proxy-model"] == called
    assert answer.headers["x-bedrock-proxy-region"] == "us-east-1"


def test_without_a_default_a_model_must_be_named(east: Simulator) -> None:
    with proxy(east) as running:
        answer = ask(running, model=None)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"
    assert answer.json()["error"]["code"] == "missing_required_parameter"


def test_the_policy_chooses_the_profile(east: Simulator) -> None:
    with proxy(east, discover=True, geographies="global") as running:
        assert ask(running, model=SONNET).headers["x-bedrock-proxy-model"] == f"global.{SONNET}"
        refused = ask(running, model=f"us.{SONNET}")
        listed = [row["id"] for row in httpx.get(f"{running.url}/v1/models").json()["data"]]
    assert refused.status_code == 403
    assert f"us.{SONNET}" not in listed


@pytest.mark.parametrize(
    ("policy", "told"), [("us,global", []), ("none", []), ("us,ue", ["ue"]), ("us-xy", ["us-xy"])]
)
def test_a_geography_that_is_not_known_is_told(
    east: Simulator, caplog: pytest.LogCaptureFixture, policy: str, told: list[str]
) -> None:
    """It may be newer than this proxy, so that it is no error."""
    with proxy(east, geographies=policy):
        pass
    said = [r.getMessage() for r in caplog.records if "geograph" in r.getMessage()]
    assert [line.split("'")[1] for line in said] == told


def test_suggestions_keep_the_geography(east: Simulator) -> None:
    with proxy(east, discover=True) as running:
        answer = ask(running, model="us.anthropic.claude-sonnet-4-5-20250929-v2:0")
    message = answer.json()["error"]["message"]
    assert answer.status_code == 404
    assert message.index(f"us.{SONNET}") < message.find(f"global.{SONNET}") % 10_000


# -- manual models and their cost ---------------------------------------------------------------

PRICED = {
    "id": f"us.{SONNET}",
    "name": "The good one",
    "reasoning": False,
    "input": ["text"],
    "cost": {"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75},
    "contextWindow": 123_456,
    "maxTokens": 77,
}


def test_a_manual_model_wins_over_discovery(east: Simulator) -> None:
    with proxy(east, discover=True, manual=[PRICED]) as running:
        row = httpx.get(f"{running.url}/v1/models/us.{SONNET}").json()
        ask(running, max_tokens=5000)
    assert row["name"] == "The good one"
    assert row["context_window"] == 123_456
    assert row["max_output_tokens"] == 77
    assert row["input_modalities"] == ["text"]
    assert row["reasoning"] is False
    [request] = [one for one in east.requests if one.operation == "ConverseStream"]
    assert request.body["inferenceConfig"]["maxTokens"] == 77


@pytest.mark.parametrize("stream", [False, True])
def test_cost_is_told_and_counted(east: Simulator, stream: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    cost = f'bedrock_proxy_cost_usd_total{{model="us.{SONNET}"}}'
    with proxy(east, manual=[PRICED], usage_cost=True) as running:
        answer = ask(running, **options)
        # Counted once the answer has left, which may be after the client has read it.
        wait_until(lambda: cost in running.samples())
        samples = running.samples()
    if stream:
        chunks = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        usage = json.loads(chunks[-1])["usage"]
    else:
        usage = answer.json()["usage"]
    expected = (usage["prompt_tokens"] * 3 + usage["completion_tokens"] * 15) / 1e6
    assert usage["cost"] == pytest.approx(expected, abs=1e-12)
    assert samples[cost] == pytest.approx(expected)


def test_cost_is_opt_in_and_needs_a_price(east: Simulator) -> None:
    with proxy(east, manual=[PRICED]) as running:
        assert "cost" not in ask(running).json()["usage"]
    with proxy(east, manual=[PRICED], usage_cost=True) as running:
        assert "cost" not in ask(running, model=NOVA).json()["usage"]


# -- clients with Bedrock API keys of their own -------------------------------------------------


@contextmanager
def open_house(simulator: Simulator, **settings: Any) -> Iterator[Running]:
    """A proxy that has no credentials at all: its clients bring theirs."""
    with serving(
        simulator.url,
        settings={"client_keys": True, **settings},
        access_key="",
        secret_key="",
    ) as running:
        yield running


def key(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_a_clients_own_key_makes_the_call(east: Simulator) -> None:
    with open_house(east) as running:
        assert httpx.get(f"{running.url}/readyz").status_code == 200
        answer = ask(running, headers=key(east.bearer))
        also = ask(running, headers={"x-api-key": east.bearer})
        assert httpx.get(f"{running.url}/metrics").status_code == 404
    assert (answer.status_code, also.status_code) == (200, 200)
    sent = [one.headers["authorization"] for one in east.requests]
    assert sent == [f"Bearer {east.bearer}"] * len(sent)


@pytest.mark.parametrize(
    "headers", [{}, key("ABSKwrong"), key("with a blank"), {"authorization": "Bearer"}]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_a_bad_key_is_the_clients_401(east: Simulator, headers: dict[str, str], path: str) -> None:
    with open_house(east) as running:
        if path.endswith("models"):
            answer = httpx.get(running.url + path, headers=headers)
        else:
            answer = ask(running, headers=headers)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


def test_no_access_is_a_403(east: Simulator) -> None:
    east.control(no_access=[f"us.{SONNET}"])
    with open_house(east) as running:
        assert ask(running, headers=key(east.bearer)).status_code == 403
        denied = [
            "ListFoundationModels", "ListInferenceProfiles", "ListProvisionedModelThroughputs",
            "ListCustomModels", "ListCustomModelDeployments", "ListImportedModels",
            "ListMarketplaceModelEndpoints",
        ]  # fmt: skip
        east.control(denied=denied)
        answer = httpx.get(f"{running.url}/v1/models", headers=key(east.bearer))
    assert answer.status_code == 403


def test_a_clients_listing_is_its_own(east: Simulator) -> None:
    with open_house(east) as running:
        first = httpx.get(f"{running.url}/v1/models", headers=key(east.bearer)).json()
        asked = len(east.requests)
        again = httpx.get(f"{running.url}/v1/models", headers=key(east.bearer)).json()
        assert len(east.requests) == asked, "it is kept for this client"
        other = httpx.get(f"{running.url}/v1/models", headers=key("ABSKother"))
        bare = ask(running, model=SONNET, headers=key(east.bearer))
    assert first == again
    assert f"us.{SONNET}" in [row["id"] for row in first["data"]]
    assert other.status_code == 401
    assert bare.headers["x-bedrock-proxy-model"] == f"us.{SONNET}"
    assert running.service.account.discovery.snapshot.list() == ()


def test_an_opaque_arn_is_looked_up_with_the_clients_key(east: Simulator) -> None:
    [arn] = [one.arn for one in east.state.estate.profiles.values() if one.kind == "APPLICATION"][
        :1
    ]
    with open_house(east) as running:
        assert ask(running, model=arn, headers=key(east.bearer)).status_code == 200
        assert ask(running, model=arn, headers=key(east.bearer)).status_code == 200
    lookups = [one for one in east.requests if one.operation == "GetInferenceProfile"]
    assert len(lookups) == 1
    assert lookups[0].headers["authorization"] == f"Bearer {east.bearer}"


def test_reasoning_is_remembered_for_one_client_only(east: Simulator) -> None:
    """Two clients behind one proxy without names: the key tells them apart."""
    with open_house(east) as running:
        clients = running.service.deps.clients
        assert clients is not None
        marks = {clients.caller(key(text)).mark for text in ("ABSKone", "ABSKtwo", "ABSKone")}
    assert len(marks) == 2
    assert not any("ABSK" in mark for mark in marks)


# -- our own credentials in listings ------------------------------------------------------------


def test_a_listing_refused_for_old_credentials_is_asked_again(
    east: Simulator, tmp_path: Path
) -> None:
    files = tmp_path / "credentials"

    def keys(secret: str) -> None:
        files.write_text(
            f"[default]\naws_access_key_id = {east.access_key}\naws_secret_access_key = {secret}\n"
        )

    keys("old")
    with serving(
        east.url,
        environment={"AWS_SHARED_CREDENTIALS_FILE": str(files)},
        access_key="",
        secret_key="",
        settings={"refresh_interval": 0},
    ) as running:
        wait_until(lambda: bool(running.service.account.discovery.state().failed))
        assert httpx.get(f"{running.url}/v1/models").json()["data"] == []
        keys(east.secret_key)
        wait_until(lambda: bool(httpx.get(f"{running.url}/v1/models").json()["data"]), within=15)


def test_failover_targets_as_the_file_writes_them(tmp_path: Path) -> None:
    from proxy.settings import load

    file = tmp_path / "proxy.toml"
    file.write_text('[[targets]]\nregion = "us-west-2"\n')
    rows = orjson.dumps([{"region": "us-west-2"}]).decode()
    from_file = load({}, file, {}).settings.targets
    assert from_file == load({}, None, {"BEDROCK_PROXY_TARGETS": rows}).settings.targets
