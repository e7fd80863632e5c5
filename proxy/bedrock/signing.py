"""SigV4 for Bedrock, by botocore: the headers that make a request ours.

botocore's ``SigV4Auth`` writes the canonical request, once for each form of request (method, path,
query, headers): what differs from one request of a form to the next is the time and the hash of the
body, and these are put in their places here. With the derived key kept (it changes once a day) a
signature is two hashes. The time is given, so a wrong clock can be corrected, and so is the body's
hash, so that a retry need not hash again. A property test holds all of it to botocore's own result.

Signed are ``content-type``, ``host`` and ``x-amz-*``: nothing that a hop or an HTTP library may
still change. Both planes sign for the service ``bedrock``.

Importing this module imports botocore (0.15 s): ``credentials.py`` does it in its thread. Source:
AWS, *Signature Version 4 for API requests*; vectors in ``tests/bedrock/test_signing.py``.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_SIGNED: Final = ("content-type", "host")
_SIGNED_PREFIXES: Final = ("x-amz-", "x-amzn-bedrock-")
_OURS: Final = frozenset({"x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})
_KEPT_KEYS: Final = 32
_KEPT_FORMS: Final = 256
_NO_DATE: Final = "00000000T000000Z"


class Secrets(Protocol):
    """What signing needs of credentials."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class _Form(NamedTuple):
    """A canonical request without its date and its body's hash, and the names it signs."""

    before_date: str
    before_hash: str
    names: str


class Signer:
    """Signs, and keeps what it derived: keys (one per secret, day, region and service) and forms
    of requests."""

    __slots__ = ("_date", "_forms", "_keys", "_now")

    def __init__(self) -> None:
        self._now: datetime | None = None
        self._date = ""
        self._keys: dict[tuple[str, str, str, str], bytes] = {}
        self._forms: dict[tuple[object, ...], _Form] = {}

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
        if now != self._now:  # whole seconds share theirs
            self._now, self._date = now, now.strftime(_TIMESTAMP)
        date = self._date
        added = {"x-amz-date": date}
        if secrets.token:
            added["x-amz-security-token"] = secrets.token
        form = self._form(method, path, query, headers, secrets.token)
        canonical = f"{form.before_date}{date}{form.before_hash}{payload_hash}"
        scope = f"{date[:8]}/{region}/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{body_hash(canonical.encode())}"
        key = self._key(secrets.secret_key, date[:8], region, service)
        added["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={secrets.access_key}/{scope}, "
            f"SignedHeaders={form.names}, "
            f"Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"
        )
        return added

    def _form(
        self, method: str, path: str, query: str, headers: Mapping[str, str], token: str | None
    ) -> _Form:
        at = (method, path, query, token, *headers.items())
        form = self._forms.get(at)
        if form is None:
            if len(self._forms) >= _KEPT_FORMS:
                self._forms.clear()
            form = self._forms[at] = _form_of(method, path, query, headers, token)
        return form

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


def _form_of(
    method: str, path: str, query: str, headers: Mapping[str, str], token: str | None
) -> _Form:
    lowered = {name.lower(): value for name, value in headers.items()}
    signed = {name: value for name, value in lowered.items() if _is_signed(name)}
    signed["x-amz-date"] = _NO_DATE
    if token:
        signed["x-amz-security-token"] = token
    url = f"https://{lowered['host']}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers=signed)
    auth = _Canonical(None, "", "")
    # No line but the date's own begins so: neither a target nor a header's value holds a line end.
    before, line, after = auth.canonical_request(request).partition("\nx-amz-date:")
    names = auth.signed_headers(auth.headers_to_sign(request))
    return _Form(before + line, after.removeprefix(_NO_DATE), names)


class _Canonical(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """``SigV4Auth`` as the writer of canonical requests, the hash at their end left out."""

    def payload(self, request: Any) -> str:
        return ""


def _is_signed(name: str) -> bool:
    return name in _SIGNED or (name.startswith(_SIGNED_PREFIXES) and name not in _OURS)
