"""Limits over HTTP: what a client is told, what an answer costs, and places that come back.

Whatever ends an answer (its end, a fault, a client that leaves) gives its place to the next one.
"""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy.simulator import Fault
from tests.support.running import wait_until
from tests.support.tenants import NOVA, SONNET, Tenants, tenants

PRICE = {"input": 1000.0, "output": 1000.0, "cache_read": 1000.0, "cache_write": 1000.0}


@contextmanager
def limited(folder: Path, *, settings: Any = None, **limits: Any) -> Iterator[Tenants]:
    """Two keys: ``a`` with these limits, ``b`` without any."""
    with tenants(folder, {"a": limits, "b": {}}, settings) as proxy:
        yield proxy


@contextmanager
def streaming(proxy: Tenants, name: str) -> Iterator[httpx.Response]:
    """An answer whose first byte has come and whose end has not."""
    body = {"model": SONNET, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    url = f"{proxy.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=proxy.headers(name), timeout=30) as answer:
        assert answer.status_code == 200, answer.read()
        yield answer


def rejected(proxy: Tenants, reason: str) -> float:
    return proxy.running.samples()[f'bedrock_proxy_requests_rejected_total{{reason="{reason}"}}']


def test_requests_a_minute(tmp_path: Path) -> None:
    with limited(tmp_path, requests_per_minute=3) as proxy:
        answers = [proxy.ask("a") for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        left = [one.headers["x-ratelimit-remaining-requests"] for one in answers]
        assert left == ["2", "1", "0", "0"]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
        refused = answers[3]
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert 0 < int(refused.headers["retry-after-ms"]) <= 20_000
        assert refused.headers["x-should-retry"] == "true"
        assert re.fullmatch(r"\d+(\.\d+)?m?s", refused.headers["x-ratelimit-reset-requests"])
        assert len(proxy.calls()) == 3
        assert rejected(proxy, "rate_limit") == 1
        assert proxy.ask("b").status_code == 200  # another key's limit is not ours
        assert "x-ratelimit-limit-requests" not in proxy.ask("b").headers


def test_of_all_keys_together(tmp_path: Path) -> None:
    settings = {"requests_per_minute": 2}
    with limited(tmp_path, settings=settings, requests_per_minute=100) as proxy:
        assert [proxy.ask(name).status_code for name in "aba"] == [200, 200, 429]
        assert "this proxy" in proxy.ask("b").json()["error"]["message"]


def test_tokens_are_reserved_by_max_tokens_and_settled_by_usage(tmp_path: Path) -> None:
    with limited(tmp_path, tokens_per_minute=10_000) as proxy:
        first = proxy.ask("a", max_tokens=4000)
        reserved = 10_000 - int(first.headers["x-ratelimit-remaining-tokens"])
        assert 4000 < reserved < 4100
        second = proxy.ask("a", max_tokens=4000)
        used = sum(first.json()["usage"][key] for key in ("prompt_tokens", "completion_tokens"))
        left = int(second.headers["x-ratelimit-remaining-tokens"])
        assert used < 100
        assert 10_000 - reserved - used - 1 <= left <= 10_000 - reserved + 100
        tight = proxy.ask("a", text="x" * 60_000)
        assert tight.status_code == 429
        assert tight.json()["error"]["type"] == "tokens"
        assert tight.headers["x-should-retry"] == "false"  # no waiting makes this prompt fit


def test_what_failed_costs_no_tokens(tmp_path: Path) -> None:
    with limited(tmp_path, tokens_per_minute=10_000) as proxy:
        for _ in range(3):
            proxy.simulator.script(
                Fault("error", error="ValidationException", message="no", model="claude")
            )
            assert proxy.ask("a", max_tokens=9000).status_code == 400
        wrong = {"model": SONNET, "messages": [{"role": "user", "content": [{"type": "x"}]}]}
        assert proxy.post("a", "/v1/chat/completions", wrong).status_code == 400
        assert proxy.ask("a", max_tokens=9000).status_code == 200


def test_a_stream_holds_a_place_until_it_ends(tmp_path: Path) -> None:
    with limited(tmp_path, streams=1) as proxy:
        proxy.simulator.settings.pace = 0.05
        with streaming(proxy, "a") as answer:
            refused = proxy.ask("a")
            assert refused.status_code == 429
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert refused.headers["retry-after"] == "1"
            assert proxy.ask("b").status_code == 200
            answer.read()
        assert proxy.ask("a").status_code == 200


def test_a_client_that_leaves_gives_its_place_back(tmp_path: Path) -> None:
    with limited(tmp_path, streams=1, tokens_per_minute=100_000) as proxy:
        proxy.simulator.settings.pace = 0.2
        with streaming(proxy, "a") as answer:
            next(answer.iter_bytes())
        proxy.simulator.settings.pace = 0.0
        wait_until(lambda: proxy.ask("a").status_code == 200)
        # What it was given is not known, so what was reserved counts as used.
        assert int(proxy.ask("a").headers["x-ratelimit-remaining-tokens"]) < 96_000


@pytest.mark.parametrize("given_up_by", ["hanging up", "a deadline"])
def test_who_does_not_wait_for_the_first_word_pays_too(tmp_path: Path, given_up_by: str) -> None:
    """Bedrock bills what it was asked, heard out or not: else a daily budget would bind nobody who
    hangs up in time, and ``x-stainless-timeout`` would be a discount."""
    with limited(tmp_path, tokens_per_minute=100_000) as proxy:
        proxy.simulator.script(Fault("delay", delay=30, times=1, model="claude"))
        if given_up_by == "hanging up":
            messages = [{"role": "user", "content": "Hello"}]
            body = {"model": SONNET, "max_tokens": 50_000, "messages": messages}
            url = f"{proxy.url}/v1/chat/completions"
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url, json=body, headers=proxy.headers("a"), timeout=0.5)
        else:
            headers = {"x-stainless-timeout": "0.5"}
            assert proxy.ask("a", headers=headers, max_tokens=50_000).status_code == 504
        wait_until(lambda: in_flight(proxy) == 0)
        left = int(proxy.ask("a").headers["x-ratelimit-remaining-tokens"])
        assert left < 80_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", error="ThrottlingException", status=429, times=3, model="claude"),
        Fault("cut", size=200, times=3, model="claude"),
        Fault("exception", error="modelStreamErrorException", after=3, model="claude"),
        Fault("truncate", size=300, times=3, model="claude"),
    ],
    ids=lambda fault: fault.kind,
)
def test_every_fault_gives_the_place_back(tmp_path: Path, fault: Fault) -> None:
    with limited(tmp_path, streams=1) as proxy:
        for stream in (True, False):
            proxy.simulator.script(fault)
            proxy.ask("a", stream=stream)
            proxy.simulator.reset()
        assert proxy.ask("a").status_code == 200


