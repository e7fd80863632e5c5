"""Remote media through the whole proxy: fetched for whom it may be, and never from inside.

The secret server listens on this machine; every trick of ``tests/media/test_fetch.py`` is sent to
it as an image of a chat. The real fetcher is at work, with the machine's own names.
"""

import asyncio
import base64
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

import proxy.defences as defences
from proxy.media.fetch import Fetcher
from proxy.simulator import Simulator
from tests.support.running import serving
from tests.support.tenants import NOVA, SONNET, Tenants, tenants

PUBLIC = "93.184.215.14"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
URL = "https://img.example/a.png"


def image(url: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]


@contextmanager
def secret_server() -> Iterator[tuple[int, list[str]]]:
    """A server on loopback that answers everything with a secret; its port, and what was asked."""
    asked: list[str] = []

    class Secret(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PNG + b"the secret")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Secret)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


def tricks(port: int) -> Iterator[str]:
    hosts = (
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "0.0.0.0",
        "127.0.0.0x1", "0177.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "user@127.0.0.1", "img.example@127.0.0.1", "127.0.0.1%00.example.com",
        "%31%32%37.0.0.1", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
        "169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "10.0.0.1", "192.168.0.1",
    )  # fmt: skip
    for host in hosts:
        yield f"https://{host}:{port}/latest/meta-data/"
        yield f"http://{host}:{port}/latest/meta-data/"
    yield f"https://{hosts[0]}/a.png"
    yield f"https://img.example\\@127.0.0.1:{port}/"
    yield f"https://img.example#@127.0.0.1:{port}/"
    yield f"http:127.0.0.1:{port}/"
    yield f" http://127.0.0.1:{port}/ "
    yield f"HTTP://127.0.0.1:{port}/"
    yield "file:///etc/passwd"
    yield "gopher://127.0.0.1:1/_x"
    yield "ftp://127.0.0.1/x"
    yield f"//127.0.0.1:{port}/"


PARTS = (
    lambda url: {"type": "image_url", "image_url": {"url": url}},
    lambda url: {"type": "input_image", "image_url": url},
    lambda url: {"type": "image", "source": {"type": "url", "url": url}},
    lambda url: {"type": "document", "source": {"type": "url", "url": url}},
    lambda url: {"type": "file", "file": {"file_data": url, "filename": "a.pdf"}},
    lambda url: {"type": "input_file", "file_url": url},
    lambda url: {"type": "video_url", "video_url": {"url": url}},
    lambda url: {"type": "audio_url", "audio_url": {"url": url}},
)


@pytest.mark.parametrize("any_port", [False, True])
def test_no_url_of_any_part_reaches_a_server_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_port: bool
) -> None:
    """As it is shipped; and with the secret's port allowed, so that only addresses are judged."""
    with secret_server() as (port, asked):
        if any_port:
            monkeypatch.setattr(defences, "Fetcher", partial(Fetcher, ports=frozenset({443, port})))
        check_tricks(tmp_path, port, asked)


