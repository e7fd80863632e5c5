"""The tool calls of a conversation and the results that belong to them.

Bedrock wants every ``toolUse`` answered in the very next user turn, by one ``toolResult`` with an
id that is unique in the request. Clients cut histories, repeat positional ids (``call_0`` in each
turn), answer twice or never. So calls and results are paired first, reading forward only: the
pairing of a prefix never depends on what follows it, except where a result is still missing.

A result belongs to the latest earlier turn that made a call of its id; of two calls with one id in
a turn it takes the first unanswered; of two results for one call the last counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request_checks import check_depth
from proxy.openai.chat.tools import HistoryCall, arguments_to_input, safe_id


@dataclass(slots=True)
class Call:
    """One call of an assistant message. ``result`` is the index of the message that answers it."""

    path: str
    client_id: str
    name: str
    input: dict[str, Json]
    source: Mapping[str, Json]
    id: str = ""
    """Unique in the request, legal at Bedrock."""
    result: int | None = None


@dataclass(slots=True)
class History:
    """``calls`` by the index of their assistant message; ``answers``: all messages that answer one,
    those that a later answer replaced among them."""

    calls: dict[int, list[Call]] = field(default_factory=dict)
    answers: set[int] = field(default_factory=set)

    def all(self) -> Sequence[HistoryCall]:
        return [HistoryCall(call.name, call.input) for turn in self.calls.values() for call in turn]


def read_history(messages: Sequence[Mapping[str, Json]], traits: Traits, notes: Notes) -> History:
    """Pairs calls and results. Raises ``ProxyError`` 400 in strict mode where it must mend."""
    history = History()
    latest: dict[str, list[Call]] = {}
    used: set[str] = set()
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            calls = list(_calls(message, index, notes))
            if calls:
                history.calls[index] = calls
                _name_calls(calls, used, traits)
                latest.update(_by_key(calls))
        elif role in ("tool", "function"):
            _answer(message, index, latest, history, notes)
    return history


def _calls(message: Mapping[str, Json], index: int, notes: Notes) -> Iterator[Call]:
    for ordinal, source in enumerate(message.get("tool_calls") or ()):
        path = f"messages[{index}].tool_calls[{ordinal}]"
        custom = source.get("custom")
        if custom is not None and source.get("type") in (None, "custom"):
            text = {"input": custom.get("input") or ""}
            yield Call(path, source["id"], custom["name"], text, source)
        else:
            inner = source["function"]
            arguments = _input(inner, f"{path}.function.arguments", notes)
            yield Call(path, source["id"], inner["name"], arguments, source)
    legacy = message.get("function_call")
    if legacy is not None:
        path = f"messages[{index}].function_call"
        arguments = _input(legacy, f"{path}.arguments", notes)
        yield Call(path, _legacy_key(legacy["name"]), legacy["name"], arguments, legacy)


def _input(inner: Mapping[str, Json], path: str, notes: Notes) -> dict[str, Json]:
    arguments = arguments_to_input(inner.get("arguments"), path, notes)
    check_depth(arguments, path)
    return arguments


def _legacy_key(name: str) -> str:
    """Deprecated calls have no id; their results name the function."""
    return f"function:{name}"


def _name_calls(calls: list[Call], used: set[str], traits: Traits) -> None:
    for call in calls:
        call.id, turn = safe_id(call.client_id, traits), 1
        while call.id in used:
            turn += 1
            call.id = safe_id(f"{call.client_id} {turn}", traits)
        used.add(call.id)


def _by_key(calls: list[Call]) -> dict[str, list[Call]]:
    grouped: dict[str, list[Call]] = {}
    for call in calls:
        grouped.setdefault(call.client_id, []).append(call)
    return grouped


def _answer(
    message: Mapping[str, Json],
    index: int,
    latest: Mapping[str, list[Call]],
    history: History,
    notes: Notes,
) -> None:
    legacy = message["role"] == "function"
    key = _legacy_key(message["name"]) if legacy else message["tool_call_id"]
    calls = latest.get(key)
    if not calls:
        return
    call = next((call for call in calls if call.result is None), calls[-1])
    if call.result is not None:
        notes.add(
            "tool_results:dropped",
            f"messages[{call.result}]",
            "A tool call has two results; the last one counts.",
        )
    call.result = index
    history.answers.add(index)
