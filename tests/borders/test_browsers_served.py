"""Browsers before the whole proxy: CORS, DNS rebinding, and keys that a page must still show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulator import Simulator
from tests.support.running import Running, serving
from tests.support.tenants import SONNET, tenants

APP = "https://app.example.com"
PREFLIGHT = {
    "origin": APP,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
BODY = {"model": SONNET, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def keyless() -> Iterator[tuple[Simulator, Running]]:
    with (
        Simulator() as simulator,
        serving(
            simulator.url, access_key=simulator.access_key, secret_key=simulator.secret_key
        ) as running,
    ):
        yield simulator, running


def ask(url: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=20)


def test_an_allowed_page_asks_first_and_then_shows_its_key(tmp_path: Path) -> None:
    with tenants(tmp_path, {"a": {}}, {"cors_origins": APP}) as proxy:
        path = f"{proxy.url}/v1/chat/completions"
        preflight = httpx.options(path, headers=PREFLIGHT)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == APP
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        answer = ask(proxy.url, {"origin": APP, **proxy.headers("a")})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == APP
        assert "x-ratelimit-remaining-requests" in answer.headers["access-control-expose-headers"]
        refused = ask(proxy.url, {"origin": APP})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == APP  # so the page can tell why
        other = httpx.options(path, headers={**PREFLIGHT, "origin": "https://evil.example"})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers


def test_without_origins_no_page_is_answered(tmp_path: Path) -> None:
    with tenants(tmp_path, {"a": {}}) as proxy:
        asked = httpx.options(f"{proxy.url}/v1/chat/completions", headers=PREFLIGHT)
        assert asked.status_code == 401
        answer = ask(proxy.url, {"origin": APP, **proxy.headers("a")})
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:1234"}, 200),
        ({"host": "[::1]"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "localhost.evil.example:80"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example", "content-type": "text/plain"}, 403),
    ],
)
def test_without_a_key_only_this_machine_is_answered(
    keyless: tuple[Simulator, Running], headers: dict[str, str], status: int
) -> None:
    simulator, running = keyless
    simulator.reset()
    reason = "host" if "host" in headers else "origin"
    rejected = f'bedrock_proxy_requests_rejected_total{{reason="{reason}"}}'
    before = running.samples()[rejected]
    answer = ask(running.url, headers)
    assert answer.status_code == status
    calls = [one for one in simulator.requests if one.operation.startswith("Converse")]
    assert len(calls) == (status == 200)
    assert running.samples()[rejected] == before + (status == 403)
    if status == 403:
        assert answer.json()["error"]["code"] == f"{reason}_not_allowed"


@pytest.mark.parametrize(
    ("settings", "environment"),
    [({"no_auth": True}, {}), ({}, {"BEDROCK_PROXY_API_KEY": "sk-1"})],
)
def test_behind_another_door_any_host_will_do(
    settings: dict[str, Any], environment: dict[str, str]
) -> None:
    with (
        Simulator() as simulator,
        serving(
            simulator.url,
            access_key=simulator.access_key,
            secret_key=simulator.secret_key,
            settings=settings,
            environment=environment,
        ) as running,
    ):
        headers = {"host": "api.example.com", "authorization": "Bearer sk-1"}
        assert ask(running.url, headers).status_code == 200
