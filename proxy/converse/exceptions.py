"""AWS exception names to ``ProxyError``: one table, and the wordings that refine it.

The same names reach us three ways: as ``x-amzn-errortype`` of an HTTP answer, as
``:exception-type`` of a stream message (lower camel case), and as ``:error-code``. All three end
here. A row says what the client is told and what a retry could change; a *wording* narrows
ValidationException and the like, by substring, because AWS puts everything malformed under one
name.

The service's message is passed on, masked: it is the caller's best hint. Source: Bedrock API
reference, *Errors* of Converse and ConverseStream; wordings as recorded where the captures have
them, else field reports (mid to late 2026).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from proxy.converse.masking import mask, presentable
from proxy.errors import ProxyError, Retry


class _Row(NamedTuple):
    status: int
    type: str
    code: str | None
    retry: Retry


_BAD: Final = "invalid_request_error"
_OURS: Final = _Row(503, "server_error", "upstream_credentials", "credentials")
_THROTTLED: Final = _Row(429, "rate_limit_error", "rate_limit_exceeded", "throttle")
_DENIED: Final = _Row(403, "permission_error", "model_access_denied", "never")
_INTERNAL: Final = _Row(500, "server_error", "internal_error", "transient")
_UNAVAILABLE: Final = _Row(503, "server_error", "service_unavailable", "transient")

# Keyed by the name without "Exception", lower-cased: AWS spells both `ThrottlingException` and
# `throttlingException`, and some names come with and without the suffix.
EXCEPTIONS: Final[Mapping[str, _Row]] = MappingProxyType(
    {
        "validation": _Row(400, _BAD, "invalid_value", "never"),
        "serialization": _Row(400, _BAD, "invalid_value", "never"),
        "conflict": _Row(400, _BAD, "conflict", "never"),
        "accessdenied": _DENIED,
        "resourcenotfound": _Row(404, _BAD, "model_not_found", "never"),
        "ftuformnotfilled": _DENIED,
        "optinrequired": _DENIED,
        "throttling": _THROTTLED,
        "throttled": _THROTTLED,
        "requestthrottled": _THROTTLED,
        "toomanyrequests": _THROTTLED,
        "requestlimitexceeded": _THROTTLED,
        "limitexceeded": _THROTTLED,
        "bandwidthlimitexceeded": _THROTTLED,
        "provisionedthroughputexceeded": _THROTTLED,
        "priorrequestnotcomplete": _THROTTLED,
        "slowdown": _THROTTLED,
        "servicequotaexceeded": _Row(429, "rate_limit_error", "rate_limit_exceeded", "never"),
        "modelnotready": _Row(503, "server_error", "model_not_ready", "throttle"),
        "modeltimeout": _Row(504, "server_error", "model_timeout", "never"),
        "modelerror": _Row(502, "server_error", "model_error", "once"),
        "modelstreamerror": _Row(502, "server_error", "model_error", "once"),
        "internalserver": _INTERNAL,
        "internalfailure": _INTERNAL,
        "internalerror": _INTERNAL,
        "internalservererror": _INTERNAL,
        "requesttimeout": _Row(504, "server_error", "timeout", "transient"),
        "serviceunavailable": _UNAVAILABLE,
        "unrecognizedclient": _OURS,
        "invalidsignature": _OURS,
        "expiredtoken": _OURS,
        "requestexpired": _OURS,
        "requesttimetooskewed": _OURS,
        "signaturedoesnotmatch": _OURS,
        "authfailure": _OURS,
        "incompletesignature": _OURS,
        "missingauthenticationtoken": _OURS,
        "invalidclienttokenid": _OURS,
        "requesttoolarge": _Row(413, _BAD, "request_too_large", "never"),
        "requestentitytoolarge": _Row(413, _BAD, "request_too_large", "never"),
        "unknownoperation": _Row(502, "server_error", "upstream_protocol_error", "never"),
    }
)

_BY_STATUS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "validation",
        401: "unrecognizedclient",
        403: "accessdenied",
        404: "resourcenotfound",
        408: "modeltimeout",
        413: "requesttoolarge",
        424: "modelerror",
        429: "throttling",
        500: "internalserver",
        502: "serviceunavailable",
        503: "serviceunavailable",
        504: "serviceunavailable",
    }
)

# A model's own status (`originalStatusCode`), where it says that the request was at fault. A 401 or
# 403 there is between Bedrock and the model: it stays a model error.
_BY_ORIGIN: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "validation",
        404: "resourcenotfound",
        408: "modeltimeout",
        413: "requesttoolarge",
        415: "validation",
        422: "validation",
        429: "throttling",
    }
)


class _Wording(NamedTuple):
    pattern: re.Pattern[str]
    row: _Row


def _wording(pattern: str, status: int, type: str, code: str, retry: Retry = "never") -> _Wording:
    return _Wording(re.compile(pattern, re.IGNORECASE), _Row(status, type, code, retry))


# Judged top down, for the exceptions that AWS uses as a catch-all. A constraint violation quotes
# the request's own text, which may say anything, so it is settled before any wording is looked for:
# that of a model's name means that there is no such model (anthropic/claude-sonnet-4.5).
# "Input is too long" alone also stands for a payload that is too large in bytes: told apart next.
_REFUSALS: Final = (
    _wording(
        r"^1 validation error detected: value '[^']*' at 'modelId' failed to satisfy constraint",
        404, _BAD, "model_not_found",
    ),
    _wording(
        r"validation errors? detected|failed to satisfy constraint",
        400, _BAD, "invalid_value",
    ),
    _wording(
        r"\b(request|payload|body|http content)\b[^.]{0,40}"
        r"(too large|exceed\w* [^.]{0,40}(bytes|MB)\b)"
        r"|input is too long[^.]{0,40}\bbytes\b|too many total text bytes",
        413, _BAD, "request_too_large",
    ),
    _wording(
        r"input tokens? exceed|input is too long|prompt is too long|too many input tokens"
        r"|\b(tokens?|token count|input|prompt)\b[^.]{0,40}exceeds? (the )?max(imum)?"
        r" (input |context |prompt )?(length|size|number of (input )?tokens)"
        r"|exceed\w*[^.]{0,60}\bcontext (window|length|limit|size)"
        r"|context (window|length)\b[^.]{0,60}exceed|maximum context length"
        r"|exceeds? the maximum[^.]{0,80}\bcontext\b"
        r"|too many tokens[^.]{0,60}\b(prompt|input|context)\b|model_context_window_exceeded",
        400, _BAD, "context_length_exceeded",
    ),
    _wording(
        r"model identifier is invalid|could not resolve the foundation model"
        r"|reached (the )?end of its life|marked by provider as legacy"
        r"|model not found|no such model",
        404, _BAD, "model_not_found",
    ),
    _wording(r"on-demand throughput isn.?t supported", 400, _BAD, "model_not_found"),
    _wording(
        r"too many requests|too many tokens|\btokens? per (minute|day)|\brate exceeded"
        r"|\brate limit (is |was |has been )?(exceeded|reached)|\bthrottled\b|\bthrottling\b"
        r"|\bquota\b[^.]{0,40}(exceeded|reached|used up)"
        r"|\b(exceeded|insufficient)[^.]{0,40}\bquota\b",
        429, "rate_limit_error", "rate_limit_exceeded", "throttle",
    ),
    _wording(
        r"unable to process your request|temporarily unavailable|try again later|at capacity",
        503, "server_error", "service_unavailable", "transient",
    ),
    _wording(
        r"could not process (the )?image|unable to process (the )?(provided )?image"
        r"|\b(invalid|corrupt(ed)?|unsupported) image\b(?!_)"
        r"|\bimage (was specified using|appears to be|exceeds|could not be|format|dimensions"
        r"|is (invalid|not (a )?valid|too (large|small)|corrupt|not supported|unsupported))\b"
        r"|\bcontent\.\d+\.image\.source\b",
        400, _BAD, "invalid_image",
    ),
)  # fmt: skip
_DENIALS: Final = (
    _wording(r"not authorized to perform|access to the model|model access|use case",
             403, "permission_error", "model_access_denied"),
    _wording(
        r"security token|signature|credential|access key|bearer|api key|authentication",
        503, "server_error", "upstream_credentials", "credentials",
    ),
)  # fmt: skip
# The form that a provider asks for comes as "not found", but only a permission is missing.
_ABSENCES: Final = (
    _wording(r"use case details|use case form", 403, "permission_error", "model_access_denied"),
)
# A refused Bedrock API key has no exception name: 403, and a body spelled with a capital `Message`.
_BEARER_REFUSED: Final = "UnrecognizedClientException"
_DENIED_BY_POLICY: Final = _DENIALS[0].pattern.search
_REFINED: Final = MappingProxyType(
    {"validation": _REFUSALS, "accessdenied": _DENIALS, "resourcenotfound": _ABSENCES,
     "modelerror": _REFUSALS, "modelstreamerror": _REFUSALS}
)  # fmt: skip
_SERVER_SIDE: Final = frozenset({"modelerror", "modelstreamerror"})
_DEFAULT_TEXT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "validation": "Bedrock refused the request.",
        "accessdenied": "Access to this model was denied.",
        "throttling": "Bedrock is throttling this model.",
        "servicequotaexceeded": "A service quota of the AWS account is used up.",
    }
)


def from_exception(
    name: str,
    message: str,
    *,
    status: int | None = None,
    original_status: int | None = None,
    upstream_id: str | None = None,
) -> ProxyError:
    """AWS's exception ``name`` (any of its spellings) and ``message`` as a ``ProxyError``.

    ``status`` is the HTTP status it came with, used when the name is unknown; ``original_status``
    is a model error's ``originalStatusCode``: a 4xx there is the caller's fault, not the model's.
    """
    key = _known(name, status)
    text = presentable(message)
    row = EXCEPTIONS[key]
    if key in _SERVER_SIDE and original_status is not None:
        row = EXCEPTIONS[_BY_ORIGIN.get(original_status, key)]
    for wording in _REFINED.get(key, ()):
        if wording.pattern.search(text):
            row = wording.row
            break
    text = mask(text) or _DEFAULT_TEXT.get(key, "Bedrock reported an error.")
    return ProxyError(
        row.status,
        _worded(text, row, key),
        type=row.type,
        code=row.code,
        retry=row.retry,
        reason=_camel(name) or key,
        upstream_id=upstream_id,
    )


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
    """An HTTP answer that is no success. ``headers`` are keyed in lower case.

    Never shows the raw body: a load balancer's HTML page or a stray answer of another service is
    reported by its status alone. A redirect is an error too (it would carry a signed request away).
    """
    upstream_id = headers.get("x-amzn-requestid")
    if not 400 <= status < 600:
        return protocol_fault(f"the status {status}", upstream_id)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    fields: Mapping[str, object] = parsed if isinstance(parsed, dict) else {}
    name = headers.get("x-amzn-errortype") or _string(fields, "__type", "code")
    message = _string(fields, "message", "Message")
    if not name and status in {401, 403} and "Message" in fields and not _DENIED_BY_POLICY(message):
        name = _BEARER_REFUSED
    original = fields.get("originalStatusCode")
    error = from_exception(
        name,
        message or ("" if _key(name) in EXCEPTIONS else f"Bedrock answered with status {status}."),
        status=status,
        original_status=original if isinstance(original, int) else None,
        upstream_id=upstream_id,
    )
    error.retry_after = retry_after(headers)
    return error


def protocol_fault(what: str, upstream_id: str | None = None) -> ProxyError:
    """The upstream answered with something that is not Bedrock's protocol."""
    return ProxyError(
        502,
        f"Bedrock answered with {what}.",
        code="upstream_protocol_error",
        upstream_id=upstream_id,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the upstream asks to wait: ``x-amz-retry-after`` (ms) or ``retry-after`` (s)."""
    for name, scale in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value):
            return float(value) * scale
    return None


def _worded(text: str, row: _Row, key: str) -> str:
    """Words that clients act upon.

    They take "too many tokens" for a context overflow and compact instead of waiting, and
    "insufficient quota" for a billing stop; an overflow must carry its code.
    """
    if row.code == "rate_limit_exceeded":
        text = re.sub("too many tokens", "Token rate exceeded", text, flags=re.IGNORECASE)
        text = re.sub("insufficient[ _]quota", "service quota reached", text, flags=re.IGNORECASE)
        what = "service quota" if key == "servicequotaexceeded" else "Bedrock"
        return text if "rate limit" in text.lower() else f"Rate limit reached ({what}): {text}"
    if row.code == "context_length_exceeded" and "context_length_exceeded" not in text:
        return f"context_length_exceeded: {text}"
    if row.code == "upstream_credentials":
        # A refused signature is answered with the signed headers, session token included, in the
        # lines below the first.
        return f"The proxy's own AWS credentials were refused: {text.splitlines()[0]}"
    return text


def _string(fields: Mapping[str, object], *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _known(name: str, status: int | None) -> str:
    """The key of ``name``'s row; an unknown name falls back to what its status says."""
    key = _key(name)
    if key in EXCEPTIONS:
        return key
    fallback = "validation" if status is not None and 400 <= status < 500 else "internalserver"
    return _BY_STATUS.get(status or 0, fallback)


def _key(name: str) -> str:
    return _bare(name).lower().removesuffix("exception")


def _camel(name: str) -> str:
    """AWS's published spelling: stream messages use lower camel case for the same names. Empty for
    what is no name at all: this word ends in logs and metrics."""
    bare = _bare(name)
    return bare[:1].upper() + bare[1:] if re.fullmatch(r"[A-Za-z]{1,64}", bare) else ""


def _bare(name: str) -> str:
    """``name`` without the namespace before it (``#``) or the one after it (``:``)."""
    return name.split(":", 1)[0].rsplit("#", 1)[-1].strip()
