"""AWS exception names to ``ProxyError``: one table, and the wordings that refine it.

The same names reach us three ways: as ``x-amzn-errortype`` of an HTTP answer, as
``:exception-type`` of a stream message (lower camel case), and as ``:error-code``. All three end
here. A row says what the client is told and what a retry could change; a *wording* narrows
ValidationException and the like, by substring, because AWS puts everything malformed under one
name.

The service's message is passed on (it is the caller's best hint) with ARNs, account ids, role
names and hosts masked. Source: Bedrock API reference, *Errors* of Converse and ConverseStream;
wordings as recorded where the captures have them, else field reports (mid to late 2026).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from proxy.errors import ProxyError, Retry


class _Row(NamedTuple):
    status: int
    type: str
    code: str | None
    retry: Retry


_BAD: Final = "invalid_request_error"
_OURS: Final = _Row(503, "server_error", "upstream_credentials", "credentials")
_THROTTLED: Final = _Row(429, "rate_limit_error", "rate_limit_exceeded", "throttle")
_INTERNAL: Final = _Row(500, "server_error", "internal_error", "transient")
_UNAVAILABLE: Final = _Row(503, "server_error", "service_unavailable", "transient")

# Keyed by the name without "Exception", lower-cased: AWS spells both `ThrottlingException` and
# `throttlingException`, and some names come with and without the suffix.
EXCEPTIONS: Final[Mapping[str, _Row]] = MappingProxyType(
    {
        "validation": _Row(400, _BAD, "invalid_value", "never"),
        "serialization": _Row(400, _BAD, "invalid_value", "never"),
        "conflict": _Row(400, _BAD, "conflict", "never"),
        "accessdenied": _Row(403, "permission_error", "model_access_denied", "never"),
        "resourcenotfound": _Row(404, _BAD, "model_not_found", "never"),
        "ftuformnotfilled": _Row(403, "permission_error", "model_access_denied", "never"),
        "throttling": _THROTTLED,
        "throttled": _THROTTLED,
        "requestthrottled": _THROTTLED,
        "toomanyrequests": _THROTTLED,
        "requestlimitexceeded": _THROTTLED,
        "slowdown": _THROTTLED,
        "servicequotaexceeded": _Row(429, "rate_limit_error", "rate_limit_exceeded", "never"),
        "modelnotready": _Row(503, "server_error", "model_not_ready", "throttle"),
        "modeltimeout": _Row(504, "server_error", "model_timeout", "never"),
        "modelerror": _Row(502, "server_error", "model_error", "once"),
        "modelstreamerror": _Row(502, "server_error", "model_error", "once"),
        "internalserver": _INTERNAL,
        "internalfailure": _INTERNAL,
        "internalerror": _INTERNAL,
        "serviceunavailable": _UNAVAILABLE,
        "unrecognizedclient": _OURS,
        "invalidsignature": _OURS,
        "expiredtoken": _OURS,
        "requestexpired": _OURS,
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


class _Wording(NamedTuple):
    pattern: re.Pattern[str]
    row: _Row


def _wording(pattern: str, status: int, type: str, code: str, retry: Retry = "never") -> _Wording:
    return _Wording(re.compile(pattern, re.IGNORECASE), _Row(status, type, code, retry))


# Judged top down, for the exceptions that AWS uses as a catch-all. "Input is too long" alone also
# stands for a payload that is too large in bytes, so that case is told apart first.
_REFUSALS: Final = (
    _wording(
        r"(request|payload|body|http content)[^.]{0,40}(too large|exceed\w* [^.]{0,40}(bytes|MB)\b)"
        r"|input is too long[^.]{0,40}\bbytes\b",
        413, _BAD, "request_too_large",
    ),
    _wording(
        r"input tokens? exceed|exceeds? (the )?max(imum)? (input )?(length|number of tokens)"
        r"|input is too long|prompt is too long|too many input tokens|exceed\w* (the )?context"
        r"|context (window|length)[^.]{0,60}exceed|exceeds? the maximum[^.]{0,80}context"
        r"|maximum context length|model_context_window_exceeded|max_tokens[^.]{0,40}context limit",
        400, _BAD, "context_length_exceeded",
    ),
    _wording(
        r"model identifier is invalid|could not resolve the foundation model"
        r"|on-demand throughput isn.?t supported|reached (the )?end of its life"
        r"|marked by provider as legacy|model not found|no such model",
        404, _BAD, "model_not_found",
    ),
    _wording(
        r"too many requests|too many tokens|tokens? per (minute|day)|rate (exceeded|limit)"
        r"|throttl|quota",
        429, "rate_limit_error", "rate_limit_exceeded", "throttle",
    ),
    _wording(
        r"unable to process your request|temporarily unavailable|try again later|at capacity",
        503, "server_error", "service_unavailable", "transient",
    ),
    _wording(r"\bimage\b[^.]{0,80}(invalid|could not|not (a )?valid|exceed|unsupported)"
             r"|could not process image|image (was|is) (not|un)|(invalid|unsupported) image",
             400, _BAD, "invalid_image"),
)  # fmt: skip
_DENIALS: Final = (
    _wording(
        r"security token|signature|credential|access key|bearer|api key|authentication",
        503, "server_error", "upstream_credentials", "credentials",
    ),
)  # fmt: skip
_REFINED: Final = MappingProxyType(
    {"validation": _REFUSALS, "accessdenied": _DENIALS, "modelerror": _REFUSALS,
     "modelstreamerror": _REFUSALS}
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
    key = _key(name)
    if key not in EXCEPTIONS:
        key = _BY_STATUS.get(
            status or 0, "internalserver" if (status or 500) >= 500 else "validation"
        )
    row = EXCEPTIONS[key]
    if key in _SERVER_SIDE and original_status is not None and 400 <= original_status < 500:
        row = EXCEPTIONS[_BY_STATUS.get(original_status, "validation")]
    for wording in _REFINED.get(key, ()):
        if wording.pattern.search(message):
            row = wording.row
            break
    text = mask(message.strip()) or _DEFAULT_TEXT.get(key, "Bedrock reported an error.")
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
    name = headers.get("x-amzn-errortype", "").split(":", 1)[0]
    message = ""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict):
        message = str(parsed.get("message") or parsed.get("Message") or "")
        name = name or str(parsed.get("__type") or parsed.get("code") or "").rsplit("#", 1)[-1]
    if 300 <= status < 400 or not 400 <= status < 600:
        return protocol_fault(f"the status {status}", upstream_id)
    original = parsed.get("originalStatusCode") if isinstance(parsed, dict) else None
    error = from_exception(
        name,
        message or ("" if name else f"Bedrock answered with status {status}."),
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


# Order matters: an ARN holds an account id, so ARNs go first.
_MASKS: Final = (
    (re.compile(r"arn:aws[\w-]*:(?:bedrock):[\w-]*::foundation-model/([\w.:-]*\w)"), r"\1"),
    (re.compile(r"arn:aws[\w-]*:[^\s\"',;)\]}]*"), "<arn>"),
    (re.compile(r"(?<!\d)\d{12}(?!\d)"), "<account>"),
    (re.compile(r"\b(?:[\w-]+\.)+(?:amazonaws\.com(?:\.cn)?|api\.aws|vpce)\b\S*"), "<host>"),
    (re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b"), "<id>"),
    (re.compile(r"\b(role|user|assumed-role)/[\w+=,.@/-]+", re.IGNORECASE), r"\1/<name>"),
)


def mask(message: str) -> str:
    """``message`` without the AWS account's inner structure; model names stay readable."""
    for pattern, put in _MASKS:
        message = pattern.sub(put, message)
    return message


def _worded(text: str, row: _Row, key: str) -> str:
    """Words that clients act upon.

    They take "too many tokens" for a context overflow and compact instead of waiting, and
    "insufficient quota" for a billing stop; an overflow must carry its code.
    """
    if row.code == "rate_limit_exceeded":
        text = re.sub("too many tokens", "Token rate exceeded", text, flags=re.IGNORECASE)
        text = re.sub("insufficient quota", "service quota reached", text, flags=re.IGNORECASE)
        what = "service quota" if key == "servicequotaexceeded" else "Bedrock"
        return text if "rate limit" in text.lower() else f"Rate limit reached ({what}): {text}"
    if row.code == "context_length_exceeded" and "context_length_exceeded" not in text:
        return f"context_length_exceeded: {text}"
    if row.code == "upstream_credentials":
        return f"The proxy's own AWS credentials were refused: {text}"
    return text


def _key(name: str) -> str:
    return name.rsplit("#", 1)[-1].split(":", 1)[0].strip().lower().removesuffix("exception")


def _camel(name: str) -> str:
    """AWS's published spelling: stream messages use lower camel case for the same names."""
    bare = name.rsplit("#", 1)[-1].split(":", 1)[0].strip()
    return bare[:1].upper() + bare[1:]
