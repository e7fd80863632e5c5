"""JSON that stands on one line for every reader of lines.

What JSON leaves raw but ``str.splitlines`` takes for a line end (U+2028, U+2029, U+0085) is
escaped, since clients of event streams exist that split so.
Source: WHATWG HTML, *Server-sent events*; Python's ``str.splitlines``.
"""

from collections.abc import Mapping

import orjson

from proxy.converse.types import Json


def dumps(value: Json) -> bytes:
    """``value`` as JSON that stands on one line for every reader of lines.

    Half a surrogate pair is no Unicode text and no JSON writer takes it; it becomes U+FFFD.
    """
    try:
        raw = orjson.dumps(value)
    except TypeError:
        raw = orjson.dumps(_mended(value))
    if raw.isascii():  # as most are, and none of the three is: looking for them takes far longer
        return raw
    return (
        raw.replace(b"\xe2\x80\xa8", rb"\u2028")
        .replace(b"\xe2\x80\xa9", rb"\u2029")
        .replace(b"\xc2\x85", rb"\u0085")
    )


def _mended(value: Json) -> Json:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list() | tuple():
            return [_mended(entry) for entry in value]
        case Mapping():
            return {_mended(key): _mended(entry) for key, entry in value.items()}
    return value
