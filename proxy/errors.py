"""The one exception type that crosses package borders.

A ``ProxyError`` says what the client is told (status, type, code, param, message) and what the
retry loop may do about it. The code that raises it decides both, so nothing above interprets a
message again. Rendering it in a client API's envelope is the dialect's job.

Either party can be at fault, and the constructors say which: ``invalid`` is the client's request,
everything else is a fault on the proxy's side.
"""

from typing import Final, Literal

Retry = Literal["never", "once", "transient", "throttle", "credentials"]
"""What could make a retry succeed: nothing; one more try; a short pause; a long pause; fresh
credentials (or a corrected clock)."""

CLIENT_CLOSED: Final = 499
"""Status used in metrics and logs when the client left first (nginx's convention)."""


class ProxyError(Exception):
    """A failure with everything a client, the retry loop and the log need to know.

    ``status`` is the HTTP status when no byte was sent yet; afterwards the same error goes in-band.
    ``type``, ``code`` and ``param`` are OpenAI's words (``code`` and ``param`` may be ``None``).
    ``retry_after`` is in seconds. ``reason`` is a short stable word for metrics and logs: AWS's
    exception name where there is one. ``upstream_id`` is Bedrock's request id, if it answered.
    ``headers`` go out with it, beside those of every error.
    """

    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "server_error",
        code: str | None = None,
        param: str | None = None,
        retry: Retry = "never",
        retry_after: float | None = None,
        reason: str = "",
        upstream_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.retry: Retry = retry
        self.retry_after = retry_after
        self.reason = reason or code or type
        self.upstream_id = upstream_id
        self.server_date: str | None = None
        """The upstream's ``Date`` header, against which a clock can be corrected."""

    def untraced(self) -> "ProxyError":
        """Itself, without its traceback. The traceback's frames may hold the error: a reference
        cycle that keeps the request alive until the garbage collector runs (which is rarely)."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self

    def __repr__(self) -> str:
        return f"ProxyError({self.status}, {self.code or self.type}, {self.message!r})"


def invalid(
    message: str, param: str | None = None, code: str | None = "invalid_value", status: int = 400
) -> ProxyError:
    """The caller is at fault; ``param`` is a path such as ``messages[2].content[0].type``."""
    return ProxyError(
        status,
        message,
        type="invalid_request_error",
        code=code,
        param=param,
        reason=code or "invalid",
    )


def unsupported(message: str, param: str) -> ProxyError:
    """A known parameter without a counterpart, whose loss would change the answer."""
    return invalid(message, param, "unsupported_parameter")
