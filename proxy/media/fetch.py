"""Remote images and files, fetched so that no URL reaches anything but the public internet.

Each hop: the URL is parsed once (``addresses.py``), its name is resolved here, *every* address must
be public, and the connection goes to such an address itself, with the name kept for TLS and Host;
the certificate is verified for the name. So neither a rebinding name nor a redirect gets further
than a URL. No cookies, no credentials, no proxies of the environment, no decoding. Bytes, time,
hops and numbers are bounded.

A refusal says the same for a name that does not exist, one that leads inside and one that leads
inside by a redirect: what it says must not help anyone to map a network.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, NamedTuple, cast

import httpx

from proxy import __version__
from proxy.errors import ProxyError, invalid
from proxy.media.addresses import PORTS, Target, UrlRefused, follow, is_listed, is_public, parse_url
from proxy.media.resolver import Resolver
from proxy.media.sniff import HEAD, IMAGES, sniff

Outcome = Literal["ok", "blocked", "too_large", "timeout", "bad_type", "error"]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "ok", "blocked", "too_large", "timeout", "bad_type", "error",
)  # fmt: skip
CODE: Final = "invalid_image_url"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ADDRESSES: Final = 4
"""Addresses of one name that are tried in turn."""
_HEADERS: Final = (
    ("user-agent", f"bedrock-openai-proxy/{__version__}"),
    ("accept", "*/*"),
    ("accept-encoding", "identity"),
)
_UNREACHABLE: Final = "it does not lead to a public address"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Engine = Callable[[str, str], httpx.AsyncBaseTransport]
"""(address, name for TLS) to what opens one connection and sends one request over it."""


class Wanted(NamedTuple):
    """A URL, and where in the request it stands: ``messages[0].content[1].image_url.url``."""

    url: str
    param: str
    image: bool = True
    """Only an image is acceptable, judged by its first bytes."""


class Fetched(NamedTuple):
    data: bytes
    content_type: str
    """As the server said, in lower case, without parameters; "" if it said nothing."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds."""

    count: int = 20
    """URLs of one request."""
    size: int = 20_000_000
    """Of one file."""
    total: int = 50_000_000
    """Of all files of one request."""
    seconds: float = 15.0
    """For all files of one request."""
    connect: float = 3.0
    """For each address that is tried."""
    redirects: int = 3
    together: int = 16
    """Fetches at a time in this process."""


