"""A Bedrock API key as authorizer: it adds the ``Authorization: Bearer`` header and nothing else.

The key is the proxy's (``AWS_BEARER_TOKEN_BEDROCK``) or, with ``client_keys``, the client's own:
then there is one ``Bearer`` per request, and AWS's verdict on it (401, 403) is passed to the
client. It is never sent over plain http, except to a loopback host (the simulator). Short-term keys
are an encoded pre-signed request, so their expiry can be read. Source: AWS, *Amazon Bedrock API
keys*; their inner form from AWS's published token generators, parsed defensively.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs

import httpx

from proxy.bedrock.clock import stamp_time
from proxy.bedrock.credentials import State
from proxy.errors import ProxyError

_KEY: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_SHORT_TERM: Final = "bedrock-api-key-"


class Bearer:
    """One Bedrock API key. Raises ``ProxyError`` for one that cannot be a header's value."""

    __slots__ = ("_clock", "_expiry", "_key")

    def __init__(self, key: str, *, clock: Callable[[], float] = time.time) -> None:
        if not _KEY.fullmatch(key):
            raise ProxyError(
                401,
                "The Bedrock API key contains a line break, a space or another character that is"
                " not allowed in one.",
                type="invalid_request_error",
                code="invalid_api_key",
            )
        self._key = key
        self._clock = clock
        self._expiry = key_expiry(key)

    def __repr__(self) -> str:
        return "Bearer(***)"

    async def authorize(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
        *,
        payload_hash: str | None = None,
    ) -> dict[str, str]:
        """See ``Authorizer.authorize``; nothing is signed."""
        if url.scheme != "https" and not is_loopback(url.host):
            raise ProxyError(
                503,
                "The proxy's endpoint is plain http; a Bedrock API key is only sent over https.",
                code="upstream_credentials",
            )
        return {"authorization": f"Bearer {self._key}"}

    async def renew(self, error: ProxyError, sent: Mapping[str, str] | None = None) -> bool:
        """Never: the same key would be refused again."""
        return False

    def state(self) -> State:
        expired = self._expiry is not None and self._clock() >= self._expiry
        return State(
            mode="bearer",
            source="bearer",
            ok=not expired,
            detail="short-term key" if self._expiry else "AWS_BEARER_TOKEN_BEDROCK",
            expiry=self._expiry,
            error="Expired" if expired else None,
        )


def key_expiry(key: str) -> float | None:
    """Unix time at which a short-term key ends; ``None`` for a long-term or unreadable one."""
    if not key.startswith(_SHORT_TERM):
        return None
    encoded = key[len(_SHORT_TERM) :]
    try:
        text = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    query = parse_qs(text.partition("?")[2])
    begun = stamp_time(query.get("X-Amz-Date", [""])[0])
    life = query.get("X-Amz-Expires", [""])[0]
    return begun + int(life) if begun is not None and life.isdecimal() else None


def is_loopback(host: str) -> bool:
    """``localhost`` or an address of the machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
