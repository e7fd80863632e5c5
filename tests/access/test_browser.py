"""Browsers: which pages may call, and which names this proxy answers to where no key is needed."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from proxy.access.browser import Browser, parse_origins
from proxy.access.guard import Guard
from proxy.access.refusals import Refusals
from proxy.errors import ProxyError
from proxy.metrics import Metrics

pytestmark = pytest.mark.anyio
APP = "https://app.example.com"
Headers = Sequence[tuple[str, str]]


def body(error: ProxyError) -> bytes:
    return orjson.dumps({"code": error.code})


class Page:
    """A browser wrapper (and a guard, with ``key``) before an app that answers 200."""

    def __init__(self, *origins: str, loopback: bool = False, key: str | None = None) -> None:
        self.passed = 0
        self.rejected: list[str] = []
        metrics = Metrics(version="0", mode="test", stream_limit=1)
        refusals = Refusals()
        guard = Guard(
            self.app, key=key, metrics_public=False, metrics=metrics, render=body,
            refusals=refusals,
        )  # fmt: skip
        self.asgi = Browser(
            guard, origins=parse_origins(origins), guard_loopback=loopback, render=body,
            refusals=refusals, reject=self.rejected.append,
        )  # fmt: skip

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed += 1
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def ask(
        self, *headers: tuple[str, str], method: str = "POST", path: str = "/v1/chat/completions"
    ) -> tuple[int, dict[str, str], bytes]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "state": {},
            "headers": [(name.encode(), value.encode()) for name, value in headers],
        }  # fmt: skip
        await self.asgi(scope, None, send)
        names = [name for name, _ in sent[0]["headers"]]
        assert len(names) == len(set(names))
        shown = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], shown, b"".join(part["body"] for part in sent[1:])


def preflight(origin: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("origin", origin), ("access-control-request-method", "POST"), *more]


async def test_without_origins_there_is_no_cors() -> None:
    page = Page(key="sk")
    status, headers, _ = await page.ask(*preflight(APP), method="OPTIONS")
    assert (status, page.passed) == (401, 0)
    status, headers, _ = await page.ask(("origin", APP), ("authorization", "Bearer sk"))
    assert status == 200
    assert not [name for name in headers if name.startswith("access-control")]


async def test_a_preflight_is_answered_without_a_key() -> None:
    page = Page(APP, "http://localhost:3000", key="sk")
    asked = preflight(APP, ("access-control-request-headers", "authorization,x-stainless-os"))
    status, headers, text = await page.ask(*asked, method="OPTIONS")
    assert (status, text, page.passed) == (204, b"", 0)
    assert headers["access-control-allow-origin"] == APP
    assert headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in headers
    assert "access-control-allow-private-network" not in headers
    asked.append(("access-control-request-private-network", "true"))
    _, headers, _ = await page.ask(*asked, method="OPTIONS")
    assert headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com",
     "https://app.example.com:8443", "null", "https://xapp.example.com", ""],
)  # fmt: skip
async def test_another_origin_is_refused_and_never_marked(origin: str) -> None:
    page = Page(APP, key="sk")
    status, headers, _ = await page.ask(*preflight(origin), method="OPTIONS")
    assert status == 403
    assert headers == {"vary": "Origin", "content-length": "0"}
    status, headers, _ = await page.ask(("origin", origin), ("authorization", "Bearer sk"))
    assert status == 200  # the browser keeps the answer from the page; the key was right
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"


async def test_answers_and_refusals_can_be_read_by_an_allowed_page() -> None:
    page = Page(APP, key="sk")
    for key, status in (("sk", 200), ("wrong", 401)):
        got, headers, _ = await page.ask(("origin", APP), ("authorization", f"Bearer {key}"))
        assert got == status
        assert headers["access-control-allow-origin"] == APP
        assert "x-ratelimit-remaining-tokens" in headers["access-control-expose-headers"]


async def test_a_header_list_that_is_none_is_not_repeated() -> None:
    for odd in ("x\r\nset-cookie: a", "a b", "a,,b", "a" * 3000):
        asked = preflight(APP, ("access-control-request-headers", odd))
        _, headers, _ = await Page(APP).ask(*asked, method="OPTIONS")
        assert headers["access-control-allow-headers"].startswith("authorization, content-type")


async def test_any_origin_may_be_allowed() -> None:
    page = Page("*", key="sk")
    status, headers, _ = await page.ask(*preflight("https://x.example"), method="OPTIONS")
    assert (status, headers["access-control-allow-origin"]) == (204, "*")
    assert "vary" not in headers


async def test_plain_options_and_requests_without_origin_pass_as_they_are() -> None:
    page = Page(APP)
    assert (await page.ask(("origin", APP), method="OPTIONS"))[0] == 200
    status, headers, text = await page.ask()
    assert (status, text) == (200, b"ab")
    assert headers == {"content-type": "text/event-stream"}


@pytest.mark.parametrize(
    ("word", "origin"),
    [("HTTPS://App.Example.com", "https://app.example.com"), ("https://a.b:443", "https://a.b"),
     ("http://a.b:80", "http://a.b"), ("http://a.b:443", "http://a.b:443"), ("*", "*"),
     ("http://[::1]:3000", "http://[::1]:3000"), ("app://obsidian.md", "app://obsidian.md")],
)  # fmt: skip
def test_origins_are_read(word: str, origin: str) -> None:
    assert parse_origins([word]) == {origin}


@pytest.mark.parametrize(
    "word", ["https://a.b/", "https://a.b/x", "a.b", "null", "", "https://*.a.b", "https://a b"]
)
def test_what_is_no_origin_is_told(word: str) -> None:
    with pytest.raises(ValueError, match=r"https://app\.example\.com"):
        parse_origins([word])


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LocalHost:8000", "127.0.0.1:8000", "127.8.8.8", "[::1]:8000",
     "demo.localhost:8000"],
)  # fmt: skip
async def test_without_a_key_it_answers_to_this_machines_names(host: str) -> None:
    assert (await Page(loopback=True).ask(("host", host)))[0] == 200


@pytest.mark.parametrize(
    "hosts",
    [["evil.example:8000"], ["localhost.evil.example"], ["127.0.0.1.evil.example"], ["192.168.1.5"],
     ["0.0.0.0:8000"], ["localhost:8000x"], ["user@localhost"], ["[::2]"], [""], ["localhost/x"],
     ["2130706433"], ["localhost", "localhost"], ["localhost", "evil.example"], ["notlocalhost"]],
)  # fmt: skip
async def test_a_rebinding_page_is_told_by_its_host(hosts: list[str]) -> None:
    for path in ("/v1/chat/completions", "/healthz", "/metrics"):
        page = Page(loopback=True)
        status, headers, text = await page.ask(*[("host", host) for host in hosts], path=path)
        assert (status, orjson.loads(text)["code"]) == (403, "host_not_allowed")
        assert headers["connection"] == "close"
        assert (page.passed, page.rejected) == (0, ["host"])


async def test_a_page_that_posts_without_a_preflight_is_told_by_its_origin() -> None:
    local = ("host", "127.0.0.1:8000")
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "file://"):
        page = Page(loopback=True)
        status, _, text = await page.ask(local, ("origin", origin))
        assert (status, orjson.loads(text)["code"]) == (403, "origin_not_allowed")
        assert (page.passed, page.rejected) == (0, ["origin"])
    page = Page(APP, loopback=True)
    for origin in (APP, "http://localhost:3000", "http://127.0.0.1:8000"):
        assert (await page.ask(local, ("origin", origin)))[0] == 200
    assert (await page.ask(local))[0] == 200
    assert (await page.ask(local, *preflight(APP), method="OPTIONS"))[0] == 204


async def test_with_a_key_any_host_will_do() -> None:
    page = Page(key="sk")
    host, key = ("host", "proxy.example"), ("authorization", "Bearer sk")
    assert (await page.ask(host, key))[0] == 200
