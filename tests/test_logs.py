"""One line per request that tells enough, and nothing that must stay secret."""

import io
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy import logs
from proxy.access.refusals import MOST
from proxy.metrics import Record
from proxy.simulator import Fault, Simulator
from tests.support.running import Running, serving, wait_until

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROMPT, KEY, QUERY, SYSTEM = "prompt-4711", "sk-key-4711", "query-4711", "system-4711"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., io.StringIO]]:
    """``logged("info", "json")`` configures the log and gives what it writes to."""
    names = ("", logs.NAME, "proxy", "uvicorn", "uvicorn.error")
    kept = [(one, one.level, one.handlers[:]) for one in map(logging.getLogger, names)]

    def begin(level: str, style: str, stderr: io.StringIO | None = None) -> io.StringIO:
        stream = stderr or io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure(level, style)
        return stream

    yield begin
    for logger, level, handlers in kept:
        logger.setLevel(level)
        logger.handlers = handlers


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def requests(stream: io.StringIO) -> list[dict[str, Any]]:
    return [line for line in lines(stream) if line["message"] == "request"]


def record(**changes: Any) -> Record:
    one = Record(
        "chat", MODEL, True, request_id="req_1", began=10.0, first_content=10.25, ended=11.5,
        key="team-red", region="us-east-1", upstream_id="up-1", finish="stop", retries=1,
        input_tokens=3, output_tokens=4, cache_read_tokens=5, cache_write_tokens=6,
        notes=("top_k:dropped",), trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    )  # fmt: skip
    for name, value in changes.items():
        setattr(one, name, value)
    return one


