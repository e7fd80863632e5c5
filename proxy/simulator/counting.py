"""CountTokens: which models count, and how much a request would cost.

Only bare Claude ids count (a geo-prefixed one answers 400, recorded), and only those of the
generations that had the operation when it was last recorded. The count is the estimate that usage
is made from, so that both agree.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from proxy.simulator.call import Call, estimate_tokens
from proxy.simulator.estate import Estate
from proxy.simulator.judge import check_call
from proxy.simulator.refusals import invalid
from proxy.simulator.shapes import body_check
from proxy.simulator.signatures import Ledger

_COUNTING = ("claude-3", "claude-3.7", "claude-4", "claude-4.1", "claude-4.5")
_NATIVE_TOOLS = (
    "bash_20250124",
    "custom",
    "text_editor_20250124",
    "text_editor_20250429",
    "text_editor_20250728",
)


def count_tokens(
    model_id: str, body: dict[str, Any], estate: Estate, ledger: Ledger, scope: str
) -> dict[str, int]:
    """The answer of CountTokens. Raises `Refusal`."""
    body_check("CountTokens")(body)
    target = estate.resolve(model_id, bare=True)
    if target.by_profile or target.family.name not in _COUNTING:
        raise invalid("The provided model doesn't support counting tokens.")
    converse = body["input"].get("converse")
    if converse is None:
        return {"inputTokens": _count_native(body["input"]["invokeModel"]["body"])}
    call = Call(model_id, target, converse)
    check_call(call, ledger, scope)
    return {"inputTokens": call.input_tokens}


def _count_native(encoded: str) -> int:
    try:
        native = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        raise invalid(
            "Malformed input request, please reformat your input and try again."
        ) from None
    for at, tool in enumerate(native.get("tools") or []):
        kind = tool.get("type", "custom")
        if kind not in _NATIVE_TOOLS:
            expected = ", ".join(f"'{name}'" for name in _NATIVE_TOOLS)
            raise invalid(
                f"tools.{at}: Input tag '{kind}' found using 'type' does not match any of the "
                f"expected tags: {expected}"
            )
    return estimate_tokens(native)