def test_a_half_sent_request_holds_no_place(tmp_path: Path) -> None:
    with limited(tmp_path, streams=1) as proxy:
        parts = urlsplit(proxy.url)
        with socket.create_connection((parts.hostname, parts.port)) as client:
            key = proxy.keys["a"].encode()
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b"
                b'\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"model' % key
            )
            wait_until(lambda: in_flight(proxy) == 1)
            assert proxy.ask("a").status_code == 200


def in_flight(proxy: Tenants) -> float:
    return proxy.running.samples().get('bedrock_proxy_requests_in_flight{endpoint="chat"}', 0)


def test_many_at_once_never_exceed_the_limit(tmp_path: Path) -> None:
    with limited(tmp_path, streams=3) as proxy:
        proxy.simulator.settings.pace = 0.02
        told: list[int] = []
        threads = [
            threading.Thread(target=lambda: told.append(proxy.ask("a").status_code))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(set(told)) == [200, 429]
        calls = [(one.at, one.gone_at) for one in proxy.calls()]
        assert len(calls) == told.count(200)
        proxy.simulator.settings.pace = 0.0
        assert proxy.ask("a").status_code == 200


def test_a_daily_budget(tmp_path: Path) -> None:
    """At 1,000 USD a million tokens, an answer of 40 tokens costs 4 cents."""
    settings = {"manual": [{"id": SONNET, "cost": PRICE}]}
    with limited(tmp_path, settings=settings, daily_budget_usd=0.1) as proxy:
        answers = []
        while not answers or answers[-1].status_code == 200:
            answers.append(proxy.ask("a", max_tokens=60))
            assert len(answers) < 10
        refused = answers[-1]
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "false"
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        spent = sum(sum_of(one.json()["usage"]) for one in answers[:-1]) / 1000
        assert spent >= 0.1 - 0.07  # no more was held back than one answer may cost
        assert rejected(proxy, "budget") == 1
        assert proxy.ask("a", model=NOVA).status_code == 429  # it is spent, whatever is asked
        assert proxy.ask("b").status_code == 200


def sum_of(usage: Any) -> int:
    total: int = usage["prompt_tokens"] + usage["completion_tokens"]
    return total


def test_all_endpoints_count(tmp_path: Path) -> None:
    with limited(tmp_path, requests_per_minute=3) as proxy:
        embedding = {"model": "amazon.titan-embed-text-v2:0", "input": "Hello"}
        assert proxy.post("a", "/v1/embeddings", embedding).status_code == 200
        completion = {"model": NOVA, "prompt": ["Hello", "there"]}
        assert proxy.post("a", "/v1/completions", completion).status_code == 200
        assert proxy.ask("a").status_code == 200
        assert proxy.post("a", "/openai/v1/embeddings", embedding).status_code == 429
        assert proxy.get("a", "/v1/models").status_code == 200  # a listing spends nothing


def test_a_limit_that_changes_holds_at_once(tmp_path: Path) -> None:
    with limited(tmp_path, requests_per_minute=1000) as proxy:
        assert proxy.ask("a").status_code == 200
        file = tmp_path / "keys.toml"
        file.write_text(file.read_text().replace("requests_per_minute = 1000", "streams = 7"))
        proxy.running.loop.call_soon_threadsafe(proxy.running.service.reload)
        wait_until(lambda: "x-ratelimit-limit-requests" not in proxy.ask("a").headers)


def test_nothing_is_counted_where_nothing_is_limited(tmp_path: Path) -> None:
    with limited(tmp_path) as proxy:
        answer = proxy.ask("a")
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        assert orjson.loads(answer.content)["choices"]
