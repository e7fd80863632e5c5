"""One line per request on stderr: JSON, or text on a terminal.

Written once, when an answer has ended, from the same record as the metrics. Never a prompt, an
answer, a key or a URL with a query; nor the message of an unforeseen exception (it may quote what
it choked on), unless the level is ``debug``. What failed on our side of the wire is a warning, the
rest is information. Everything else the house says goes through the standard logger
``bedrock_openai_proxy``; what libraries warn of comes in the same form.
"""

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Final, Literal, Protocol

import orjson

from proxy.metrics import Record
from proxy.stderr import Stderr

NAME: Final = "bedrock_openai_proxy"
logger: Final = logging.getLogger(NAME)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ENDS: Final = re.compile(r"[\x7f-\x9f\u2028\u2029]")
"""Characters that JSON leaves raw and some readers take for a line end or a terminal command."""
_LONGEST: Final = 200
"""Characters of a name that a client sent."""


class _Line(Protocol):
    """A form of lines; ``at`` is unix time in seconds."""

    def line(self, at: float, level: str, message: str, fields: Mapping[str, object]) -> str: ...


class _JsonLine(logging.Formatter):
    """Every record as one JSON object; ``extra={"fields": {...}}`` becomes its members."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            fields = {**fields, "exception": _traced(record.exc_info[1])}
        return self.line(record.created, record.levelname, record.getMessage(), fields)

    def line(self, at: float, level: str, message: str, fields: Mapping[str, object]) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
            + f".{int(at % 1 * 1000):03d}Z",
            "level": level.lower(),
            "message": message,
            **fields,
        }
        try:
            text = orjson.dumps(line, default=str).decode()
        except TypeError:  # text that is no Unicode
            return json.dumps(line, default=str)
        if text.isascii() and "\x7f" not in text:
            return text
        return _ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _TextLine(logging.Formatter):
    """The same for people: time, level, message, then the fields that are set."""

    def line(self, at: float, level: str, message: str, fields: Mapping[str, object]) -> str:
        shown = " ".join(
            f"{key}={_text(value)}" for key, value in fields.items() if value not in ("", None, [])
        )
        stamp = time.strftime("%H:%M:%S", time.localtime(at))
        return f"{stamp} {level.lower():7} {_plain(message)} {shown}".rstrip()

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        line = self.line(record.created, record.levelname, record.getMessage(), fields)
        if record.exc_info and record.exc_info[1] is not None:
            return f"{line}\n{_traced(record.exc_info[1])}"
        return line


class _Handler(logging.StreamHandler[Stderr]):
    """The stderr handler; it can also write a line without a log record."""

    def __init__(self, stream: Stderr, form: _JsonLine | _TextLine) -> None:
        super().__init__(stream)
        self.setFormatter(form)
        self._form: _Line = form

    def say(self, level: int, message: str, fields: Mapping[str, object]) -> None:
        name = logging.getLevelName(level)
        self.stream.write(self._form.line(time.time(), name, message, fields) + "\n")


def configure(level: str, style: Literal["auto", "json", "text"] | str) -> Stderr:
    """Send the proxy's log, and libraries' warnings, to stderr.

    Returns the stream, which must be closed at exit to flush what is still buffered.
    """
    text = style == "text" or (style == "auto" and sys.stderr is not None and sys.stderr.isatty())
    # What no line tells is not looked up for it (Python's logging HOWTO, *Optimization*).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    formatter = _TextLine() if text else _JsonLine()

    def told(lost: int) -> str:
        words = "log lines were dropped because stderr was not read"
        return formatter.line(time.time(), "WARNING", words, {"lost": lost}) + "\n"

    stderr = Stderr(sys.stderr, told)
    logging.getLogger().handlers = [_Handler(stderr, formatter)]
    logging.getLogger().setLevel(logging.WARNING)
    for name in (NAME, "proxy"):
        logging.getLogger(name).setLevel(level.upper())
    quiet = max(logging.WARNING, logging.getLogger(NAME).level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(quiet)
    return stderr


def request_line(record: Record, asked: str, called: str, url: str = "") -> None:
    """Log one ended request. ``asked`` is the client's model name, ``called`` what it became;
    ``url`` is for what no endpoint has seen.

    Neither may show an account id: the caller has masked them.
    """
    level = logging.WARNING if record.status >= 500 or record.in_band else logging.INFO
    if not logger.isEnabledFor(level):
        return
    ttft = record.first_content - record.began if record.first_content else None
    fields = {
        "request_id": record.request_id,
        "trace_id": record.trace_id or None,
        "upstream_id": record.upstream_id,
        "key": record.key or None,
        "endpoint": record.endpoint,
        "model": asked[:_LONGEST],
        "called": called,
        "region": record.region,
        "stream": record.stream,
        "status": record.status,
        "code": record.code,
        "in_band": record.in_band or None,
        "disconnect": record.disconnect,
        "finish": record.finish,
        "ttft_ms": None if ttft is None else round(ttft * 1000, 1),
        "duration_ms": round((record.ended - record.began) * 1000, 1),
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cache_read_tokens": record.cache_read_tokens,
        "cache_write_tokens": record.cache_write_tokens,
        "notes": list(record.notes),
        "retries": record.retries,
    }
    if url:
        fields["url"] = url
    handlers = logger.root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], _Handler) and not logger.handlers:
        handlers[0].say(level, "request", fields)  # a record would cost more than its line
        return
    # As ``logger.log`` does it, but for its search of the stack for who called.
    extra = {"fields": fields}
    logger.handle(logger.makeRecord(NAME, level, __file__, 0, "request", (), None, extra=extra))


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return _plain(str(value))


def _plain(text: str) -> str:
    """``text`` without characters that could end its line or move the terminal's cursor."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _traced(fault: BaseException) -> str:
    """Where an exception came from, and from which others; with its message only at ``debug``."""
    if logger.isEnabledFor(logging.DEBUG):
        return "".join(traceback.format_exception(fault)).rstrip()
    parts: list[str] = []
    seen: set[int] = set()
    one: BaseException | None = fault
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        parts.append("".join(traceback.format_tb(one.__traceback__)) + type(one).__qualname__)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n".join(reversed(parts))
