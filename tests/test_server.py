"""Coming and going: overload, drain, slow and hostile senders, slow readers; on real sockets."""

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy import app, server
from proxy.cli.sockets import raise_descriptor_limit
from proxy.endpoints.gate import Gate
from tests.relay.answers import EVENTS, GOOD, Told, ask, event, question
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    chunked,
    sending,
    stream_answer,
)
from tests.support.running import Running, serving, wait_until


async def held_open(line: Line) -> None:
    """Begin an answer and leave it hanging."""
    await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:2])))
    await line.until_closed(60)


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(sending(GOOD)) as one:
        yield one
        assert one.faults == []


def refused_as_malformed(proxy: Running) -> float:
    return proxy.samples()['bedrock_proxy_requests_rejected_total{reason="malformed"}']


class Asking(threading.Thread):
    """A client in a thread; ``told`` once it has its answer."""

    def __init__(self, proxy: Running) -> None:
        super().__init__(daemon=True)
        self.proxy = proxy
        self.told: Told | None = None
        self.start()

    def run(self) -> None:
        self.told = ask(self.proxy, timeout=60)

    def end(self) -> Told:
        self.join(20)
        assert self.told is not None
        return self.told


def connect(proxy: Running) -> socket.socket:
    parts = urlsplit(proxy.url)
    client = socket.create_connection((parts.hostname, parts.port))
    client.settimeout(10)
    return client


def read_all(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def refused(proxy: Running) -> bool:
    """Nobody listens any more."""
    try:
        connect(proxy).close()
    except ConnectionRefusedError:
        return True
    return False


def test_above_the_ceiling_the_next_one_is_refused_at_once(upstream: RawUpstream) -> None:
    upstream.scripts = [held_open]
    with serving(upstream.url, settings={"max_streams": 2, "drain_timeout": 0}) as proxy:
        askers = [Asking(proxy) for _ in range(2)]
        wait_until(lambda: len(upstream.calls()) == 2)
        began = time.monotonic()
        told = ask(proxy)
        assert time.monotonic() - began < 5
        assert (told.status, told.error["code"]) == (503, "overloaded")
        assert told.headers["retry-after"] == "1"
        assert told.headers["x-should-retry"] == "true"
        assert len(upstream.calls()) == 2
        assert httpx.get(f"{proxy.url}/readyz").status_code == 200
        proxy.stop()
        for asker in askers:
            assert asker.end().error["code"] == "shutting_down"


def test_a_drain_lets_streams_finish_and_refuses_new_ones(upstream: RawUpstream) -> None:
    go = threading.Event()

    async def until_told(line: Line) -> None:
        await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:2])))
        await asyncio.to_thread(go.wait)
        await line.send(b"".join(map(chunked, EVENTS[2:])) + b"0\r\n\r\n")

    upstream.scripts = [until_told]
    with serving(upstream.url, settings={"drain_timeout": 20, "pre_stop": 2}) as proxy:
        asker = Asking(proxy)
        wait_until(lambda: len(upstream.calls()) == 1)
        proxy.stop()
        wait_until(lambda: httpx.get(f"{proxy.url}/readyz").status_code == 503)
        assert httpx.get(f"{proxy.url}/readyz").json()["leaving"] is True
        assert httpx.get(f"{proxy.url}/healthz").status_code == 200  # still listening
        wait_until(lambda: refused(proxy), within=10)
        go.set()
        told = asker.end()
        assert (told.content, told.done) == ("Hello, sea", True)


def test_what_outlives_the_drain_is_told_so(upstream: RawUpstream) -> None:
    upstream.scripts = [held_open]
    with serving(upstream.url, settings={"drain_timeout": 0.3}) as proxy:
        askers = [Asking(proxy) for _ in range(20)]
        wait_until(lambda: len(upstream.calls()) == 20)
        time.sleep(0.2)
        began = time.monotonic()
        proxy.stop()
        for asker in askers:
            told = asker.end()
            assert told.error["code"] == "shutting_down"
            assert not told.done
            assert told.text.endswith("}\n\n")
        assert time.monotonic() - began < 10


