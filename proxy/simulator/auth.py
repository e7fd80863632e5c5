"""Authentication, checked for real: SigV4 is recomputed by botocore, a bearer key is compared.

The signature is recomputed over what was received (method, path as sent, query, the signed headers,
the hash of the body) at the request's own X-Amz-Date; botocore encodes the already encoded path
once more, as the service does. The order of the checks and the recorded wordings follow the
captures (facts 39, 40 and the table of error wordings). Raises `Refusal`.

Not verified: what the service says to a wrong credential scope, a signature from the future, a
missing Authorization header; those sentences are AWS's general ones from other services.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from proxy.simulator.refusals import Refusal

_ALGORITHM = "AWS4-HMAC-SHA256"
_DATE = "%Y%m%dT%H%M%SZ"
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Account:
    """What the simulated account accepts. `token_expired` and `now` come from the settings."""

    access_key: str
    secret_key: str
    session_token: str | None
    bearer: str
    region: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as received: `target` is the path still encoded, `query` the raw query string."""

    method: str
    target: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def authenticate(request: Signed, account: Account, now: datetime, token_expired: bool) -> None:
    """Raise the service's 403 unless the request carries a good signature or bearer key."""
    authorization = request.headers.get("authorization", "")
    if authorization.startswith("Bearer "):
        _check_bearer(authorization[7:], account)
    elif authorization.startswith(_ALGORITHM):
        _check_signature(request, _credential(authorization), account, now, token_expired)
    else:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")


def _check_bearer(key: str, account: Account) -> None:
    if not hmac.compare_digest(key.encode(), account.bearer.encode()):
        raise Refusal(
            "AccessDeniedException",
            "Authentication failed: Please make sure your API Key is valid.",
            message_key="Message",
        )


@dataclass(frozen=True, slots=True)
class _Credential:
    key: str
    date: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str


def _credential(authorization: str) -> _Credential:
    """Read `Credential=…, SignedHeaders=…, Signature=…`."""
    fields: dict[str, str] = {}
    for part in authorization.removeprefix(_ALGORITHM).split(","):
        name, _, value = part.strip().partition("=")
        fields[name] = value
    missing = [n for n in ("Credential", "Signature", "SignedHeaders") if not fields.get(n)]
    scope = unquote(fields.get("Credential", "")).split("/")
    if missing or len(scope) != 5 or scope[4] != "aws4_request":
        named = missing[0] if missing else "Credential"
        raise Refusal(
            "IncompleteSignatureException",
            f"Authorization header requires '{named}' parameter. Authorization={_ALGORITHM}",
        )
    signed = tuple(fields["SignedHeaders"].split(";"))
    return _Credential(scope[0], scope[1], scope[2], scope[3], signed, fields["Signature"])


def _check_signature(
    request: Signed, credential: _Credential, account: Account, now: datetime, expired: bool
) -> None:
    if credential.key != account.access_key:
        raise _bad_token()
    _check_session_token(request, account, expired)
    if credential.region != account.region:
        raise _bad_signature("Credential should be scoped to a valid region.")
    if credential.service != "bedrock":
        raise _bad_signature("Credential should be scoped to correct service: 'bedrock'.")
    date = request.headers.get("x-amz-date", "")
    _check_date(date, credential, now)
    for name in ("host", "x-amz-date"):
        if name not in credential.signed:
            raise _bad_signature(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    if not hmac.compare_digest(_expected(request, credential, account, date), credential.signature):
        raise _bad_signature(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. Consult the service documentation for "
            "details."
        )


def _check_session_token(request: Signed, account: Account, expired: bool) -> None:
    token = request.headers.get("x-amz-security-token")
    if token != account.session_token:
        raise _bad_token()
    if expired:
        raise Refusal(
            "ExpiredTokenException", "The security token included in the request is expired"
        )


def _check_date(date: str, credential: _Credential, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(date, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(
            "IncompleteSignatureException",
            "Date must be in ISO-8601 'basic format'. "
            f"Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601",
        ) from None
    if credential.date != date[:8]:
        raise _bad_signature("Date in Credential scope does not match YYYYMMDD from ISO-8601 date.")
    current = now.strftime(_DATE)
    if signed_at < now - _SKEW:
        earliest = (now - _SKEW).strftime(_DATE)
        raise _bad_signature(
            f"Signature expired: {date} is now earlier than {earliest} ({current} - 5 min.)"
        )
    if signed_at > now + _SKEW:
        latest = (now + _SKEW).strftime(_DATE)
        raise _bad_signature(
            f"Signature not yet current: {date} is still later than {latest} ({current} + 5 min.)"
        )


def _expected(request: Signed, credential: _Credential, account: Account, date: str) -> str:
    """botocore's signature over the received request, restricted to the signed headers."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {name: request.headers.get(name, "") for name in credential.signed}
    declared = headers.get("x-amz-content-sha256")
    if declared is not None and declared != hashlib.sha256(request.body).hexdigest():
        raise _bad_signature("The provided 'x-amz-content-sha256' header does not match the body.")
    query = f"?{request.query}" if request.query else ""
    url = f"http://{request.headers.get('host', '')}{request.target}{query}"
    received = AWSRequest(request.method, url, headers=headers, data=request.body)
    received.context["timestamp"] = date
    signer: Any = SigV4Auth(
        Credentials(account.access_key, account.secret_key, account.session_token),
        credential.service,
        credential.region,
    )
    to_sign = signer.string_to_sign(received, signer.canonical_request(received))
    return str(signer.signature(to_sign, received))


def _bad_token() -> Refusal:
    return Refusal(
        "UnrecognizedClientException", "The security token included in the request is invalid."
    )


def _bad_signature(message: str) -> Refusal:
    return Refusal("InvalidSignatureException", message)
