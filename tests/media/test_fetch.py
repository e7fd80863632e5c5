"""Fetching remote media: what arrives, what is refused in which words, and that nothing gets in.

Most servers here are transports; the two that are real are a TLS server (name and certificate) and
a "secret" one on loopback, which counts who connects to it: nobody.
"""

import asyncio
import shutil
import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.errors import ProxyError
from proxy.media.fetch import Bounds, Fetched, Fetcher, Wanted

pytestmark = pytest.mark.anyio
PUBLIC = "93.184.215.14"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
Answer = Callable[[httpx.Request], httpx.Response]


class Net:
    """A public internet of its own: names to addresses, and one answer for all of them."""

    def __init__(self, answer: Answer | None = None, **bounds: Any) -> None:
        self.names: dict[str, Sequence[str]] = {}
        self.requests: list[httpx.Request] = []
        self.connected: list[tuple[str, str]] = []
        self.resolved: list[str] = []
        self.outcomes: list[str] = []
        self.answer: Answer = answer or (lambda request: httpx.Response(200, content=PNG))
        self.fetcher = Fetcher(
            bounds=Bounds(**bounds), resolve=self.resolve, engine=self.engine,
            observe=self.outcomes.append,
        )  # fmt: skip

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        return self.names.get(host, [PUBLIC])

    def engine(self, address: str, name: str) -> httpx.AsyncBaseTransport:
        self.connected.append((address, name))

        def handle(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return self.answer(request)

        return httpx.MockTransport(handle)

    async def get(self, url: str = "https://img.example/a.png", image: bool = True) -> Fetched:
        return await self.fetcher.fetch(Wanted(url, "messages[0].content[1].image_url.url", image))

    async def refused(self, url: str = "https://img.example/a.png", image: bool = True) -> str:
        with pytest.raises(ProxyError) as caught:
            await self.get(url, image)
        error = caught.value
        assert (error.status, error.code, error.type) == (
            400, "invalid_image_url", "invalid_request_error",
        )  # fmt: skip
        assert error.param == "messages[0].content[1].image_url.url"
        return error.message


class Dripping(httpx.AsyncByteStream):
    def __init__(self, parts: Sequence[bytes], pause: float = 0.0) -> None:
        self.parts, self.pause, self.given = parts, pause, 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            await asyncio.sleep(self.pause)
            self.given += 1
            yield part

    async def aclose(self) -> None:
        self.closed = True


async def test_a_file_arrives_over_the_checked_address_with_its_name_kept() -> None:
    net = Net(
        lambda r: httpx.Response(200, headers={"content-type": "Image/PNG; x=1"}, content=PNG)
    )
    assert await net.get("https://IMG.example./a b".replace(" ", "%20") + "?q=1#f") == Fetched(
        PNG, "image/png"
    )
    (request,) = net.requests
    assert str(request.url) == f"https://{PUBLIC}/a%20b?q=1"
    assert request.headers["host"] == "img.example"
    assert request.extensions["sni_hostname"] == "img.example"
    assert request.headers["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & set(request.headers)
    assert net.connected == [(PUBLIC, "img.example")]
    assert net.outcomes == ["ok"]


async def test_an_unusual_port_stays_in_host() -> None:
    net = Net()
    net.names["img.example"] = ["2606:4700::1111"]
    await net.get("https://img.example:8443/a")
    assert net.requests[0].headers["host"] == "img.example:8443"
    assert str(net.requests[0].url) == "https://[2606:4700::1111]:8443/a"


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], ["::ffff:10.0.0.1"], ["fe80::1%2"],
     ["169.254.169.254"], [PUBLIC, "fd00:ec2::254"], ["64:ff9b::a00:1"], []],
)  # fmt: skip
async def test_every_address_must_be_public(addresses: list[str]) -> None:
    net = Net()
    net.names["img.example"] = addresses
    assert await net.refused() == (
        "The URL cannot be fetched: it does not lead to a public address."
    )
    assert net.connected == []
    assert net.outcomes == ["blocked"]


