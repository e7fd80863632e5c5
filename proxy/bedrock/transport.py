"""The seam to the network: an ``httpx.AsyncBaseTransport`` that signs and hands to an engine.

It is called directly, not through ``httpx.AsyncClient``: no redirects, no cookies, no decoding, no
environment proxies behind our back. The engine below it is replaceable: the proven one is
``httpx.AsyncHTTPTransport``, a test injects ``httpx.MockTransport(router.async_handler)``.

Errors of either engine leave here as ``ProxyError``; ``DeadConnection`` tells the one case that is
free to try again: a connection that ended before it answered anything.
Source: HTTPX docs, *Transports*; Bedrock endpoints speak HTTP/1.1 with keep-alive.
"""

from collections.abc import AsyncIterator
from time import monotonic
from types import MappingProxyType
from typing import Final, cast

import httpx

from proxy import __version__
from proxy.bedrock.credentials import Authorizer
from proxy.errors import ProxyError

USER_AGENT: Final = f"bedrock-openai-proxy/{__version__}"
CONNECT_TIMEOUT: Final = 3.0
_HEADERS: Final = ((b"user-agent", USER_AGENT.encode()), (b"accept-encoding", b"identity"))
_TIMEOUTS: Final = MappingProxyType(
    {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}
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


class SignedTransport(httpx.AsyncBaseTransport):
    """Signs each request with ``authorizer`` and sends it over ``engine``."""

    def __init__(self, engine: httpx.AsyncBaseTransport, authorizer: Authorizer) -> None:
        self._engine = engine
        self.authorizer = authorizer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer's head; its body is read from ``response.stream``, raw.

        ``request`` must hold its whole body. What was added stands in its extension ``signed``,
        for ``Authorizer.renew``, and when in ``sent``. Raises ``ProxyError``.
        """
        raw = [(name.lower(), value) for name, value in request.headers.raw]
        headers = {name.decode(): value.decode("ascii") for name, value in raw if _is_signed(name)}
        added = await self.authorizer.authorize(
            request.method,
            request.url,
            headers,
            request.content,
            payload_hash=request.extensions.get("payload_hash"),
        )
        ours = {name.encode(): value.encode() for name, value in added.items()}
        kept = [header for header in raw if header[0] not in ours]
        request.headers = httpx.Headers([*kept, *ours.items()])
        request.extensions["signed"] = added
        request.extensions["sent"] = monotonic()
        try:
            return await self._engine.handle_async_request(request)
        except httpx.TransportError as fault:
            raise _before_answer(fault) from fault

    def signed_by(self, authorizer: Authorizer) -> "SignedTransport":
        """The same engine, signing as somebody else."""
        return SignedTransport(self._engine, authorizer)

    async def aclose(self) -> None:
        await self._engine.aclose()


def build_request(
    method: str, url: httpx.URL, body: bytes = b"", payload_hash: str | None = None
) -> httpx.Request:
    """A request of ours: JSON or nothing as body, answers as framed on the wire."""
    # As httpx would make it of ``content``, at a third of the cost.
    headers = [(b"host", url.netloc), *_HEADERS]
    if body:
        headers += ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    elif method != "GET":
        headers.append((b"content-length", b"0"))
    extensions = {"timeout": dict(_TIMEOUTS), "payload_hash": payload_hash}
    request = httpx.Request(
        method, url, headers=headers, stream=httpx.ByteStream(body), extensions=extensions
    )
    request.read()
    return request


async def read_whole(response: httpx.Response, limit: int) -> bytes:
    """The body, at most ``limit`` bytes of it. Closes the response. Raises ``ProxyError``."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in body_of(response):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise ProxyError(
                    502, f"Bedrock's answer is over {limit} bytes.", code="upstream_too_large"
                )
    except httpx.TransportError as fault:
        raise after_answer(fault) from fault
    finally:
        await response.aclose()
    return b"".join(parts)


def _is_signed(name: bytes) -> bool:
    return name in _SIGNED or name.startswith(_SIGNED_PREFIX)


def body_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body's bytes as the network gives them, undecoded."""
    return aiter(cast(httpx.AsyncByteStream, response.stream))


def headers_of(response: httpx.Response) -> dict[str, str]:
    """By lower-case name; of a repeated one, the last."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in response.headers.raw
    }


def is_whole(response: httpx.Response) -> bool:
    """Whether the body's end is known to be there, read or not. (Our own engine's stream tells.)"""
    return getattr(response.stream, "complete", False) is True


def after_answer(fault: httpx.TransportError) -> ProxyError:
    """The connection broke inside an answer."""
    return ProxyError(
        502,
        f"The connection to Bedrock broke inside its answer ({type(fault).__name__}).",
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
        f"Bedrock cannot be reached ({type(fault).__name__}).",
        code="upstream_unreachable",
        retry="transient",
    )
