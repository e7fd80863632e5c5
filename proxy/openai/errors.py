"""``ProxyError`` in OpenAI's envelope: the body of an HTTP error, and the event that ends a stream.

All four keys stand in every error (clients index them), ``null`` where there is nothing to say. In
a stream the official SDKs raise on a ``data:`` line that holds ``error``; nothing may follow it,
least of all ``[DONE]``, which would make it look like a success.
Source: OpenAI API reference, *Errors*; the SDKs' behaviour as tried.
"""

import orjson

from proxy import sse
from proxy.errors import ProxyError


def error_body(error: ProxyError) -> bytes:
    return orjson.dumps(
        {
            "error": {
                # A message may quote what a caller sent, and that may be no Unicode text.
                "message": error.message.encode("utf-8", "replace").decode(),
                "type": error.type,
                "param": error.param,
                "code": error.code,
            }
        }
    )


def error_event(error: ProxyError) -> bytes:
    return sse.data(error_body(error))
