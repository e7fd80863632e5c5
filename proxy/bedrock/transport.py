"""The network boundary: requests to Bedrock are signed here and handed to an engine.

An engine is an ``httpx.AsyncBaseTransport``, called directly and not through ``httpx.AsyncClient``:
no redirects, no cookies, no decoding, no implicit environment proxies. ``wire.py``'s engine takes
the request as it is; the alternative is ``httpx.AsyncHTTPTransport``, and a test injects
``httpx.MockTransport(router.async_handler)``.

Errors of any engine leave this file as ``ProxyError``. ``DeadConnection`` marks the one case that
can be retried for free: a connection that ended before it answered anything.
Source: HTTPX docs, *Transports*; Bedrock endpoints speak HTTP/1.1 with keep-alive.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from time import monotonic
from types import MappingProxyType
from typing import Final, Protocol, cast

import httpx

from proxy import __version__
from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.wire import Timeouts, WireEngine
from proxy.errors import ProxyError

USER_AGENT: Final = f"bedrock-openai-proxy/{__version__}"
CONNECT_TIMEOUT: Final = 3.0
_HEADERS: Final = MappingProxyType(
    {b"user-agent": USER_AGENT.encode(), b"accept-encoding": b"identity"}
)
_TIMEOUTS: Final[Timeouts] = MappingProxyType(
    {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}
)

_STRANGER: Final = (
    "its certificate is not signed by a trusted authority; set AWS_CA_BUNDLE to add one"
)
_CERTIFICATES: Final[Mapping[int, str]] = MappingProxyType(
    {
        9: "its certificate is not valid yet; check this machine's clock",
        10: "its certificate has expired",
        18: _STRANGER,
        19: _STRANGER,
        20: _STRANGER,
        21: _STRANGER,
        62: "its certificate is for another host",
        64: "its certificate is for another host",
    }
)
"""By OpenSSL's X509_V_ERR numbers (``x509_vfy.h``)."""
_ERRNOS: Final[Mapping[int, str]] = MappingProxyType(
    {
        errno.ECONNREFUSED: "the connection was refused",
        errno.ENETUNREACH: "there is no route to the host",
        errno.EHOSTUNREACH: "there is no route to the host",
        errno.EMFILE: "the proxy has no file descriptor left",
        errno.ENFILE: "this machine has no file descriptor left",
    }
)

_SIGNED: Final = frozenset({b"content-type", b"host", b"x-amz-target"})
_SIGNED_PREFIX: Final = b"x-amzn-bedrock-"


class DeadConnection(ProxyError):
    """The connection ended before any byte of an answer: nothing was started on the other side."""

    def __init__(self, what: str) -> None:
        super().__init__(
            502, f"Bedrock closed the connection ({what}).", code="upstream_reset",
            retry="transient",
        )  # fmt: skip


class Outgoing:
    """A request to AWS: its body is JSON or empty, its answer is as framed on the wire.

    ``headers`` are by lower-case name. Once it was sent, ``signed`` holds what the authorizer added
    (for its ``renew``) and ``sent`` when that was, in monotonic seconds.
    """

    __slots__ = ("body", "headers", "method", "payload_hash", "sent", "signed", "url")

    def __init__(
        self,
        method: str,
        url: httpx.URL,
        body: bytes = b"",
        payload_hash: str | None = None,
    ) -> None:
        self.method = method
        self.url = url
        self.body = body
        self.payload_hash = payload_hash
        self.headers = {b"host": url.netloc, **_HEADERS}
        if body:
            self.headers[b"content-type"] = b"application/json"
        if body or method != "GET":
            self.headers[b"content-length"] = b"%d" % len(body)
        self.signed: Mapping[str, str] = {}
        self.sent = 0.0

    def add(self, headers: Mapping[str, str]) -> None:
        """Additional headers, or replacements."""
        for name, value in headers.items():
            self.headers[name.lower().encode("ascii")] = value.encode("ascii")


class Reply(Protocol):
    """An answer whose head is there. Its body is read as the network gives it, undecoded; it must
    be closed in any case."""

    status: int
    headers: list[tuple[bytes, bytes]]

    @property
    def complete(self) -> bool:
        """Whether the body's end is known to be there, read or not."""
        ...

    async def read(self) -> bytes:
        """The next bytes of the body, ``b""`` at its end. Raises ``httpx.TransportError``."""
        ...

    async def aclose(self) -> None: ...


class _Foreign:
    """A ``Reply`` of an engine that is not ours."""

    __slots__ = ("_chunks", "_response", "headers", "status")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = aiter(cast(httpx.AsyncByteStream, response.stream))
        self.status = response.status_code
        self.headers = response.headers.raw

    @property
    def complete(self) -> bool:
        return getattr(self._response.stream, "complete", False) is True

    async def read(self) -> bytes:
        return await anext(self._chunks, b"")

    async def aclose(self) -> None:
        await self._response.aclose()


