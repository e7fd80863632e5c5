"""The answer of InvokeModel as the one event that it is.

Its body is the model's native JSON, which only the dialect that asked can read; what Bedrock itself
says of the call stands in the headers (recorded: the input token count of every embedding model).
Source: Bedrock API reference, *InvokeModel*; headers as recorded.
"""

from collections.abc import Mapping

from proxy.converse.exceptions import protocol_fault
from proxy.converse.types import Event, Json

_INPUT_TOKENS = "x-amzn-bedrock-input-token-count"


def native(answer: Json, headers: Mapping[str, str]) -> list[Event]:
    """One event ``native``: ``answer`` as it came, ``inputTokens`` (``None`` if untold).

    ``headers`` by lower-case name. Raises ``ProxyError`` 502 for an answer that is no object.
    """
    if not isinstance(answer, dict):
        raise protocol_fault("a body that is not a JSON object", headers.get("x-amzn-requestid"))
    count = headers.get(_INPUT_TOKENS, "")
    tokens = int(count) if count.isascii() and count.isdigit() and len(count) < 12 else None
    return [("native", {"answer": answer, "inputTokens": tokens})]