class Fetcher:
    """Fetches for one process. ``hosts`` (exact, or ``*.example.com``) are the only ones allowed,
    if any are given; ``observe`` is told each outcome. ``resolve``, ``engine`` and ``ports`` are
    for tests."""

    def __init__(
        self,
        *,
        hosts: Sequence[str] = (),
        bounds: Bounds = Bounds(),
        observe: Callable[[Outcome], None] = lambda outcome: None,
        resolve: Resolve | None = None,
        engine: Engine | None = None,
        ports: frozenset[int] = PORTS,
    ) -> None:
        self._hosts = tuple(hosts)
        self._bounds = bounds
        self._observe = observe
        self._resolver = Resolver()
        self._resolve = resolve or self._resolver.look_up
        self._engine = engine or _verifying()
        self._ports = ports
        self._places = asyncio.Semaphore(bounds.together)

    async def fetch_all(self, wanted: Sequence[Wanted]) -> Mapping[str, Fetched]:
        """What each URL holds, by URL; the same URL is fetched once. Raises the first
        ``ProxyError`` 400 ``invalid_image_url`` and ends the other fetches."""
        unique = {one.url: one for one in reversed(wanted)}
        if len(unique) > self._bounds.count:
            raise _refused(wanted[-1], f"a request may name at most {self._bounds.count} URLs")
        account = _Account(self._bounds.total)
        deadline = asyncio.get_running_loop().time() + self._bounds.seconds
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    url: group.create_task(self._counted(one, deadline, account))
                    for url, one in unique.items()
                }
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def fetch(self, wanted: Wanted) -> Fetched:
        """One URL. Raises ``ProxyError`` 400."""
        return (await self.fetch_all([wanted]))[wanted.url]

    def close(self) -> None:
        """Abandon the resolver's threads, without waiting for them."""
        self._resolver.close()

    async def _counted(self, wanted: Wanted, deadline: float, account: "_Account") -> Fetched:
        """Fetch, and report the outcome; a cancelled fetch has none."""
        try:
            async with asyncio.timeout_at(deadline), self._places:
                fetched = await self._follow(wanted, account)
        except _Failed as failure:
            self._observe(failure.outcome)
            raise _refused(wanted, str(failure)) from None
        except TimeoutError:
            self._observe("timeout")
            raise _refused(wanted, f"it took over {self._bounds.seconds:g} s") from None
        self._observe("ok")
        return fetched

    async def _follow(self, wanted: Wanted, account: "_Account") -> Fetched:
        try:
            target = parse_url(wanted.url, self._ports)
            for _ in range(self._bounds.redirects + 1):
                reached = await self._hop(target, wanted, account)
                if isinstance(reached, Fetched):
                    return reached
                target = follow(target, reached, self._ports)
        except UrlRefused as refusal:
            raise _Failed("blocked", str(refusal)) from None
        raise _Failed("blocked", f"it redirects more than {self._bounds.redirects} times")

    async def _hop(self, target: Target, wanted: Wanted, account: "_Account") -> Fetched | str:
        """The file, or where the server redirects to."""
        fault = "the connection failed"
        for address in await self._addresses(target):
            engine = self._engine(address, target.host)
            try:
                response = await engine.handle_async_request(self._request(target, address))
                try:
                    return await self._judge(response, wanted, account)
                finally:
                    await response.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
                if isinstance(failure.__context__, ssl.SSLError) or "CERTIFICATE" in str(failure):
                    fault = "its certificate is not valid for it"
            except (httpx.TransportError, httpx.InvalidURL):
                raise _Failed("error", "the connection broke") from None
            finally:
                await engine.aclose()
        raise _Failed("error", fault)

    async def _addresses(self, target: Target) -> Sequence[str]:
        """Where to connect; every address that the name has is public."""
        if self._hosts and not is_listed(target.host, self._hosts):
            raise _Failed("blocked", "its host is not one that this proxy may fetch from")
        if target.literal:
            addresses: Sequence[str] = [target.host]
        else:
            try:
                addresses = await self._resolve(target.host, target.port)
            except (OSError, UnicodeError):
                raise _Failed("blocked", _UNREACHABLE) from None
        if not addresses or not all(is_public(address) for address in addresses):
            raise _Failed("blocked", _UNREACHABLE)
        return tuple(dict.fromkeys(addresses))[:_ADDRESSES]

    def _request(self, target: Target, address: str) -> httpx.Request:
        host = f"[{address}]" if ":" in address else address
        connect = self._bounds.connect
        return httpx.Request(
            "GET",
            f"https://{host}:{target.port}{target.path}",
            headers=[("host", target.authority), *_HEADERS],
            extensions={
                "sni_hostname": target.host,
                # The whole is bounded by ``Bounds.seconds``.
                "timeout": {"connect": connect, "read": None, "write": None, "pool": connect},
            },
        )

    async def _judge(
        self, response: httpx.Response, wanted: Wanted, account: "_Account"
    ) -> Fetched | str:
        status, headers = response.status_code, response.headers
        if status in _REDIRECTS and "location" in headers:
            return headers["location"]
        if status != 200:
            raise _Failed("error", f"the server answered {status}")
        if headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise _Failed("bad_type", "the server sent a compressed response against the request")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._bounds.size:
            raise self._too_large()
        data = await self._read(response, wanted, account)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return Fetched(data, kind[:200])

    async def _read(self, response: httpx.Response, wanted: Wanted, account: "_Account") -> bytes:
        data = bytearray()
        judged = not wanted.image
        async for part in cast(httpx.AsyncByteStream, response.stream):
            data += part
            account.take(len(part))
            if len(data) > self._bounds.size:
                raise self._too_large()
            if not judged and len(data) >= HEAD:
                judged = True
                _check_image(bytes(data[:HEAD]))
        if not judged:
            _check_image(bytes(data))
        if not data:
            raise _Failed("bad_type", "it is empty")
        return bytes(data)

    def _too_large(self) -> "_Failed":
        return _Failed("too_large", f"it is over {self._bounds.size} bytes")


class _Account:
    """The bytes that one request may still fetch."""

    __slots__ = ("_left", "_total")

    def __init__(self, total: int) -> None:
        self._total = self._left = total

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _Failed(
                "too_large", f"all files of a request together exceed {self._total} bytes"
            )


class _Failed(Exception):
    """A fetch failed; its text completes "The URL cannot be fetched: "."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


def _verifying() -> Engine:
    """Engines for one connection each: they verify certificates, keep nothing, know no proxies."""
    trust = cache(httpx.create_ssl_context)  # 33 ms and 0.8 MB that the first fetch pays

    def open(address: str, name: str) -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(
            verify=trust(),
            trust_env=False,
            http2=False,
            retries=0,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
        )

    return open


def _check_image(head: bytes) -> None:
    kind = sniff(head)
    if kind not in IMAGES:
        shown = f"it is {kind}" if kind else "it is not an image"
        raise _Failed("bad_type", f"{shown}; supported are {', '.join(sorted(IMAGES))}")


def _refused(wanted: Wanted, why: str) -> ProxyError:
    return invalid(f"The URL cannot be fetched: {why}.", wanted.param, CODE)
