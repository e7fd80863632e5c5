"""TLS, with a certificate authority of the test's own: what is trusted, refused, and left behind.

Needs the ``openssl`` command, which makes the certificates.
"""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from proxy.bedrock.bearer import Bearer
from proxy.bedrock.transport import Outgoing, SignedTransport
from proxy.errors import ProxyError
from tests.bedrock.wire.peer import (
    CHUNKED,
    NOBODY,
    OK,
    Line,
    body_of,
    engine_of,
    fetch,
    once,
    open_descriptors,
    peer,
    request,
    serving,
    until,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here"),
]


class Authority(NamedTuple):
    bundle: str
    server: ssl.SSLContext
    """For 127.0.0.1 and localhost."""
    elsewhere: ssl.SSLContext
    """For other.example only."""


def run(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def issue(home: Path, name: str, names: str, signer: tuple[Path, Path]) -> ssl.SSLContext:
    key, csr, cert, ext = (home / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
    ext.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", csr, "-subj", f"/CN={name}")  # fmt: skip
    run("x509", "-req", "-in", csr, "-CA", signer[0], "-CAkey", signer[1], "-CAcreateserial",
        "-days", "2", "-extfile", ext, "-out", cert)  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    home = tmp_path_factory.mktemp("tls")
    key, cert = home / "ca.key", home / "ca.pem"
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test authority",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    server = issue(home, "server", "DNS:localhost,IP:127.0.0.1", (cert, key))
    elsewhere = issue(home, "elsewhere", "DNS:other.example", (cert, key))
    return Authority(str(cert), server, elsewhere)


async def test_an_answer_over_tls(kind: str, authority: Authority) -> None:
    protocols: list[str | None] = []

    async def script(line: Line) -> None:
        protocols.append(line.alpn)
        await serving(OK)(line)

    async with (
        engine_of(kind, bundle=authority.bundle) as engine,
        peer(script, authority.server) as far,
    ):
        for _ in range(5):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
        assert len(far.lines) == 1
        named = far.url.replace("127.0.0.1", "localhost")
        assert await fetch(engine, request(named)) == (200, b"ok")
    assert protocols == ["http/1.1"] * 2


async def test_large_bodies_over_tls(kind: str, authority: Authority) -> None:
    sent = bytes(range(256)) * 12_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(sent), sent)
    async with (
        engine_of(kind, bundle=authority.bundle) as engine,
        peer(serving(answer), authority.server) as far,
    ):
        for _ in range(2):
            assert await fetch(engine, request(far.url, content=sent)) == (200, sent)
        assert far.lines[0].bodies == [sent, sent]
        assert len(far.lines) == 1


async def test_an_unknown_authority_is_refused(kind: str, authority: Authority) -> None:
    async with engine_of(kind) as engine, peer(serving(OK), authority.server) as far:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(engine, request(far.url, connect=3.0))
        assert not any(line.heads for line in far.lines)


async def test_a_certificate_for_another_name_is_refused(kind: str, authority: Authority) -> None:
    async with (
        engine_of(kind, bundle=authority.bundle) as engine,
        peer(serving(OK), authority.elsewhere) as far,
    ):
        for url in (far.url, far.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await fetch(engine, request(url, connect=3.0))
        assert not any(line.heads for line in far.lines)


@pytest.mark.parametrize(
    ("trusting", "named", "says"),
    [
        (False, True, "its certificate is not signed by a trusted authority"),
        (True, False, "its certificate is for another host"),
    ],
)
async def test_an_operator_is_told_what_is_wrong_with_a_certificate(
    kind: str, authority: Authority, trusting: bool, named: bool, says: str
) -> None:
    """A network that opens TLS on the way is the usual case; our words name no host."""
    context = authority.server if named else authority.elsewhere
    async with (
        engine_of(kind, bundle=authority.bundle if trusting else NOBODY) as engine,
        peer(serving(OK), context) as far,
    ):
        transport = SignedTransport(engine, Bearer("key"))
        for host in ("127.0.0.1", "localhost"):
            url = httpx.URL(far.url.replace("127.0.0.1", host))
            with pytest.raises(ProxyError, match=says) as caught:
                await transport.send(Outgoing("GET", url))
            assert caught.value.code == "upstream_unreachable"
            assert host not in caught.value.message


async def test_a_peer_that_speaks_no_tls(kind: str, authority: Authority) -> None:
    async def script(line: Line) -> None:
        await line.send(OK)
        await line.until_gone()

    async with engine_of(kind, bundle=authority.bundle) as engine, peer(script) as far:
        with pytest.raises(httpx.ConnectError):
            await fetch(engine, request(far.url.replace("http:", "https:"), connect=3.0))


async def test_a_peer_that_hangs_up_in_the_handshake(kind: str, authority: Authority) -> None:
    async def script(line: Line) -> None:
        await line.read(10)

    async with engine_of(kind, bundle=authority.bundle) as engine, peer(script) as far:
        with pytest.raises(httpx.ConnectError):
            await fetch(engine, request(far.url.replace("http:", "https:"), connect=3.0))


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_giving_up_in_the_handshake_leaves_nothing(
    kind: str, authority: Authority, how: str
) -> None:
    async def script(line: Line) -> None:
        await line.until_gone()

    if (kind, how) == ("httpx", "cancel"):
        pytest.skip("a difference: httpcore 1.0.9 leaves that socket to the garbage collector")
    before = open_descriptors()
    async with engine_of(kind, bundle=authority.bundle) as engine, peer(script) as far:
        url = far.url.replace("http:", "https:")
        seconds = {"connect": 0.1} if how == "timeout" else {}
        tasks = [asyncio.create_task(fetch(engine, request(url, **seconds))) for _ in range(10)]
        await until(lambda: len(far.lines) == 10)
        await asyncio.sleep(0.02)
        if how == "cancel":
            for task in tasks:
                task.cancel()
        expected = asyncio.CancelledError if how == "cancel" else httpx.ConnectTimeout
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, expected)
        async with asyncio.timeout(1.0):
            for line in far.lines:
                await line.gone.wait()
    await until(lambda: open_descriptors() <= before + 1)


@pytest.mark.parametrize("phase", ["head", "body"])
async def test_cancelling_over_tls_closes_at_once(
    kind: str, authority: Authority, phase: str
) -> None:
    """No farewell is waited for: a peer that does not answer it would hold the socket."""

    async def script(line: Line) -> None:
        await line.read_request()
        if phase == "body":
            await line.send(CHUNKED + b"1\r\nx\r\n")
        await line.until_gone()

    async def call() -> None:
        response = await engine.handle_async_request(request(far.url))
        try:
            async for _ in body_of(response):
                pass
        finally:
            await response.aclose()

    before = open_descriptors()
    async with (
        engine_of(kind, bundle=authority.bundle) as engine,
        peer(script, authority.server) as far,
    ):
        tasks = [asyncio.create_task(call()) for _ in range(10)]
        await until(lambda: sum(len(line.bodies) for line in far.lines) == 10)
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(1.0):
            for line in far.lines:
                await line.gone.wait()
    await until(lambda: open_descriptors() <= before + 1)


async def test_the_end_of_a_connection_over_tls(kind: str, authority: Authority) -> None:
    async def script(line: Line) -> None:
        await line.answer()
        await line.read_request()

    async with engine_of(kind, bundle=authority.bundle) as engine:
        async with peer(script, authority.server) as far:
            assert await fetch(engine, request(far.url)) == (200, b"ok")
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await fetch(engine, request(far.url))
        short = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"
        async with peer(once(short), authority.server) as far:
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await fetch(engine, request(far.url))
        async with peer(once(OK), authority.server) as far:
            for _ in range(5):
                assert await fetch(engine, request(far.url)) == (200, b"ok")
                await asyncio.sleep(0.02)
            assert len(far.lines) == 5


async def test_a_slow_reader_holds_the_peer_over_tls(kind: str, authority: Authority) -> None:
    sent = 0

    async def script(line: Line) -> None:
        nonlocal sent
        await line.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n")
        for _ in range(40):
            await line.send(bytes(1_000_000))
            sent += 1_000_000
        await line.until_gone()

    async with (
        engine_of(kind, bundle=authority.bundle) as engine,
        peer(script, authority.server) as far,
    ):
        response = await engine.handle_async_request(request(far.url))
        await asyncio.sleep(0.3)
        held = sent
        await asyncio.sleep(0.1)
        assert sent == held <= 20_000_000
        size = 0
        async for part in body_of(response):
            size += len(part)
        assert size == 40_000_000
        await response.aclose()
