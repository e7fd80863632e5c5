"""Of real requests: what is measured is what happened, and whose time it was."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulator import Fault, Simulator
from tests.support.running import Running, serving, wait_until

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PREFIX = "bedrock_proxy_"


@pytest.fixture
def proxy(simulator: Simulator) -> Iterator[Running]:
    """A new one for each test: figures begin at zero."""
    simulator.reset()
    with serving(
        simulator.url, access_key=simulator.access_key, secret_key=simulator.secret_key
    ) as one:
        yield one


def ask(proxy: Running, **changes: Any) -> int:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], **changes}
    answer = httpx.post(f"{proxy.url}/v1/chat/completions", json=body, timeout=20)
    wait_until(lambda: total(proxy, "requests_in_flight") == 0)
    return answer.status_code


def total(proxy: Running, name: str, *having: str) -> float:
    return sum(
        value
        for key, value in proxy.samples().items()
        if key.startswith(f"{PREFIX}{name}{{") and all(word in key for word in having)
    )


def test_the_models_time_is_not_ours(proxy: Running, simulator: Simulator) -> None:
    """Slow to begin and slow between words: none of it is overhead; a retry's pause is neither."""
    simulator.control(latency=0.3, pace=0.15)
    simulator.script(Fault("throttle", times=1, model="sonnet"))
    assert ask(proxy, stream=True) == 200
    assert total(proxy, "upstream_retries_total") == 1
    assert total(proxy, "upstream_first_event_seconds_sum") > 0.25
    assert total(proxy, "time_to_first_token_seconds_sum") > 0.4
    assert total(proxy, "inter_chunk_seconds_sum") > 0.1
    for phase in ("request", "first_event"):
        assert total(proxy, "overhead_seconds_count", f'"{phase}"') == 1
        assert 0 < total(proxy, "overhead_seconds_sum", f'"{phase}"') < 0.2
    assert ask(proxy, stream=False) == 200
    assert total(proxy, "overhead_seconds_count", '"response"') == 1
    assert 0 < total(proxy, "overhead_seconds_sum", '"response"') < 0.1


def test_the_clients_upload_is_not_our_time(proxy: Running) -> None:
    body = b'{"model": "%b", "messages": [{"role": "user", "content": "Hi"}]}' % MODEL.encode()

    def slowly() -> Iterator[bytes]:
        yield body[:20]
        time.sleep(0.4)
        yield body[20:]

    assert httpx.post(f"{proxy.url}/v1/chat/completions", content=slowly()).status_code == 200
    wait_until(lambda: total(proxy, "requests_total") == 1)
    assert total(proxy, "request_duration_seconds_sum") > 0.3
    assert 0 < total(proxy, "overhead_seconds_sum", '"request"') < 0.3


def test_a_clients_model_names_make_no_series(proxy: Running) -> None:
    for number in range(5):
        ask(proxy, model=f"vendor.invented-{number}")
    assert total(proxy, "requests_total", 'model="other"') == 5
    assert not [key for key in proxy.samples() if "invented" in key]


def test_a_stream_that_fails_inside_is_no_success(proxy: Running, simulator: Simulator) -> None:
    simulator.script(Fault("exception", error="internalServerException", after=3, model="sonnet"))
    assert ask(proxy, stream=True) == 200
    assert total(proxy, "requests_total", 'status="200"', 'code="ok"') == 0
    assert total(proxy, "stream_errors_total") == 1


@pytest.mark.parametrize(("lines", "phase"), [(0, "before_first_token"), (6, "streaming")])
def test_when_a_client_left(proxy: Running, simulator: Simulator, lines: int, phase: str) -> None:
    simulator.control(pace=0.1, latency=0.0 if lines else 5.0)
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello."}]}
    if lines:
        with httpx.stream("POST", f"{proxy.url}/v1/chat/completions", json=body) as answer:
            for number, _ in enumerate(answer.iter_lines()):
                if number >= lines:
                    break
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{proxy.url}/v1/chat/completions", json=body, timeout=0.5)
    wait_until(lambda: total(proxy, "client_disconnects_total", f'"{phase}"') == 1)
    assert total(proxy, "client_disconnects_total") == 1
    wait_until(lambda: total(proxy, "requests_in_flight") == 0)
    assert total(proxy, "requests_total", 'status="499"') == 1
    assert total(proxy, "streams_in_flight") == 0


def test_the_page_speaks_what_is_asked_for(proxy: Running) -> None:
    for accept, kind in (
        ("", "text/plain; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("text/html", "text/plain"),
    ):
        answer = httpx.get(f"{proxy.url}/metrics", headers={"accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind.split(";")[0])
        assert answer.text.endswith("# EOF\n") == ("openmetrics" in kind)


def test_a_list_that_never_was_is_one_that_is_stale() -> None:
    """The alert compares with the last success: without a figure it would never fire."""
    with serving("http://127.0.0.1:9") as proxy:
        wait_until(lambda: total(proxy, "discovery_refreshes_total", '"error"') == 1)
        assert any("discovery_last_success_timestamp" in key for key in proxy.samples())
        assert total(proxy, "discovery_last_success_timestamp_seconds") == 0


def test_what_the_operator_must_know_is_there(proxy: Running) -> None:
    wait_until(lambda: total(proxy, "discovery_refreshes_total", '"ok"') == 1)
    assert abs(total(proxy, "discovery_last_success_timestamp_seconds") - time.time()) < 60
    assert total(proxy, "discovery_interval_seconds") == 3600
    wait_until(lambda: total(proxy, "discovered_models", '"foundation"') > 10)
    assert total(proxy, "discovered_models", '"profile"') > 10
    assert total(proxy, "credentials_expiry_timestamp_seconds") == float("inf")
    assert total(proxy, "discovery_refreshes_total", '"error"') == 0
    assert any('outcome="error"' in key for key in proxy.samples())
    wait_until(lambda: total(proxy, "event_loop_lag_seconds_count") > 0)