def check_tricks(tmp_path: Path, port: int, asked: list[str]) -> None:
    with tenants(tmp_path, {"a": {}}) as proxy:
        assert httpx.get(f"http://127.0.0.1:{port}/").content.endswith(b"the secret")
        assert asked == ["/"]  # it is there, and it counts
        for number, url in enumerate(tricks(port)):
            refused = proxy.ask("a", text=[PARTS[(number + number // 2) % len(PARTS)](url)])
            assert refused.status_code == 400, (url, refused.text)
            error = refused.json()["error"]
            assert error["param"].startswith("messages[0].content[0].")
            assert "secret" not in error["message"]
        assert asked == ["/"]
        assert proxy.calls() == []


class Internet:
    """Names, and what stands behind the one public address."""

    def __init__(self) -> None:
        self.names = {"img.example": [PUBLIC], "inside.example": ["10.0.0.7"]}
        self.asked: list[str] = []
        self.answer = httpx.Response(200, headers={"content-type": "image/png"}, content=PNG)
        self.pause = 0.0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        return self.names[host]

    def engine(self, address: str, name: str) -> httpx.AsyncBaseTransport:
        async def handle(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(self.pause)
            self.asked.append(f"{name}{request.url.path}")
            return self.answer

        return httpx.MockTransport(handle)


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    made = Internet()
    fetcher = partial(Fetcher, resolve=made.resolve, engine=made.engine)
    monkeypatch.setattr(defences, "Fetcher", fetcher)
    return made


def fetches(proxy: Tenants, outcome: str) -> float:
    return proxy.running.samples()[f'bedrock_proxy_image_fetches_total{{outcome="{outcome}"}}']


def test_an_image_is_fetched_and_sent(tmp_path: Path, internet: Internet) -> None:
    with tenants(tmp_path, {"a": {}}) as proxy:
        for stream in (False, True):
            assert proxy.ask("a", text=image(URL), stream=stream).status_code == 200
            block = proxy.last().body["messages"][0]["content"][1]
            assert block["image"]["format"] == "png"
            assert base64.b64decode(block["image"]["source"]["bytes"]) == PNG
        assert internet.asked == ["img.example/a.png"] * 2
        assert fetches(proxy, "ok") == 2
        twice = [*image(URL), *image(URL)]
        assert proxy.ask("a", text=twice).status_code == 200
        assert len(internet.asked) == 3


def test_a_document_is_fetched_and_named(tmp_path: Path, internet: Internet) -> None:
    internet.answer = httpx.Response(
        200, headers={"content-type": "application/pdf"}, content=b"%PDF-1.7 " + bytes(200)
    )
    part = {"type": "input_file", "file_url": "https://img.example/plans/our%20plan.pdf"}
    with tenants(tmp_path, {"a": {}}) as proxy:
        assert proxy.ask("a", text=[part]).status_code == 200
        [document, _] = proxy.last().body["messages"][0]["content"]
        assert document["document"]["name"] == "our plan"
        assert document["document"]["format"] == "pdf"


def test_what_leads_inside_is_refused_by_its_place(tmp_path: Path, internet: Internet) -> None:
    with tenants(tmp_path, {"a": {}}) as proxy:
        refused = proxy.ask("a", text=image("https://inside.example/a.png"))
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "invalid_image_url")
        assert error["param"] == "messages[0].content[1].image_url.url"
        assert fetches(proxy, "blocked") == 1
        internet.answer = httpx.Response(302, headers={"location": "https://inside.example/"})
        assert proxy.ask("a", text=image(URL)).status_code == 400
        internet.answer = httpx.Response(200, content=b"<html>")
        assert proxy.ask("a", text=image(URL)).status_code == 400
        assert fetches(proxy, "bad_type") == 1
        many = [part for at in range(30) for part in image(f"{URL}?{at}")]
        before = len(internet.asked)
        assert proxy.ask("a", text=many).status_code == 400
        assert len(internet.asked) == before
        assert proxy.calls() == []


def test_nothing_is_fetched_for_who_may_not_ask(tmp_path: Path, internet: Internet) -> None:
    """Neither for another's model, nor beyond a limit, nor for a stranger."""
    of = {"nova": {"models": ["amazon.nova*"]}, "slow": {"requests_per_minute": 1}}
    with tenants(tmp_path, of) as proxy:
        assert proxy.ask("nova", text=image(URL)).status_code == 403
        assert internet.asked == []
        assert proxy.ask("slow").status_code == 200
        assert proxy.ask("slow", text=image(URL)).status_code == 429
        body = {"model": NOVA, "messages": [{"role": "user", "content": image(URL)}]}
        stranger = httpx.post(f"{proxy.url}/v1/chat/completions", json=body)
        assert stranger.status_code == 401
        assert internet.asked == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"no_auth": True},
        {"client_keys": True},
        {"api_key": "sk-1", "fetch_media": "off"},
        {"media_hosts": "img.example"},
    ],
)
def test_where_it_is_off(internet: Internet, settings: dict[str, Any]) -> None:
    """Without a key of ours, and where the operator says so: a clear 400, and no look-up."""
    key = settings.pop("api_key", None)
    environment = {"BEDROCK_PROXY_API_KEY": key} if key else {}
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
        body = {"model": SONNET, "messages": [{"role": "user", "content": image(URL)}]}
        headers = {"authorization": f"Bearer {key or simulator.bearer}"}
        refused = httpx.post(
            f"{running.url}/v1/chat/completions", json=body, headers=headers, timeout=20
        )
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["message"] == "This proxy does not fetch remote media; send a data: URL."
        assert error["param"] == "messages[0].content[1].image_url.url"
    assert internet.asked == []


def test_only_listed_hosts(tmp_path: Path, internet: Internet) -> None:
    internet.names["other.example"] = [PUBLIC]
    with tenants(tmp_path, {"a": {}}, {"media_hosts": "img.example"}) as proxy:
        assert proxy.ask("a", text=image(URL)).status_code == 200
        other = proxy.ask("a", text=image("https://other.example/a.png"))
        assert other.status_code == 400
        assert internet.asked == ["img.example/a.png"]


def test_the_dry_run_fetches_nothing(tmp_path: Path, internet: Internet) -> None:
    with tenants(tmp_path, {"a": {}}, {"explain": True}) as proxy:
        body = {"model": SONNET, "messages": [{"role": "user", "content": image(URL)}]}
        assert proxy.post("a", "/v1/explain", body).status_code == 400
    assert internet.asked == []


def test_others_go_on_while_one_waits(tmp_path: Path, internet: Internet) -> None:
    internet.pause = 2.0
    with tenants(tmp_path, {"a": {}}) as proxy:
        slow = threading.Thread(target=lambda: proxy.ask("a", text=image(URL)))
        slow.start()
        assert proxy.ask("a").status_code == 200
        assert slow.is_alive()
        slow.join()
