"""How the simulated Bedrock says no.

Every check of this room raises one thing, a `Refusal`: an AWS exception name, a message and what
follows from them (status, header form, body key). The wordings are the service's own where a
recording or a public report shows them. Only the outermost layer (`app.py`) turns a Refusal into
bytes, either as an HTTP answer or as an exception message inside a stream.

Sources: captures facts 38-40 (recorded), the service model's exception shapes, AWS's "common
errors" page. Types that the model does not list (UnrecognizedClientException and its kin) come
from the authentication layer and carry another namespace in `x-amzn-errortype`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

SERVICE = "http://internal.amazon.com/coral/com.amazon.bedrock/"
FRONT = "http://internal.amazon.com/coral/com.amazon.coral.service/"

STATUS = MappingProxyType(
    {
        "ValidationException": 400,
        "SerializationException": 400,
        "ServiceQuotaExceededException": 400,
        "ConflictException": 400,
        "IncompleteSignatureException": 400,
        "AccessDeniedException": 403,
        "UnrecognizedClientException": 403,
        "InvalidSignatureException": 403,
        "ExpiredTokenException": 403,
        "MissingAuthenticationTokenException": 403,
        "ResourceNotFoundException": 404,
        "UnknownOperationException": 404,
        "ModelTimeoutException": 408,
        "RequestEntityTooLargeException": 413,
        "ModelErrorException": 424,
        "ModelStreamErrorException": 424,
        "ThrottlingException": 429,
        "ModelNotReadyException": 429,
        "InternalServerException": 500,
        "ServiceUnavailableException": 503,
    }
)

_FRONT_TYPES = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "UnknownOperationException",
        "SerializationException",
    }
)


class Refusal(Exception):
    """One AWS error.

    `error` is the exception's name (empty for a bearer failure, which names none), `extra` are
    further body members such as `originalStatusCode`, `headers` are further response headers.
    """

    def __init__(
        self,
        error: str,
        message: str,
        *,
        status: int | None = None,
        extra: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        message_key: str = "message",
    ) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.status = STATUS.get(error, 400) if status is None else status
        self.extra = extra or {}
        self.headers = headers
        self.message_key = message_key

    @property
    def error_type(self) -> str:
        """The value of `x-amzn-errortype`, with its namespace (fact 40)."""
        return f"{self.error}:{FRONT if self.error in _FRONT_TYPES else SERVICE}"

    @property
    def body(self) -> dict[str, Any]:
        return {self.message_key: self.message, **self.extra}


def invalid(message: str) -> Refusal:
    """A ValidationException in the service's own words."""
    return Refusal("ValidationException", message)


def model_says(message: str) -> Refusal:
    """A ValidationException that passes on what the model behind the service complained about."""
    return invalid("The model returned the following errors: " + message)


def unsupported(field: str) -> Refusal:
    """The service's sentence for a request field that the model does not take."""
    return invalid(f"This model doesn't support the {field} field. Remove {field} and try again.")


def unsupported_block(kind: str) -> Refusal:
    """The service's sentence for a kind of content block (recorded for video on Claude)."""
    return invalid(
        f"This model doesn't support the {kind} content block that you provided. "
        "Update the content block and try again."
    )