async def test_all_refused_addresses_are_refused_in_the_same_words() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    words = set()
    net = Net()
    net.names["inside.example"] = ["10.1.2.3"]
    words.add(await net.refused("https://inside.example/"))
    words.add(await net.refused("https://127.0.0.1/"))
    words.add(await net.refused("https://[::1]/"))
    net.answer = lambda r: httpx.Response(302, headers={"location": "https://10.0.0.1/"})
    words.add(await net.refused())
    net.answer = lambda r: httpx.Response(302, headers={"location": "https://inside.example/"})
    words.add(await net.refused())
    net.fetcher._resolve = unknown
    words.add(await net.refused("https://nowhere.example/"))
    assert len(words) == 1
    assert set(net.outcomes) == {"blocked"}


async def test_a_name_is_resolved_once_and_that_address_is_used() -> None:
    """DNS rebinding: the second answer would be another one."""
    net = Net()

    class Turning(dict[str, Sequence[str]]):
        def get(self, key: str, default: Any = None) -> Any:
            return [PUBLIC] if net.resolved.count(key) == 1 else ["127.0.0.1"]

    net.names = Turning()
    await net.get()
    assert net.resolved == ["img.example"]
    assert net.connected == [(PUBLIC, "img.example")]
    assert "does not lead" in await net.refused()


async def test_redirects_are_followed_and_each_one_is_checked() -> None:
    hops = {
        "/a.png": "/b",
        "/b": "//other.example/c?x=1",
        "/c": "https://third.example:8443/d",
    }

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path in hops:
            return httpx.Response(
                302, headers={"location": hops[path], "set-cookie": "a=b"}, content=b"x" * 99
            )
        return httpx.Response(200, content=PNG)

    net = Net(answer)
    assert (await net.get()).data == PNG
    assert net.resolved == ["img.example", "img.example", "other.example", "third.example"]
    assert [r.headers["host"] for r in net.requests] == [
        "img.example", "img.example", "other.example", "third.example:8443",
    ]  # fmt: skip
    assert all("cookie" not in request.headers for request in net.requests)
    hops["/d"] = "/e"
    assert "redirects more than 3 times" in await net.refused()
    hops["/b"] = "http://img.example/c"
    assert "only https://" in await net.refused()
    hops["/b"] = "https://user@img.example/c"
    assert "user name" in await net.refused()
    net.names["other.example"] = ["10.0.0.1"]
    hops["/b"] = "//other.example/c"
    connected = len(net.connected)
    assert "does not lead" in await net.refused()
    assert net.connected[connected:] == [(PUBLIC, "img.example")] * 2
    assert net.outcomes == ["ok"] + ["blocked"] * 4


async def test_a_redirect_loop_ends() -> None:
    net = Net(lambda r: httpx.Response(307, headers={"location": "/a.png"}))
    assert "more than 3" in await net.refused()
    assert len(net.requests) == 4


@pytest.mark.parametrize(
    ("response", "words", "outcome"),
    [
        (httpx.Response(404, content=b"no"), "the server answered 404", "error"),
        (httpx.Response(302), "the server answered 302", "error"),
        (httpx.Response(206, content=PNG), "the server answered 206", "error"),
        (httpx.Response(200, content=b"<html><body>hello there, this is no image"),
         "it is not an image; supported are gif, jpeg, png, webp", "bad_type"),
        (httpx.Response(200, content=b"%PDF-1.7 and more than thirty-two bytes"),
         "it is pdf; supported are", "bad_type"),
        (httpx.Response(200, content=b"BM short"), "it is bmp", "bad_type"),
        (httpx.Response(200, content=b""), "it is not an image", "bad_type"),
        (httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Dripping([b"x"])),
         "sent a compressed response", "bad_type"),
        (httpx.Response(200, headers={"content-length": "999999999999999999999"},
                        stream=Dripping([PNG])), "it is over 1000 bytes", "too_large"),
        (httpx.Response(200, stream=Dripping([PNG] * 10)), "it is over 1000 bytes", "too_large"),
    ],
)  # fmt: skip
async def test_answers_that_will_not_do(response: httpx.Response, words: str, outcome: str) -> None:
    net = Net(lambda request: response, size=1000)
    assert words in await net.refused()
    assert net.outcomes == [outcome]


async def test_files_that_are_no_images_are_taken_where_they_may_be() -> None:
    net = Net(lambda r: httpx.Response(200, content=b"plain text"))
    assert (await net.get(image=False)).data == b"plain text"
    net.answer = lambda r: httpx.Response(200, content=b"")
    assert "it is empty" in await net.refused(image=False)


