"""Messages as the turns of a Converse request: legal for the family, in order, byte-stable.

Reading forward, each message adds blocks to a turn of its role; neighbours of one role share a
turn. The results of an assistant's calls follow it at once, in the order of the calls, wherever the
client put them; what it sent as several messages before the results is one turn, text before calls.
What a family cannot take is recast in place, never dropped: system text in mid-conversation, an
assistant turn first, a final assistant turn, results beside other content, tool history where there
are no tools.

The same messages give the same bytes, and a longer conversation begins with those of the shorter
one, so that prompt caches hit. That is why blank and missing things are filled where they stand
and not by what follows. Sources: *Message* in the Converse reference; the rules of the system role
in mid-conversation are Anthropic's (after a user turn, before an assistant turn or last).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from proxy.converse.types import Json, Message
from proxy.frozen import frozen
from proxy.openai.chat.caching import cache_mark
from proxy.openai.chat.history import Call, History, read_history, row_of
from proxy.openai.chat.media_parts import Block, Intake
from proxy.openai.chat.parts import (
    assistant_blocks,
    closing_mark,
    result_blocks,
    system_blocks,
    user_blocks,
)
from proxy.openai.chat.reasoning_replay import has_reasoning, replay
from proxy.openai.chat.replay_order import Replay
from proxy.openai.chat.tools import ToolNames

__all__ = ["Frame", "History", "Turns", "build_turns", "read_history"]

FILLER: Final = "."
"""The text of a turn that must exist and would be empty."""
CONTINUE: Final = "Continue."
"""A user turn that must exist and should make the model go on."""
_REASONING_LOST: Final = "replayed_reasoning:dropped"
"""Noted but never refused, even in strict mode: clients send back whatever they were shown."""
NO_RESULT: Final = "No result was recorded for this tool call."
_SYSTEM_ROLES: Final = ("system", "developer")
_LOOP_ROLES: Final = ("assistant", "tool", "function")


@frozen
class Frame:
    """What translating the turns needs to know of the rest of the request."""

    names: ToolNames
    flat: bool = False
    """Tool history is rendered as text: the request will carry no ``toolConfig``."""
    prefill: bool = True
    """A final assistant turn may stay last."""
    hints: Sequence[str] = ()
    """Text of our own for the end of the system prompt."""


@dataclass(slots=True)
class Turns:
    """``anchors``: (turn, number of blocks) where each client message on the user's side ends."""

    system: list[Block] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    anchors: list[tuple[int, int]] = field(default_factory=list)


def build_turns(
    messages: Sequence[Mapping[str, Json]], history: History, frame: Frame, intake: Intake
) -> Turns:
    """The whole conversation. Raises ``ProxyError`` 400 naming the part that cannot be mapped."""
    walk = _Walk(messages, history, frame, intake)
    leading = 0
    while leading < len(messages) and messages[leading]["role"] in _SYSTEM_ROLES:
        leading += 1
    walk.open(leading)
    for index in range(leading, len(messages)):
        walk.read(index)
    walk.close()
    return walk.turns


