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
    ids = _Ids(traits)
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            calls = list(_calls(message, index, notes))
            if calls:
                history.calls[index] = calls
                for call in calls:
                    call.id = ids.give(call.client_id)
                latest.update(_by_key(calls))
        elif role in ("tool", "function"):
            _answer(message, index, latest, history, notes)
    return history


def row_of(messages: Sequence[Mapping[str, Json]], index: int) -> range:
    """The messages of the turn whose calls stand in the one at ``index``: clients write it as
    several (Codex: calls, text, then the results). Text between two with calls is the second's."""
    first, end = index, index + 1
    while first and _is_text_only(messages[first - 1]):
        first -= 1
    while end < len(messages) and _is_text_only(messages[end]):
        end += 1
    if end < len(messages) and messages[end]["role"] == "assistant":
        end = index + 1
    return range(first, end)


def _is_text_only(message: Mapping[str, Json]) -> bool:
    calling = message.get("tool_calls") or message.get("function_call") is not None
    return message["role"] == "assistant" and not calling


def _calls(message: Mapping[str, Json], index: int, notes: Notes) -> Iterator[Call]:
    for ordinal, source in enumerate(message.get("tool_calls") or ()):
        path = f"messages[{index}].tool_calls[{ordinal}]"
        custom = source.get("custom")
        if custom is not None and source.get("type") in (None, "custom"):
            text = {"input": custom.get("input") or ""}
            yield Call(path, source["id"], custom["name"], text, source)
        else:
            inner = source["function"]
            arguments = arguments_to_input(
                inner.get("arguments"), f"{path}.function.arguments", notes
            )
            yield Call(path, source["id"], inner["name"], arguments, source)
    legacy = message.get("function_call")
    if legacy is not None:
        path = f"messages[{index}].function_call"
        arguments = arguments_to_input(legacy.get("arguments"), f"{path}.arguments", notes)
        yield Call(path, _legacy_key(legacy["name"]), legacy["name"], arguments, legacy)


def _legacy_key(name: str) -> str:
    """Deprecated calls have no id; their results name the function."""
    return f"function:{name}"


class _Ids:
    """Ids for Bedrock: a client's own, made legal; one used before gets its ordinal."""

    def __init__(self, traits: Traits) -> None:
        self._traits = traits
        self._uses: dict[str, int] = {}
        self._given: set[str] = set()

    def give(self, client_id: str) -> str:
        turn = self._uses.get(client_id, 0) + 1
        wanted = client_id if turn == 1 else f"{client_id} {turn}"
        while (id := safe_id(wanted, self._traits)) in self._given:
            turn += 1
            wanted = f"{client_id} {turn}"
        self._uses[client_id] = turn
        self._given.add(id)
        return id


def _by_key(calls: list[Call]) -> dict[str, list[Call]]:
    """Calls by the client's id, the first of twins last."""
    grouped: dict[str, list[Call]] = {}
    for call in reversed(calls):
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
    if calls[-1].result is not None and len(calls) > 1:
        calls.pop()
    call = calls[-1]
    if call.result is not None:
        notes.add(
            "tool_results:dropped",
            f"messages[{call.result}]",
            "A tool call has two results; the last one counts.",
        )
    call.result = index
    history.answers.add(index)
