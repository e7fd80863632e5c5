"""One HTTP/1.1 answer, parsed: bytes in; a head, a body and an end, or one error, out.

llhttp (through httptools) does the parsing; this adds what it leaves to its user: limits, interim
answers, what the end of the connection means, and whether another answer may follow. It does no
IO, so a test can cut an answer at any byte.

llhttp is stricter than the h11 below httpx: no bare LF, no folded headers, no Content-Length twice
or beside Transfer-Encoding. An answer that two parsers may read differently is refused.
Source: RFC 9110 15.2 (interim answers), RFC 9112 6.3 (length of a body), 9.3 (persistence).
"""

from typing import Final

import httpx
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpResponseParser,
)

HEAD_LIMIT: Final = 65_536
"""Bytes of a head with its trailers, and of anything else that brings no body."""
HEADER_LIMIT: Final = 256
INTERIM_LIMIT: Final = 32
"""Answers of status 1xx before the final one."""


class Answer:
    """The answer to one request of ``method``, fed with what the connection gives.

    ``opened``: the head is there. ``complete``: so is the body. ``keep``: another answer may
    follow. ``surplus``: more came than was asked for. ``error``: it will never be complete.
    ``on_...`` are the parser's; what they raise ends the answer.
    """

    __slots__ = (
        "_barren", "_bodiless", "_head_size", "_interim", "_length", "_parser", "_until_eof",
        "complete", "error", "headers", "keep", "on_body", "opened", "parts", "reason", "received",
        "status", "surplus", "version",
    )  # fmt: skip

    def __init__(self, method: str) -> None:
        self.parts: list[bytes] = []
        """The body that nobody has taken yet; the same list for as long as the answer lives."""
        self.on_body = self.parts.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._bodiless = method == "HEAD"
        self._head_size = self._barren = self._interim = 0
        self._length: int | None = None
        self._until_eof = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.reason = b""
        self.status = 0
        self.version = ""
        self.received = 0
        """Bytes of body that were taken."""
        self.opened = self.complete = self.keep = self.surplus = False
        self.error: httpx.TransportError | None = None

    def receive(self, data: bytes) -> None:
        """Parse what one read gave. What is wrong with it goes to ``error``."""
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as fault:
            self._stop(fault)
        if self.parts:
            self._barren = 0
        elif not self.complete and self.error is None:
            self._barren += len(data)
            if self._barren > HEAD_LIMIT:
                self.error = httpx.RemoteProtocolError(f"Over {HEAD_LIMIT} bytes and no body.")

    def finish(self, cause: Exception | None) -> None:
        """The peer closed the connection, or it broke for ``cause``: the answer ends here."""
        if cause is not None:
            self.error = httpx.ReadError(str(cause))
        elif not self.opened:
            self.error = httpx.RemoteProtocolError(
                "Server disconnected without sending a response."
            )
        elif self._until_eof:
            self.complete = True
        else:
            self.error = httpx.RemoteProtocolError(self._shortfall())

    def leave_parser(self) -> None:
        """No more is received. (The two refer to each other; nothing is left to the collector.)"""
        self._parser = None

    def _stop(self, fault: Exception) -> None:
        cause = fault.__context__
        if self.complete:
            self.surplus = True
        elif isinstance(cause, httpx.RemoteProtocolError):
            self.error = cause
        elif isinstance(fault, HttpParserCallbackError):
            raise fault  # a defect of ours, not the peer's
        elif isinstance(fault, HttpParserUpgrade):
            self.error = httpx.RemoteProtocolError(
                "The server switched protocols without being asked."
            )
        else:
            self.error = httpx.RemoteProtocolError(f"The response is not HTTP: {fault}")

    def _shortfall(self) -> str:
        what = "incomplete chunked read"
        if self._length is not None:
            received = self.received + sum(map(len, self.parts))
            what = f"received {received} bytes, expected {self._length}"
        return f"peer closed connection without sending complete message body ({what})"

    # What the parser tells

    def on_message_begin(self) -> None:
        if self.complete:
            raise httpx.RemoteProtocolError("The server sent an unsolicited response.")

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_LIMIT or len(self.headers) == HEADER_LIMIT:
            raise httpx.RemoteProtocolError("The response head is too large.")
        if not self.opened:  # what comes later are trailers
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = status = self._parser.get_status_code()
        self.version = self._parser.get_http_version()
        if status < 100 or self.version not in ("1.1", "1.0"):
            raise httpx.RemoteProtocolError(f"HTTP/{self.version} {status} is no answer to this.")
        if status < 200:
            self._skip_interim()
            return
        self._read_framing()
        self.opened = True
        if self._bodiless:
            self.complete = True
            raise httpx.RemoteProtocolError("The parser would wait for a body.")

    def on_message_complete(self) -> None:
        if self.opened:
            assert self._parser is not None
            self.complete = True
            self.keep = self._parser.should_keep_alive()

    def _skip_interim(self) -> None:
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            raise httpx.RemoteProtocolError("The server sent too many interim responses.")
        self.headers.clear()
        self.reason = b""

    def _read_framing(self) -> None:
        chunked = False
        for name, value in self.headers:
            key = name.lower()
            if key == b"content-length":
                self._length = int(value)
            elif key == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise httpx.RemoteProtocolError(f"Unknown transfer encoding {value[:40]!r}.")
                chunked = True
        self._until_eof = self._length is None and not chunked