def test_who_still_sends_when_time_is_up_is_told_so(
    upstream: RawUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that is still on its way has no exchange that the drain could end: the net does."""
    with serving(upstream.url, settings={"drain_timeout": 0.2}) as proxy, connect(proxy) as client:
        proxy.server.config.timeout_graceful_shutdown = 1
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{"
        )
        wait_until(
            lambda: proxy.samples()['bedrock_proxy_requests_in_flight{endpoint="chat"}'] == 1
        )
        proxy.stop()
        told = read_all(client)
    assert b" 503 " in told.partition(b"\r\n")[0]
    assert b'"code":"shutting_down"' in told
    assert "Exception in ASGI application" not in caplog.text


def test_an_idle_server_leaves_at_once(upstream: RawUpstream) -> None:
    with serving(upstream.url) as proxy:
        with httpx.Client() as client:
            assert client.get(f"{proxy.url}/healthz").status_code == 200
            began = time.monotonic()
            proxy.stop()
            wait_until(lambda: not proxy.loop.is_running(), within=5)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("sent", "declared"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n", None),
        (b"", None),
        (b"{", 100),
    ],
)
def test_slow_senders_are_not_waited_for(
    upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch, sent: bytes, declared: int | None
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(server, "BODY_SECONDS", 0.4)
    with serving(upstream.url) as proxy, connect(proxy) as client:
        if declared:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                b"content-length: %d\r\n\r\n" % declared
            )
        client.sendall(sent)
        began = time.monotonic()
        assert read_all(client) == b""
        assert 0.3 < time.monotonic() - began < 10
        assert ask(proxy).status == 200


def test_a_head_that_is_too_large_is_refused(upstream: RawUpstream) -> None:
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
        for _ in range(65):  # the last one goes over: what is sent after a refusal resets the line
            client.sendall(b"x-filler: " + b"y" * 1000 + b"\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_answered_in_the_envelope(upstream: RawUpstream) -> None:
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(b"NONSENSE\r\n\r\n")
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        error = orjson.loads(body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["code"] == "malformed_request"


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        (b"1.1", [], 400),
        (b"1.1", [b"localhost", b"localhost"], 400),
        (b"1.0", [b"localhost", b"evil.example"], 400),
        (b"1.1", [b"localhost/healthz"], 400),
        (b"1.0", [b"a b"], 400),
        (b"1.1", [b"a@localhost"], 400),
        (b"1.1", [b"localhost:http"], 400),
        (b"1.1", [b"localhost,localhost:1:2"], 400),
        (b"1.1", [b"b\xc3\xbccher.example"], 400),
        (b"1.1", [b"[::1"], 400),
        (b"1.0", [], 200),  # HAProxy's and other old probes
        (b"1.0", [b"localhost"], 200),
        (b"1.1", [b"10.0.0.7:8000"], 200),  # the kubelet's
        (b"1.1", [b""], 200),  # an authority that is empty is one
        (b"1.1", [b"LOCALHOST: \t"], 200),
        (b"1.1", [b"my_service.default.svc:8000"], 200),
        (b"1.1", [b"[fe80::1%25eth0]:8000"], 200),
    ],
)
def test_a_request_needs_one_host(
    upstream: RawUpstream, version: bytes, hosts: list[bytes], status: int
) -> None:
    lines = b"".join(b"host: %b\r\n" % host for host in hosts)
    head = b"GET /healthz HTTP/%b\r\nconnection: close\r\n%b\r\n" % (version, lines)
    settings = {"api_key": "sk-test"}  # without a key a foreign Host is a 403
    with serving(upstream.url, settings=settings) as proxy, connect(proxy) as client:
        client.sendall(head)
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    if status == 400:
        error = orjson.loads(body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert "Host" in error["message"]


def test_a_request_without_host_ends_its_connection_in_its_turn(upstream: RawUpstream) -> None:
    body = orjson.dumps(question())
    asking = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    hostless = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(asking + hostless + asking)
        answer = read_all(client)
    assert [line.split()[1] for line in answer.split(b"\r\n") if line[:5] == b"HTTP/"] == [
        b"200",
        b"400",
    ]
    assert answer.index(b"data: [DONE]") < answer.index(b"HTTP/1.1 400 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert len(upstream.calls()) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 4\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked, identity",
        b"content-length: 4\r\ncontent-length: 5",
        b"content-length: +4",
        b"transfer-encoding: xchunked",
        b"content-length : 4",
    ],
)
def test_no_second_request_hides_in_a_body(upstream: RawUpstream, head: bytes) -> None:
    hidden = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            + head
            + b"\r\n\r\n0\r\n\r\n"
            + hidden
        )
        client.settimeout(1)
        data = b""
        with contextlib.suppress(TimeoutError):
            data = read_all(client)
        assert b"HTTP/1.1 200" not in data


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_an_offer_of_http2_does_not_cost_the_body(
    upstream: RawUpstream, chunks: bool, whole: bool
) -> None:
    """Java's own HttpClient offers h2c with every request to an http:// address."""
    body = orjson.dumps(question())
    framing = b"transfer-encoding: chunked" if chunks else b"content-length: %d" % len(body)
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nconnection: Upgrade, HTTP2-Settings\r\n"
        b"host: localhost\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\nupgrade: h2c\r\n"
        b"content-type: application/json\r\n" + framing + b"\r\n\r\n"
    )
    sent = head + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunks else body)
    last = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with serving(upstream.url) as proxy, connect(proxy) as client:
        for part in [sent] if whole else [sent[: len(head)], sent[len(head) :]]:
            client.sendall(part)
            time.sleep(0.05)
        client.sendall(last)
        answer = read_all(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"data: [DONE]" in answer
    assert len(upstream.calls()) == 1


@pytest.mark.parametrize("count", [40, 20_000])
def test_a_line_of_requests_has_an_end(upstream: RawUpstream, count: int) -> None:
    """uvicorn queues whatever it can parse: 14 MB of pipelined ``GET /healthz``, which nobody needs
    a key for, took 940 MB. Those within bounds are all answered, in their order."""
    with serving(upstream.url) as proxy, connect(proxy) as client:
        line = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n" * count
        with contextlib.suppress(ConnectionError):  # closed with our bytes unread
            client.sendall(
                line + b"GET /nope HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )
        told = b""
        with contextlib.suppress(ConnectionError):
            told = read_all(client)
    if count == 40:
        assert told.count(b'{"status":"ok"}') == 40
        assert told.rindex(b"unknown_url") > told.rindex(b'{"status":"ok"}')
    else:
        assert told.count(b'{"status":"ok"}') <= server.PIPELINED
        assert told.count(b"Too many pipelined requests.") <= 1


def test_an_offer_without_a_body_is_passed_over(upstream: RawUpstream) -> None:
    offer = (
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\r\n"
    )
    last = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(offer + offer + last)
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 3


def test_http_1_0_is_answered_without_chunks(upstream: RawUpstream) -> None:
    body = orjson.dumps(question())
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.0\r\ncontent-type: application/json\r\n"
            b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        head, _, stream = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head.lower()
    assert b"\r\nconnection: close" in head.lower()
    assert stream.startswith(b"data: {")
    assert stream.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("key", [None, "sk-test"])
def test_a_declared_length_is_judged_before_the_body(
    upstream: RawUpstream, key: str | None
) -> None:
    settings: dict[str, object] = {"max_body_mb": 0.01} | ({"api_key": key} if key else {})
    with serving(upstream.url, settings=settings) as proxy, connect(proxy) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-length: 10000000000\r\n\r\n"
        )
        answer = read_all(client).lower()
        assert answer.startswith(b"http/1.1 401 " if key else b"http/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in answer


def test_a_body_without_length_is_cut_at_the_limit(upstream: RawUpstream) -> None:
    def pour() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    with serving(upstream.url, settings={"max_body_mb": 0.1}) as proxy:
        try:
            response = httpx.post(f"{proxy.url}/v1/chat/completions", content=pour())
        except (httpx.WriteError, httpx.ReadError):
            return  # closed while we were still sending: also a way to say no
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/explain"])
def test_half_sent_bodies_count(
    upstream: RawUpstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    """Only whole bodies did: a hundred that stopped at 15 of 20 MB held 1.5 GB, for minutes."""
    monkeypatch.setattr(app, "Gate", lambda metrics, streams, size: Gate(metrics, streams, 900_000))
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 700000\r\n\r\n" % path.encode()
    with serving(upstream.url, settings={"explain": True}) as proxy:
        gate = proxy.service.gate
        with connect(proxy) as first, connect(proxy) as second:
            first.sendall(head + b" " * 600_000)
            wait_until(lambda: gate._bytes == 600_000)
            second.sendall(head + b" " * 299_000)
            wait_until(lambda: gate._bytes == 899_000)
            second.sendall(b" " * 5_000)
            told = read_some(second)
            assert b" 503 " in told
            assert b'"overloaded"' in told
            wait_until(lambda: gate._bytes == 600_000)
            assert ask(proxy).status == 200  # there is room for a small one
        wait_until(lambda: gate._bytes == 0)
    assert "Exception" not in caplog.text  # who leaves is no fault of ours


def read_some(client: socket.socket) -> bytes:
    """The beginning of an answer: its head and its envelope."""
    told = b""
    while b"}}" not in told and (part := client.recv(65536)):
        told += part
    return told


@pytest.mark.parametrize(
    "endless",
    [b"0\r\n" + b"a: b\r\n" * 50_000, b"0\r\na: " + b"b" * 300_000, b"2;" + b"a" * 300_000],
    ids=["trailers", "one trailer", "the extension of a chunk"],
)
@pytest.mark.parametrize("path", [b"/healthz", b"/v1/chat/completions"])
def test_what_is_no_body_has_an_end(upstream: RawUpstream, path: bytes, endless: bytes) -> None:
    """Trailers were kept as headers are, without a bound: 80 MB of them, which nobody needs a key
    for, took 1.5 GB."""
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % path
    with serving(upstream.url) as proxy, connect(proxy) as client:
        told = b""
        with contextlib.suppress(ConnectionError):  # closed with our bytes unread
            client.sendall(head + b"2\r\n{}\r\n")
            client.settimeout(5)
            for at in range(0, len(endless), 50_000):
                client.sendall(endless[at : at + 50_000])
                time.sleep(0.02)
            told = read_all(client)
        assert b" 200 " not in told
        assert refused_as_malformed(proxy) == 1


def test_a_trailer_changes_nothing(upstream: RawUpstream) -> None:
    body = orjson.dumps(question())
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            b"%x\r\n%b\r\n0\r\nx-amz-meta: 1\r\nhost: other\r\n\r\n" % (len(body), body)
        )
        assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_read_holds_up_its_upstream(upstream: RawUpstream) -> None:
    poured = 0

    async def endless(line: Line) -> None:
        nonlocal poured
        frame = b"".join(map(chunked, [EVENTS[1]] * 50))
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        try:
            while True:
                await line.send(frame)
                poured += len(frame)
        except ConnectionError:
            pass

    upstream.scripts = [endless]
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        body = orjson.dumps(question())
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        time.sleep(1.5)
        first = poured
        time.sleep(0.7)
        assert poured == first  # nothing moves any more
        assert first < 12_000_000  # socket buffers of four ends


@pytest.mark.parametrize("reads", [True, False])
def test_who_takes_nothing_of_the_rest_is_not_waited_for(
    upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """A connection that is to close has megabytes to send: a slow client gets them all, one that
    takes nothing loses its connection, which nobody else would ever end."""
    monkeypatch.setattr(server, "UNREAD_SECONDS", 0.4)
    text = event("contentBlockDelta", contentBlockIndex=0, delta={"text": "x" * 12_000_000})
    upstream.scripts = [sending(stream_answer(EVENTS[0], text, *EVENTS[3:]))]
    with serving(upstream.url) as proxy, connect(proxy) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        body = orjson.dumps(question(stream=False))
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        held = proxy.server.server_state.connections
        if reads:
            taken = 0
            while data := client.recv(65536):
                taken += len(data)
                time.sleep(0.001)
            assert taken > 12_000_000
        else:  # its answer is whole, and only waits to be taken
            wait_until(lambda: bool(held) and all(one.transport.is_closing() for one in held))
        wait_until(lambda: not held, within=8)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("POST", "/v1/chat/completions", 400, None),
    ],
)
def test_every_refusal_has_the_four_keys(
    upstream: RawUpstream, method: str, path: str, status: int, code: str | None
) -> None:
    with serving(upstream.url) as proxy:
        response = httpx.request(
            method, proxy.url + path, content=b"{" if method == "POST" else b""
        )
        assert response.status_code == status
        error = response.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert code in (None, error["code"])
        assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "application/vnd.x+json"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-encoding": "gzip"}, 415),
    ],
)
def test_content_types(upstream: RawUpstream, headers: dict[str, str], status: int) -> None:
    with serving(upstream.url) as proxy:
        url = f"{proxy.url}/v1/chat/completions"
        body = orjson.dumps(question(stream=False))
        assert httpx.post(url, content=body, headers=headers).status_code == status
        assert httpx.post(url, content=body).status_code == 200  # none at all is fine


def test_the_descriptor_limit_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