class SignedTransport:
    """Signs each request with ``authorizer`` and sends it over ``engine``."""

    def __init__(self, engine: httpx.AsyncBaseTransport, authorizer: Authorizer) -> None:
        self._engine = engine
        self.authorizer = authorizer

    async def send(self, request: Outgoing) -> Reply:
        """The answer's head, and its body to be read. Raises ``ProxyError``."""
        headers = request.headers
        added = await self.authorizer.authorize(
            request.method,
            request.url,
            {
                name.decode(): value.decode("ascii")
                for name, value in headers.items()
                if name in _SIGNED or name.startswith(_SIGNED_PREFIX)
            },
            request.body,
            payload_hash=request.payload_hash,
        )
        whole = headers | {name.encode(): value.encode() for name, value in added.items()}
        request.signed = added
        request.sent = monotonic()
        engine, signed = self._engine, [*whole.items()]
        try:
            if isinstance(engine, WireEngine):
                return await engine.send(
                    request.method, request.url, signed, request.body, _TIMEOUTS
                )
            return await self._carry(request, signed)
        except httpx.TransportError as fault:
            raise _before_answer(fault) from fault.with_traceback(None)

    async def _carry(self, request: Outgoing, headers: list[tuple[bytes, bytes]]) -> Reply:
        """Send by an engine that is not ours."""
        carried = httpx.Request(
            request.method,
            request.url,
            headers=headers,
            stream=httpx.ByteStream(request.body),
            extensions={"timeout": dict(_TIMEOUTS)},
        )
        carried.read()
        return _Foreign(await self._engine.handle_async_request(carried))

    def signed_by(self, authorizer: Authorizer) -> "SignedTransport":
        """The same engine, signing with another identity."""
        return SignedTransport(self._engine, authorizer)


async def read_whole(reply: Reply, limit: int) -> bytes:
    """The body, at most ``limit`` bytes of it. Closes the reply. Raises ``ProxyError``."""
    parts: list[bytes] = []
    size = 0
    try:
        while part := await reply.read():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise too_large(limit)
    except httpx.TransportError as fault:
        raise after_answer(fault) from fault.with_traceback(None)
    finally:
        await reply.aclose()
    return b"".join(parts)


async def read_words(reply: Reply, limit: int, within: float) -> bytes:
    """The body of a refusal, as far as it comes: at most ``limit`` bytes of it, for ``within``
    seconds. Closes the reply. Its head has said what matters, so no failure may take its place
    (whoever refuses a request early often resets the connection)."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within):
            while size < limit and (part := await reply.read()):
                parts.append(part)
                size += len(part)
    except (TimeoutError, httpx.TransportError):
        pass
    finally:
        await reply.aclose()
    return b"".join(parts)


def headers_of(reply: Reply) -> dict[str, str]:
    """By lower-case name; of a repeated one, the last."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers
    }


def too_large(limit: int) -> ProxyError:
    """An answer that is longer than any model's."""
    return ProxyError(502, f"Bedrock's answer is over {limit} bytes.", code="upstream_too_large")


def after_answer(fault: httpx.TransportError) -> ProxyError:
    """The connection broke inside an answer."""
    return ProxyError(
        502,
        f"The connection to Bedrock broke in the middle of the answer ({type(fault).__name__}).",
        code="upstream_truncated",
        retry="transient",
    )


def _before_answer(fault: httpx.TransportError) -> ProxyError:
    if isinstance(fault, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        if isinstance(fault, httpx.RemoteProtocolError) and "disconnect" not in str(fault).lower():
            return ProxyError(
                502, "Bedrock's answer is not HTTP.", code="upstream_protocol_error"
            )  # fmt: skip
        return DeadConnection(type(fault).__name__)
    return ProxyError(
        502,
        f"Bedrock cannot be reached ({_trouble(fault)}).",
        code="upstream_unreachable",
        retry="transient",
    )


def _trouble(fault: httpx.TransportError) -> str:
    """Why a connection failed, in words that name no host."""
    cause: BaseException = fault
    while deeper := cause.__cause__ or cause.__context__:  # httpcore's has no cause
        cause = deeper
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(cause.verify_code, "its certificate is not valid")
    if isinstance(cause, ssl.SSLError):
        return "TLS failed"
    if isinstance(cause, socket.gaierror | UnicodeError):
        return "its name cannot be resolved"
    number = cause.errno if isinstance(cause, OSError) else None
    return _ERRNOS.get(number or 0, type(fault).__name__)