# ---- the line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("where", ["", logs.NAME])
def test_who_else_listens_gets_a_record(
    logged: Any, style: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the line is the same as without."""
    monkeypatch.setattr("time.time", lambda: 1_790_000_000.2505)
    monkeypatch.setattr("time.time_ns", lambda: 1_790_000_000_250_500_000)  # a record's, from 3.13
    stream = logged("info", style)
    logs.request_line(record(), "my-alias", MODEL)
    heard: list[logging.LogRecord] = []
    other = logging.Handler()
    monkeypatch.setattr(other, "emit", heard.append)
    logging.getLogger(where).addHandler(other)
    logs.request_line(record(), "my-alias", MODEL)
    logs.request_line(record(status=503), "my-alias", MODEL)
    first, second, third = stream.getvalue().splitlines()
    assert first == second
    assert "warning" in third
    assert [(one.getMessage(), one.levelname) for one in heard] == [
        ("request", "INFO"),
        ("request", "WARNING"),
    ]
    assert heard[0].fields["model"] == "my-alias"  # type: ignore[attr-defined]


def test_a_request_is_one_json_line(logged: Any) -> None:
    stream = logged("info", "json")
    logs.request_line(record(), "my-alias", MODEL)
    [line] = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "message": "request", "request_id": "req_1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "upstream_id": "up-1", "key": "team-red",
        "endpoint": "chat", "model": "my-alias", "called": MODEL, "region": "us-east-1",
        "stream": True, "status": 200, "code": "ok", "in_band": None, "disconnect": None,
        "finish": "stop", "ttft_ms": 250.0, "duration_ms": 1500.0, "input_tokens": 3,
        "output_tokens": 4, "cache_read_tokens": 5, "cache_write_tokens": 6,
        "notes": ["top_k:dropped"], "retries": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "info"),
        ({"status": 400, "code": "invalid_value"}, "info"),
        ({"status": 429, "code": "rate_limit_exceeded"}, "info"),
        ({"status": 499, "code": "client_disconnected", "disconnect": "streaming"}, "info"),
        ({"status": 502, "code": "upstream_error"}, "warning"),
        ({"in_band": True, "code": "upstream_truncated"}, "warning"),
    ],
)
def test_what_failed_on_our_side_is_a_warning(logged: Any, changes: Any, level: str) -> None:
    stream = logged("info", "json")
    logs.request_line(record(**changes), "a", "b")
    [line] = lines(stream)
    assert line["level"] == level
    assert line["code"] == changes.get("code", "ok")
    stream = logged("warning", "json")
    logs.request_line(record(**changes), "a", "b")
    assert len(lines(stream)) == (level == "warning")


def test_levels(logged: Any) -> None:
    for level, count in (("debug", 4), ("info", 3), ("warning", 2), ("error", 1)):
        stream = logged(level, "json")
        logs.logger.debug("x")
        logs.logger.info("x")
        logs.logger.warning("x")
        logs.logger.error("x")
        assert len(lines(stream)) == count


def test_text_is_for_terminals(logged: Any) -> None:
    for style, terminal, text in (
        ("auto", False, False), ("auto", True, True), ("json", True, False), ("text", False, True),
    ):  # fmt: skip
        stream = logged("info", style, Terminal() if terminal else io.StringIO())
        logs.request_line(record(disconnect=None), "my-alias", MODEL)
        [line] = stream.getvalue().splitlines()
        assert line.startswith("{") != text
        if text:
            assert " info    request request_id=req_1 " in line
            assert "notes=top_k:dropped" in line
            assert "disconnect" not in line  # what says nothing is left out


def test_a_clients_words_cannot_end_a_line(logged: Any) -> None:
    evil = "a\nlevel=error\r\x1b[2J\u2028\x9b31m"
    for style in ("json", "text"):
        stream = logged("info", style)
        logs.request_line(record(), evil, "b")
        logs.logger.warning("%s", evil)
        assert len(stream.getvalue().splitlines()) == 2
        if style == "text":
            assert "\x1b" not in stream.getvalue()
            assert "\x9b" not in stream.getvalue()


def test_a_name_is_cut(logged: Any) -> None:
    stream = logged("info", "json")
    logs.request_line(record(), "x" * 100_000, "b")
    assert len(stream.getvalue()) < 1000


def test_what_is_no_unicode_is_logged_all_the_same(logged: Any) -> None:
    stream = logged("info", "json")
    logs.request_line(record(), "\ud800", "b")
    assert "\\ud800" in stream.getvalue()
    stream = logged("info", "text")
    logs.request_line(record(), "\ud800", "b")
    assert "\\ud800" in stream.getvalue()


def test_an_exceptions_message_is_shown_at_debug_only(logged: Any) -> None:
    def fail() -> None:
        try:
            raise KeyError(PROMPT)
        except KeyError as fault:
            raise ValueError(f"quotes {PROMPT}") from fault

    for level, style in (("info", "json"), ("info", "text"), ("debug", "json"), ("debug", "text")):
        stream = logged(level, style)
        try:
            fail()
        except ValueError:
            logs.logger.exception("unforeseen")
        told = stream.getvalue()
        assert (PROMPT in told) == (level == "debug")
        assert "ValueError" in told
        assert "KeyError" in told
        assert "test_logs.py" in told


def test_a_ring_of_exceptions_has_an_end(logged: Any) -> None:
    stream = logged("info", "json")
    first, second = ValueError(PROMPT), KeyError(PROMPT)
    first.__cause__, second.__cause__ = second, first
    logs.logger.error("unforeseen", exc_info=first)
    [line] = lines(stream)
    assert line["exception"] == "KeyError\nValueError"


def test_what_libraries_warn_of_comes_in_the_same_form(logged: Any) -> None:
    stream = logged("info", "json")
    logging.getLogger("botocore").warning("careful")
    logging.getLogger("botocore").info("chatter")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("proxy.bedrock.credentials").info("renewed")
    assert [line["message"] for line in lines(stream)] == ["careful", "renewed"]


# ---- of real requests -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxy(simulator: Simulator) -> Iterator[Running]:
    with serving(
        simulator.url, environment={"BEDROCK_PROXY_API_KEY": KEY},
        access_key=simulator.access_key, secret_key=simulator.secret_key,
    ) as one:  # fmt: skip
        yield one


def ask(proxy: Running, **changes: Any) -> httpx.Response:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    return httpx.post(
        f"{proxy.url}/v1/chat/completions?token={QUERY}",
        headers={"authorization": f"Bearer {KEY}", "x-request-id": "mine"},
        json={"model": MODEL, "messages": messages, **changes}, timeout=20,
    )  # fmt: skip


def test_every_request_has_its_line(logged: Any, proxy: Running, simulator: Simulator) -> None:
    stream = logged("info", "json")
    assert ask(proxy, stream=True).status_code == 200
    assert ask(proxy, model="").status_code in (400, 404)
    simulator.script(Fault("throttle", times=1, model="sonnet"))
    assert ask(proxy).status_code == 200
    simulator.script(Fault("exception", error="internalServerException", after=3, model="sonnet"))
    assert ask(proxy, stream=True).status_code == 200
    wait_until(lambda: len(requests(stream)) == 4)
    good, refused, again, broken = requests(stream)
    assert all(one["request_id"] == "mine" for one in requests(stream))
    assert (good["status"], good["code"], good["finish"]) == (200, "ok", "stop")
    assert good["region"] == "us-east-1"
    assert good["upstream_id"]
    assert good["key"] == "default"
    assert good["output_tokens"] > 0
    assert 0 < good["ttft_ms"] <= good["duration_ms"]
    assert refused["upstream_id"] is None
    assert again["retries"] == 1
    assert (broken["status"], broken["in_band"], broken["level"]) == (200, True, "warning")


def test_listings_and_refusals_have_their_lines_too(logged: Any, proxy: Running) -> None:
    stream = logged("info", "json")
    good = {"authorization": f"Bearer {KEY}", "x-request-id": "mine"}
    assert httpx.get(f"{proxy.url}/v1/models", headers=good).status_code == 200
    assert httpx.get(f"{proxy.url}/v1/models/{MODEL}", headers=good).status_code == 200
    assert httpx.get(f"{proxy.url}/v1/models/{PROMPT}", headers=good).status_code == 404
    assert httpx.get(f"{proxy.url}/v1/models?type={QUERY}", headers=good).status_code == 400
    assert httpx.get(f"{proxy.url}/v1/models", headers={"x-request-id": "mine"}).status_code == 401
    assert httpx.get(f"{proxy.url}/healthz").status_code == 200
    wait_until(lambda: len(requests(stream)) == 5)
    shape = set(requests(stream)[0])
    told = []
    for line in requests(stream):
        assert set(line) == shape
        assert (line["request_id"], line["level"]) == ("mine", "info")
        assert line["duration_ms"] >= 0
        told.append((line["endpoint"], line["key"], line["model"], line["status"], line["code"]))
    assert told == [
        ("models", "default", "", 200, "ok"),
        ("models", "default", MODEL, 200, "ok"),
        ("models", "default", "", 404, "model_not_found"),
        ("models", "default", "", 400, "invalid_value"),
        ("door", None, "", 401, "invalid_api_key"),
    ]
    assert not [name for name in proxy.samples() if 'endpoint="models"' in name]


def test_a_url_that_is_none_has_its_line(logged: Any, proxy: Running) -> None:
    stream = logged("info", "json")
    good = {"authorization": f"Bearer {KEY}", "x-request-id": "mine"}
    rejected = 'bedrock_proxy_requests_rejected_total{reason="unknown_url"}'
    before = proxy.samples()[rejected]
    arn = "arn:aws:bedrock:us-east-1:123456789012:x"
    for method, path, status in (
        ("POST", f"/v1/v1/chat/completions?token={QUERY}", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", f"/v1/{'k' * 64}/chat/completions", 404),
        ("GET", f"/v1/engines/{arn}/123456789012", 404),
        ("GET", "/v1/a%0a%7b%22b%22" + "/c" * 300, 404),
        ("POST", "/healthz", 405),
        ("POST", "/readyz/", 405),
        ("DELETE", "/metrics", 405),
    ):
        told = httpx.request(method, proxy.url + path, headers=good)
        assert (told.status_code, told.headers["x-request-id"]) == (status, "mine")
    assert httpx.get(f"{proxy.url}/nothing").status_code == 401  # first a key, then a URL
    wait_until(lambda: len(requests(stream)) == 6)
    *told_by_url, door = requests(stream)
    for line in told_by_url:
        assert (line["endpoint"], line["key"], line["level"]) == ("unknown", "default", "info")
        assert (line["request_id"], line["model"]) == ("mine", "")
    assert [(line["url"], line["status"], line["code"]) for line in told_by_url] == [
        ("POST /v1/v1/chat/completions", 404, "unknown_url"),
        ("GET /v1/chat/completions", 405, "method_not_allowed"),
        ("POST /v1/*/chat/completions", 404, "unknown_url"),
        ("GET /v1/engines/*/<account>", 404, "unknown_url"),
        ("GET " + ('/v1/a\n{"b"' + "/c" * 300)[:200], 404, "unknown_url"),
    ]
    assert (door["endpoint"], "url" in door) == ("door", False)
    assert proxy.samples()[rejected] == before + 8


def test_a_flood_of_urls_that_are_none_is_told_by_its_number(
    logged: Any, simulator: Simulator
) -> None:
    with serving(simulator.url) as keyless, httpx.Client(base_url=keyless.url) as client:
        stream = logged("info", "json")
        for number in range(MOST + 20):
            assert client.get(f"/nothing/{number}").status_code == 404
        told = requests(stream)
        assert [line["url"] for line in told] == [f"GET /nothing/{n}" for n in range(MOST)]
        headers = {"host": "evil.example"}  # the door's lines are counted by themselves
        assert client.get("/v1/models", headers=headers).status_code == 403
        wait_until(lambda: requests(stream)[-1]["endpoint"] == "door")


def test_what_is_no_http_is_told_but_never_a_flood_of_it(logged: Any, simulator: Simulator) -> None:
    """No key is needed for it, and a connection costs less than its line."""
    sent = (
        b"\x16\x03\x01\x02\x00\x01\x00\x01",  # TLS, at a port without
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000,
    )
    malformed = 'bedrock_proxy_requests_rejected_total{reason="malformed"}'
    with serving(simulator.url, environment={"BEDROCK_PROXY_API_KEY": KEY}) as one:
        stream = logged("info", "json")
        parts = urlsplit(one.url)
        for number in range(MOST + 20):
            with socket.create_connection((parts.hostname, parts.port)) as client:
                client.sendall(sent[number % 3])
                with suppress(ConnectionResetError):  # what was not read of a head resets the line
                    assert client.recv(100)
        wait_until(lambda: one.samples()[malformed] == MOST + 20)
    told = requests(stream)
    assert len(told) == MOST
    assert {line["endpoint"] for line in told} == {"door"}
    assert {line["level"] for line in lines(stream)} == {"info"}
    assert [(line["status"], line["code"]) for line in told[:3]] == [
        (400, "malformed_request"),
        (400, "malformed_request"),
        (431, "head_too_large"),
    ]


def test_a_page_that_is_turned_away_is_told(logged: Any, simulator: Simulator) -> None:
    with serving(simulator.url) as open_to_this_machine:
        stream = logged("info", "json")
        told = httpx.get(f"{open_to_this_machine.url}/v1/models", headers={"host": "evil.example"})
        assert told.status_code == 403
        wait_until(lambda: len(requests(stream)) == 1)
    [line] = requests(stream)
    assert (line["endpoint"], line["status"], line["code"]) == ("door", 403, "host_not_allowed")
    assert line["request_id"] == told.headers["x-request-id"]
    assert "evil" not in stream.getvalue()


def test_a_client_that_left_is_told(logged: Any, proxy: Running, simulator: Simulator) -> None:
    stream = logged("info", "json")
    simulator.control(pace=0.05)
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    with httpx.stream(
        "POST", f"{proxy.url}/v1/chat/completions", json=body,
        headers={"authorization": f"Bearer {KEY}"},
    ) as answer:  # fmt: skip
        for number, _ in enumerate(answer.iter_lines()):
            if number > 6:
                break
    wait_until(lambda: len(requests(stream)) == 1)
    simulator.control(pace=0.0)
    [line] = requests(stream)
    assert (line["status"], line["code"]) == (499, "client_disconnected")
    assert line["disconnect"] == "streaming"


def test_secrets_stay_secret(
    logged: Any, proxy: Running, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, keys, queries; in answers, refusals, broken requests and faults of ours."""
    stream = logged("info", "json")
    url = f"https://media.example/{PROMPT}.png?signature={QUERY}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": PROMPT}]
    asked: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"messages": [{"role": "user", "content": parts}]},
        {"messages": [{"role": PROMPT, "content": "x"}]},
        {"temperature": PROMPT},
        {PROMPT: 1},
        {"tools": [{"type": "function", "function": {"name": PROMPT, "parameters": {}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}},
        {"user": PROMPT, "metadata": {"a": PROMPT}},
    ]
    for changes in asked:
        ask(proxy, **changes)
    simulator.script(
        Fault("error", error="ValidationException", message=f"bad {PROMPT}", model="sonnet")
    )
    ask(proxy)
    httpx.post(
        f"{proxy.url}/v1/chat/completions", headers={"authorization": f"Bearer {KEY}"},
        content=f'{{"messages": "{PROMPT}'.encode(),
    )  # fmt: skip
    httpx.post(f"{proxy.url}/v1/chat/completions", headers={"authorization": f"Bearer {KEY}x"})
    httpx.get(f"{proxy.url}/v1/models/{PROMPT}?x={QUERY}", headers={"api-key": KEY})

    def broken(*arguments: Any) -> Any:
        raise ValueError(PROMPT)

    monkeypatch.setattr(proxy.service.deps.resolver, "resolve", broken)
    assert ask(proxy).status_code == 500
    wait_until(lambda: len(requests(stream)) == 14)
    told = stream.getvalue()
    assert "unforeseen" in told
    for secret in (PROMPT, KEY, QUERY, SYSTEM, simulator.secret_key, simulator.access_key):
        assert secret not in told