async def test_what_is_no_image_is_not_read_to_its_end() -> None:
    body = Dripping([b"<html>" + b" " * 40] * 1000)
    net = Net(lambda r: httpx.Response(200, stream=body))
    await net.refused()
    assert body.given == 1
    assert body.closed


async def test_time_is_bounded_over_all_of_it() -> None:
    body = Dripping([PNG[:1]] * 10_000, pause=0.01)
    net = Net(lambda r: httpx.Response(200, stream=body), seconds=0.1)
    assert await net.refused() == "The URL cannot be fetched: it took over 0.1 s."
    assert body.closed
    assert net.outcomes == ["timeout"]

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    net.fetcher._resolve = hang
    assert "it took over" in await net.refused()


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    net = Net()
    net.names["img.example"] = ["2606:4700::1111", PUBLIC, PUBLIC]

    def answer(request: httpx.Request) -> httpx.Response:
        if ":" in request.url.host:
            raise httpx.ConnectError("Network is unreachable")
        return httpx.Response(200, content=PNG)

    net.answer = answer
    assert (await net.get()).data == PNG
    net.names["img.example"] = ["2606:4700::1111"] * 9
    assert "the connection failed" in await net.refused()
    assert net.connected[-1][0] == "2606:4700::1111"
    assert Counter(net.connected)["2606:4700::1111", "img.example"] == 2  # each address once

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset at 10.0.0.7")

    net.answer = broken
    assert await net.refused() == "The URL cannot be fetched: the connection broke."
    assert net.outcomes == ["ok", "error", "error"]


def wanted(*urls: str) -> list[Wanted]:
    return [Wanted(url, f"messages[{at}]") for at, url in enumerate(urls)]


async def test_many_are_fetched_together_and_each_url_once() -> None:
    running = peak = 0

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.02)
            running -= 1
            yield PNG

    net = Net(lambda r: httpx.Response(200, stream=Slow()), together=3)
    urls = [f"https://img.example/{at % 8}" for at in range(16)]
    fetched = await net.fetcher.fetch_all(wanted(*urls))
    assert set(fetched) == set(urls)
    assert len(net.requests) == 8
    assert peak == 3
    assert await net.fetcher.fetch_all([]) == {}


async def test_the_first_failure_ends_the_others_and_names_its_place() -> None:
    slow = Dripping([PNG] * 100, pause=0.05)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/bad":
            return httpx.Response(404)
        return httpx.Response(200, stream=slow)

    net = Net(answer)
    with pytest.raises(ProxyError) as caught:
        await net.fetcher.fetch_all(wanted("https://a.example/slow", "https://a.example/bad"))
    assert caught.value.param == "messages[1]"
    assert slow.closed
    assert net.outcomes == ["error"]  # one that was called off has no outcome


async def test_numbers_and_sums_are_bounded() -> None:
    net = Net(count=2, total=250)
    urls = [f"https://img.example/{at}" for at in range(3)]
    with pytest.raises(ProxyError, match="at most 2 URLs") as caught:
        await net.fetcher.fetch_all(wanted(*urls))
    assert (caught.value.param, net.requests) == ("messages[2]", [])
    await net.fetcher.fetch_all(wanted(*urls[:2]))  # 216 bytes
    net.answer = lambda r: httpx.Response(200, content=PNG + bytes(50))
    with pytest.raises(ProxyError, match="all files of a request together exceed 250 bytes"):
        await net.fetcher.fetch_all(wanted(*urls[:2]))


async def test_a_list_of_hosts_holds_for_redirects_too_and_makes_nothing_public() -> None:
    net = Net()
    net.fetcher = Fetcher(
        hosts=["img.example", "*.cdn.example"], resolve=net.resolve, engine=net.engine
    )
    await net.get()
    await net.get("https://a.cdn.example/")
    assert "not one that this proxy may fetch from" in await net.refused("https://other.example/")
    net.names["img.example"] = ["10.0.0.1"]
    assert "does not lead" in await net.refused()
    net.names.clear()
    net.answer = lambda r: httpx.Response(302, headers={"location": "https://other.example/"})
    assert "not one that this proxy" in await net.refused()


async def test_a_fetch_that_is_cancelled_lets_go() -> None:
    body = Dripping([PNG] * 1000, pause=0.01)
    net = Net(lambda r: httpx.Response(200, stream=body))
    task = asyncio.ensure_future(net.get())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert body.closed
    assert net.outcomes == []