class _Walk:
    def __init__(
        self,
        messages: Sequence[Mapping[str, Json]],
        history: History,
        frame: Frame,
        intake: Intake,
    ) -> None:
        self.turns = Turns()
        self._messages = messages
        self._history = history
        self._frame = frame
        self._intake = intake
        self._traits = intake.traits
        self._notes = intake.notes
        self._rows = _rows(messages, history)
        self._joined = {each for index, row in self._rows.items() for each in row if each != index}
        self._held: list[Block] = []
        self._results = False

    # The three stretches of a conversation

    def open(self, leading: int) -> None:
        """Leading system messages, then our own hints."""
        blocks: list[Block] = []
        for index in range(leading):
            self._unname(self._messages[index], f"messages[{index}]")
            blocks += system_blocks(self._messages[index], f"messages[{index}]", self._intake)
        blocks += [{"text": hint} for hint in self._frame.hints]
        if self._traits.system:
            self.turns.system = blocks
        elif blocks:
            if leading:
                self._notes.add(
                    "system:moved", "messages[0]", "This model does not support a system prompt."
                )
            self._add("user", blocks)

    def read(self, index: int) -> None:
        message, at = self._messages[index], f"messages[{index}]"
        match message["role"]:
            case "assistant":
                if index not in self._joined:
                    self._assistant(message, index, at)
            case "user":
                self._user(message, at)
            case "tool" | "function":
                if index not in self._history.answers:
                    self._orphan(message, at)
                elif self._messages[index - 1]["role"] not in _LOOP_ROLES:
                    self._notes.tell("tool_results:moved")
            case _:
                self._system(message, at)

    def close(self) -> None:
        self._release()
        messages = self.turns.messages
        if messages and messages[-1]["role"] == "assistant":
            self._prefill()
        if not messages:
            self._notes.add(
                "user_message:added", "messages", "Bedrock requires at least one user message."
            )
            self._add("user", [{"text": CONTINUE}])

    # One message each

    def _user(self, message: Mapping[str, Json], at: str) -> None:
        self._unname(message, at)
        blocks = user_blocks(message, at, self._intake)
        if not blocks:
            if self._last() == "user":
                return
            self._notes.tell("blank_text:emulated")
            blocks = [{"text": FILLER}]
        if self._held:
            self._notes.tell("system:moved")
        self._add("user", blocks)
        self._anchor()

    def _unname(self, message: Mapping[str, Json], at: str) -> None:
        if message.get("name"):
            self._notes.add("name:dropped", f"{at}.name", "Converse has no field for names.")

    def _system(self, message: Mapping[str, Json], at: str) -> None:
        self._unname(message, at)
        blocks = system_blocks(message, at, self._intake)
        if blocks and self._traits.mid_system:
            self._held += blocks
        elif blocks:
            self._notes.add(
                "system:moved",
                at,
                "This model does not support a system message within the conversation.",
            )
            self._add("user", _as_user(blocks))
            self._anchor()

    def _assistant(self, message: Mapping[str, Json], index: int, at: str) -> None:
        calls = self._history.calls.get(index, ())
        row = self._rows.get(index, (index,))
        said = [block for each in row for block in self._spoken(each, marked=each != index)]
        for call in calls:
            said += self._call(call)
        if not said:
            self._notes.tell("assistant_message:dropped")
            return
        blocks = self._thought(row, flat=self._frame.flat and bool(calls)).among(said)
        self._release()
        if not self.turns.messages and not self._traits.leading_assistant:
            self._notes.add(
                "user_message:added",
                at,
                "This model needs a user message before an assistant message.",
            )
            self._add("user", [{"text": FILLER}])
        self._say(blocks + closing_mark(message, at, blocks))
        if calls:
            self._answer(calls)

    def _say(self, blocks: list[Block]) -> None:
        """An assistant's turn; two, where the family takes no words beside its calls."""
        calls = next((at for at, block in enumerate(blocks) if "toolUse" in block), len(blocks))
        if not self._traits.results_alone or calls == len(blocks):
            self._add("assistant", blocks)
            return
        if calls:
            self._add("assistant", blocks[:calls])
        if self._last() == "assistant":
            self._notes.tell("user_message:added")
            self._add("user", [{"text": FILLER}])
        self._add("assistant", blocks[calls:])

    def _spoken(self, index: int, *, marked: bool) -> list[Block]:
        """The text of one message; the mark of the one with the calls stands behind those."""
        message, at = self._messages[index], f"messages[{index}]"
        self._unname(message, at)
        blocks = assistant_blocks(message, at, self._intake)
        return blocks + closing_mark(message, at, blocks) if marked else blocks

    def _thought(self, row: Sequence[int], *, flat: bool) -> Replay:
        """The reasoning of a turn, whichever of its messages carried it."""
        for index in () if flat else row:
            told = replay(self._messages[index], self._traits)
            if told.blocks:
                return told
        if any(has_reasoning(self._messages[index]) for index in row):
            self._notes.tell(_REASONING_LOST)
        return Replay()

    def _call(self, call: Call) -> list[Block]:
        if self._frame.flat:
            arguments = orjson.dumps(call.input).decode()
            return [{"text": f"[Called {call.name} with {arguments}]"}]
        name = self._frame.names.to_bedrock(call.name)
        block = {"toolUse": {"toolUseId": call.id, "name": name, "input": call.input}}
        mark = cache_mark(call.source, call.path)
        return [block] if mark is None else [block, mark]

    def _answer(self, calls: Sequence[Call]) -> None:
        """The user turn that answers an assistant's calls, with what moves out of it behind."""
        blocks: list[Block] = []
        moved: list[Block] = []
        for call in calls:
            blocks += self._result(call, moved)
        self._add("user", blocks)
        self._results = not self._frame.flat
        if moved:
            self._add("user", moved)
        self._anchor()

    def _result(self, call: Call, moved: list[Block]) -> list[Block]:
        content, mark, failed = [{"text": NO_RESULT}], None, True
        if call.result is None:
            self._notes.add(
                "tool_results:added", call.path, "No message has the result of this tool call."
            )
        else:
            message, at = self._messages[call.result], f"messages[{call.result}]"
            content, media, mark = result_blocks(message, at, self._intake)
            moved += media
            failed = message.get("is_error") is True or message.get("status") == "error"
        closing = [] if mark is None else [mark]
        if self._frame.flat:
            return [{"text": f"[Result of {call.name}]"}, *content, *closing]
        result: Block = {"toolUseId": call.id, "content": content}
        if failed and self._traits.result_status:
            result["status"] = "error"
        elif failed and call.result is not None:
            path = f"messages[{call.result}]"
            why = "This model does not accept an error status on a tool result."
            self._notes.add("tool_results.status:dropped", path, why)
        return [{"toolResult": result}, *closing]

    def _orphan(self, message: Mapping[str, Json], at: str) -> None:
        self._notes.add("tool_results:moved", at, "This result belongs to no preceding tool call.")
        content, media, mark = result_blocks(message, at, self._intake)
        name = message.get("tool_call_id") or message.get("name")
        head: Block = {"text": f"[Result of an earlier tool call, {name}]"}
        self._add("user", [head, *content, *media, *([mark] if mark else [])])
        self._anchor()

    # Turns

    def _last(self) -> str:
        return self.turns.messages[-1]["role"] if self.turns.messages else ""

    def _add(self, role: str, blocks: list[Block]) -> None:
        messages = self.turns.messages
        if self._results and role == "user" and self._traits.results_alone:
            self._notes.tell("assistant_message:added")
            messages.append({"role": "assistant", "content": [{"text": FILLER}]})
        self._results = False
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})

    def _anchor(self) -> None:
        messages = self.turns.messages
        self.turns.anchors.append((len(messages) - 1, len(messages[-1]["content"])))

    def _release(self) -> None:
        """Held system text goes where Claude takes it: between a user's and an assistant's turn."""
        if not self._held:
            return
        blocks, self._held = self._held, []
        if self._last() == "user":
            self.turns.messages.append({"role": "system", "content": blocks})
            self._results = False
        else:
            self._notes.add(
                "system:moved", "messages", "A system message cannot follow an assistant message."
            )
            self._add("user", _as_user(blocks))
            self._anchor()

    def _prefill(self) -> None:
        content = self.turns.messages[-1]["content"]
        if not (self._traits.prefill and self._frame.prefill):
            self._notes.add(
                "prefill:emulated",
                f"messages[{len(self._messages) - 1}]",
                "This model (or the reasoning or schema wanted) takes no assistant message last.",
            )
            self._add("user", [{"text": CONTINUE}])
            return
        if self._traits.signed_reasoning and any("reasoningContent" in block for block in content):
            # Thinking is off, or there were no prefill: then Anthropic refuses such blocks here.
            content[:] = [block for block in content if "reasoningContent" not in block]
            self._notes.tell(_REASONING_LOST)
        for block in reversed(content):
            if "text" in block:
                stripped = block["text"].rstrip()
                if stripped != block["text"]:
                    block["text"] = stripped
                    self._notes.tell("prefill:clamped")
                return


def _rows(messages: Sequence[Mapping[str, Json]], history: History) -> dict[int, range]:
    """The answered turns that a client wrote as several messages, by the one with the calls."""
    rows = {}
    for index, calls in history.calls.items():
        row = row_of(messages, index)
        if len(row) > 1 and any(call.result is not None for call in calls):
            rows[index] = row
    return rows


def _as_user(blocks: list[Block]) -> list[Block]:
    """System text in a user turn, marked as what it is."""
    return [
        {"text": f"<system>\n{block['text']}\n</system>"} if "text" in block else block
        for block in blocks
    ]
