"""All rules of a Converse call in the order the service applies them.

First the shape of the request, then who is asked, then what that model takes. `judge` returns the
call it has let pass; everything else is a `Refusal`.
"""

from __future__ import annotations

from typing import Any

from proxy.simulator.caching import check_cache_points
from proxy.simulator.call import Call
from proxy.simulator.estate import Estate
from proxy.simulator.limits import check_context, check_dials
from proxy.simulator.media import check_media
from proxy.simulator.refusals import invalid
from proxy.simulator.shapes import body_check, label_check
from proxy.simulator.signatures import Ledger
from proxy.simulator.thinking import check_thinking
from proxy.simulator.toolrules import check_output_format, check_tools
from proxy.simulator.turns import check_turns


def judge(
    operation: str, model_id: str, body: dict[str, Any], estate: Estate, ledger: Ledger, scope: str
) -> Call:
    """Check a `Converse` or `ConverseStream` request. `scope`: see `signatures.py`."""
    label_check(operation, "modelId")(model_id)
    body_check(operation)(body)
    target = estate.resolve(model_id)
    if not target.model.chats:
        raise invalid("The provided model doesn't support the Converse operation.")
    call = Call(model_id, target, body, streaming=operation == "ConverseStream")
    check_call(call, ledger, scope)
    return call


def check_call(call: Call, ledger: Ledger, scope: str) -> None:
    """The rules of the family, for a call of any operation."""
    check_turns(call)
    check_tools(call)
    check_dials(call)
    check_media(call)
    check_cache_points(call)
    check_thinking(call, ledger, scope)
    check_output_format(call)
    check_context(call)
