"""One line per request on stderr: JSON, or text on a terminal.

Written once, when an answer has ended, from the same record as the metrics. Never a prompt, an
answer, a key or a URL with a query. Everything else the house says goes through the standard
logger ``bedrock_openai_proxy``.
"""

import logging
import sys
import time
from typing import Final, Literal

import orjson

from proxy.metrics import Record

NAME: Final = "bedrock_openai_proxy"
logger: Final = logging.getLogger(NAME)


class _JsonLine(logging.Formatter):
    """Every record as one JSON object; ``extra={"fields": {...}}`` becomes its members."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class _TextLine(logging.Formatter):
    """The same for eyes: time, level, message, then the fields that say something."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        shown = " ".join(
            f"{key}={value}" for key, value in fields.items() if value not in ("", None)
        )
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{stamp} {record.levelname.lower():7} {record.getMessage()} {shown}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: str, style: Literal["auto", "json", "text"] | str) -> None:
    """Send the house's log, and the server's errors, to stderr."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextLine() if text else _JsonLine())
    for name in (NAME, "uvicorn.error"):
        one = logging.getLogger(name)
        one.handlers = [handler]
        one.propagate = False
        one.setLevel(level.upper() if name == NAME else logging.WARNING)


def request_line(record: Record, request_id: str, asked: str, used: str) -> None:
    """Log one ended request. ``asked`` is the client's model name, ``used`` what was called."""
    if not logger.isEnabledFor(logging.INFO):
        return
    ttft = record.first_content - record.began if record.first_content else None
    logger.info(
        "request",
        extra={
            "fields": {
                "request_id": request_id,
                "upstream_id": record.upstream_id,
                "endpoint": record.endpoint,
                "model": asked[:200],
                "called": used,
                "stream": record.stream,
                "status": record.status,
                "code": record.code,
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
        },
    )