# ---- real sockets -----------------------------------------------------------------------------


@asynccontextmanager
async def listening(
    reply: bytes = b"", tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback: its port, and what each connection sent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(b"")
        try:
            seen[-1] = await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        await server.wait_closed()


async def test_no_url_reaches_a_server_on_this_machine() -> None:
    async def to_loopback(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with listening(b"HTTP/1.1 200 OK\r\n\r\nsecret") as (port, seen):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        assert len(seen) == 1  # it is there, and it counts
        ports = frozenset({443, port})
        fetchers = [
            Fetcher(ports=ports, bounds=Bounds(seconds=2.0)),  # the machine's own names
            Fetcher(ports=ports, resolve=to_loopback),
        ]
        for url in hostile(port):
            for fetcher in fetchers:
                with pytest.raises(ProxyError) as caught:
                    await fetcher.fetch(Wanted(url, "p"))
                assert caught.value.code == "invalid_image_url"
                assert "secret" not in caught.value.message
        for fetcher in fetchers:
            fetcher.close()
        assert len(seen) == 1


def hostile(port: int) -> Iterator[str]:
    hosts = (
        "127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "017700000001", "0",
        "0.0.0.0", "127.0.0.0x1", "0177.0.0.1", "localhost", "LOCALHOST.", "a.localhost",
        "localhost.localdomain", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "user@127.0.0.1",
        "img.example@127.0.0.1", "127.0.0.1%00.example.com", "%31%32%37.0.0.1",
        "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460.0.0.1", "rebinding.example",
    )  # fmt: skip
    for host in hosts:
        yield f"https://{host}:{port}/a.png"
        yield f"http://{host}:{port}/a.png"
        yield f"https://img.example\\@{host}:{port}/"
        yield f"https://{host}:{port}\\.img.example/"
    yield f"https://img.example#@127.0.0.1:{port}/"
    yield f"https:127.0.0.1:{port}/"
    yield f"//127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for img.example, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on the path to make a certificate with")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:img.example",
         "-keyout", "-", "-out", "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    file.write_bytes(made.stdout)
    return file


class Rerouted(httpx.AsyncHTTPTransport):
    """Connects to a port of loopback whatever the address is; all else is the real engine's."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust, trust_env=False)
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


async def test_the_certificate_is_verified_for_the_name_and_not_for_the_address(
    certificate: Path,
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return [PUBLIC]

    names: list[str] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.sni_callback = lambda socket, name, context: names.append(name)
    trust = ssl.create_default_context(cafile=str(certificate))
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(PNG), PNG)
    outcomes: list[str] = []
    async with listening(reply, tls) as (port, seen):
        fetcher = Fetcher(
            resolve=resolve, engine=lambda address, name: Rerouted(port, trust),
            observe=outcomes.append,
        )  # fmt: skip
        assert (await fetcher.fetch(Wanted("https://img.example/a.png", "p"))).data == PNG
        assert seen[0].startswith(b"GET /a.png HTTP/1.1\r\n")
        assert b"\r\nhost: img.example\r\n" in seen[0].lower()
        with pytest.raises(ProxyError, match="its certificate is not valid for it"):
            await fetcher.fetch(Wanted("https://other.example/a.png", "p"))
        strict = Fetcher(
            resolve=resolve,
            engine=lambda address, name: Rerouted(port, httpx.create_ssl_context()),
        )
        with pytest.raises(ProxyError, match="its certificate is not valid for it"):
            await strict.fetch(Wanted("https://img.example/a.png", "p"))
    assert names == ["img.example", "other.example", "img.example"]
    assert outcomes == ["ok", "error"]
    assert len(seen) == 1  # no request went out over the others


async def test_the_environments_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (proxy, asked), listening() as (port, connected):
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        engine = Fetcher()._engine("127.0.0.1", "img.example")
        request = httpx.Request(
            "GET", f"https://127.0.0.1:{port}/", extensions={"timeout": {"connect": 0.2}}
        )
        with pytest.raises(httpx.ConnectTimeout):  # it speaks TLS, and nobody answers
            await engine.handle_async_request(request)
        await engine.aclose()
        assert (len(asked), len(connected)) == (0, 1)
