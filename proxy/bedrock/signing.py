"""SigV4 for Bedrock, by botocore: the headers that make a request ours.

botocore's ``SigV4Auth`` builds the canonical request and the string to sign. Three things are given
to it instead of fetched by it: the time (so a wrong clock can be corrected), the hash of the body
(so that a retry need not hash again) and the derived key (it changes once a day; four HMACs saved).
Signed are ``content-type``, ``host`` and ``x-amz-*``: nothing that a hop or an HTTP library may
still change. Both planes sign for the service ``bedrock``.

Importing this module imports botocore (0.15 s): ``credentials.py`` does it in its thread. Source:
AWS, *Signature Version 4 for API requests*; vectors in ``tests/bedrock/test_signing.py``.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_SIGNED: Final = ("content-type", "host")
_SIGNED_PREFIXES: Final = ("x-amz-", "x-amzn-bedrock-")
_OURS: Final = frozenset({"x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})
_KEPT_KEYS: Final = 32


class Secrets(Protocol):
    """What signing needs of credentials."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Signer:
    """Signs, and keeps the keys it derived (one per secret, day, region and service)."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str, str], bytes] = {}

    def sign(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        payload_hash: str,
        secrets: Secrets,
        region: str,
        now: datetime,
        service: str = "bedrock",
    ) -> dict[str, str]:
        """The headers to add, in lower case: ``authorization``, ``x-amz-date``, the session token.

        ``path`` and ``query`` are percent-encoded, exactly as they will be sent; ``headers`` hold
        ``host`` (with a port that is not the scheme's own); ``payload_hash`` is ``body_hash`` of
        the bytes sent; ``now`` is in UTC.
        """
        added = {"x-amz-date": now.strftime(_TIMESTAMP)}
        if secrets.token:
            added["x-amz-security-token"] = secrets.token
        lowered = {name.lower(): value for name, value in headers.items()}
        signed = {name: value for name, value in lowered.items() if _is_signed(name)} | added
        url = f"https://{lowered['host']}{path}" + (f"?{query}" if query else "")
        request = AWSRequest(method=method, url=url, headers=signed)
        request.context["timestamp"] = added["x-amz-date"]

        day = added["x-amz-date"][:8]
        key = self._key(secrets.secret_key, day, region, service)
        auth = _Auth(secrets, service, region, payload_hash, key)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        names = auth.signed_headers(auth.headers_to_sign(request))
        added["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, "
            f"Signature={auth.signature(text, request)}"
        )
        return added

    def _key(self, secret: str, day: str, region: str, service: str) -> bytes:
        at = (secret, day, region, service)
        key = self._keys.get(at)
        if key is None:
            if len(self._keys) >= _KEPT_KEYS:
                self._keys.clear()
            key = self._keys[at] = derive_key(secret, day, region, service)
        return key


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Secrets,
    region: str,
    now: datetime,
    service: str = "bedrock",
) -> dict[str, str]:
    """``Signer.sign`` once, for a body that was not hashed before."""
    return Signer().sign(
        method, path, query, headers, body_hash(body), secrets, region, now, service
    )


def body_hash(body: bytes) -> str:
    """Lower-case hex SHA-256; releases the interpreter for bodies above 2 KB."""
    return hashlib.sha256(body).hexdigest()


def derive_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The signing key of a day (``YYYYMMDD``), region and service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class _Auth(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """``SigV4Auth`` with the body's hash and the signing key given."""

    def __init__(
        self, secrets: Secrets, service: str, region: str, payload_hash: str, key: bytes
    ) -> None:
        super().__init__(secrets, service, region)
        self._payload_hash = payload_hash
        self._key = key

    def payload(self, request: Any) -> str:
        return self._payload_hash

    def signature(self, string_to_sign: str, request: Any) -> str:
        return hmac.digest(self._key, string_to_sign.encode(), "sha256").hex()


def _is_signed(name: str) -> bool:
    return name in _SIGNED or (name.startswith(_SIGNED_PREFIXES) and name not in _OURS)
