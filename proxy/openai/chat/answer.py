"""One choice of an answer: what Converse events mean to a chat client, whatever is done with it.

``Answer`` reads events and calls its ``put_…`` methods with what is left for the client: text,
reasoning, calls, annotations, media. ``ChatEncoder`` makes chunks of them, ``ChatCollector`` a
message, so the translation is written once. Kinds of events and members of deltas are looked up in
tables; plain text takes a short path past everything a plan may want done to it.

Errors: ``ProxyError`` 502, for an answer that must not pass for a success: one that Bedrock could
not parse, one that is nothing but withheld calls, one with a part that has no place in this API.
Sources: Bedrock API reference, *ConverseStream*; order, types and padding of events as recorded.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from proxy.converse.exceptions import protocol_fault
from proxy.converse.types import Event, Json, Usage
from proxy.dialect import Keepsake
from proxy.openai.chat.annotations import Citations
from proxy.openai.chat.attachments import Attachment
from proxy.openai.chat.finish import finish_reason, stop_sequence
from proxy.openai.chat.plan import Plan
from proxy.openai.chat.prose import Prose
from proxy.openai.chat.reasoning import pack
from proxy.openai.chat.tags import Piece
from proxy.openai.chat.thoughts import Thoughts
from proxy.openai.chat.tool_names import client_id
from proxy.openai.chat.unfit import MALFORMED, malformed, no_place, only_withheld_calls
from proxy.openai.chat.usage import account

_SKIPPED: Final = -1  # a block the client does not see: a server tool's, or a withheld call
_CONTENT: Final = -2  # the call whose input is the answer's content


class Answer(ABC):
    """The state of one choice. ``completion_id`` is the answer's id as the client sees it.

    ``usage``, ``finish``, ``content`` and ``keepsake`` are as ``proxy.dialect.Encoder`` says.
    """

    def __init__(self, plan: Plan, completion_id: str) -> None:
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.content = False
        self.keepsake: Keepsake | None = None
        self.plan: Final = plan
        self.completion_id: Final = completion_id
        self.call_ids: list[str] = []
        self.thoughts: Final = Thoughts()
        self.fields: Json = None
        self.metadata: Mapping[str, Json] = MappingProxyType({})
        self.stopped: str | None = None
        self._prose: Final = Prose(plan)
        self._length = 0  # characters of content passed on
        self._calls: dict[int, int] = {}  # a block's index to its call's ordinal, or one of above
        self._unfilled: set[int] = set()  # calls that have had no input yet
        self._attachments: dict[int, Attachment] = {}
        self._citations: Final = Citations()
        self._entries: Counter[str] = Counter()
        self._withheld = False
        self._answered = False  # the tool whose input is the content was called
        self._waiting: list[Event] = []

    @abstractmethod
    def put_text(self, texts: Sequence[str]) -> None:
        """One delta of text or more, as they came."""

    @abstractmethod
    def put_reasoning(self, text: str) -> None: ...
    @abstractmethod
    def put_call(self, ordinal: int, id: str, name: str) -> None: ...
    @abstractmethod
    def put_arguments(self, ordinal: int, fragment: str) -> None: ...
    @abstractmethod
    def put_entry(self, field: str, entry: Mapping[str, Json]) -> None:
        """An entry (its ``index`` in it) of the list-valued ``field``."""

    @abstractmethod
    def put_audio(self, attachment: Attachment) -> None: ...
    @abstractmethod
    def put_finish(self) -> None:
        """``finish``, ``stopped`` and ``fields`` are known."""

    @abstractmethod
    def put_metadata(self) -> None:
        """``usage`` and ``metadata`` are known; the answer is complete."""

    def take(self, events: Sequence[Event]) -> None:
        """Read these events. Raises ``ProxyError``; what came before has then been put."""
        kind = ""
        texts: list[str] = []  # of deltas in a row, nearly all there is
        try:
            for kind, body in events:
                if kind == "contentBlockDelta" and self._prose.idle and not self._waiting:
                    text = body["delta"].get("text")
                    if text and type(text) is str:
                        self._length += len(text)
                        self.content = True
                        texts.append(text)
                        continue
                if texts:
                    self.put_text(texts)
                    texts = []
                if self._waiting:
                    self._take_later(kind, body)
                    continue
                reader = _EVENTS.get(kind)  # event kinds of a later service version are skipped
                if reader is not None:
                    reader(self, body)
        except (KeyError, TypeError, AttributeError, ValueError) as fault:
            raise protocol_fault(f"a {kind} event of an unknown shape") from fault
        finally:
            if texts:
                self.put_text(texts)

    def call_word(self) -> str | None:
        """The finish reason that says a tool was called; ``None`` if the client saw no call."""
        if not self.call_ids:
            return None
        return "function_call" if self.plan.legacy_functions else "tool_calls"

    def release(self) -> None:
        """Pass on what waits for an answer that can no longer be asked for again."""
        self._pass(self._prose.release())

    # Order

    def _take_later(self, kind: str, body: dict[str, Json]) -> None:
        """A call has to wait until the reasoning in front of it is closed (and signed).

        Bedrock's blocks never interleave (recorded without exception); this holds if they ever do.
        """
        if kind in {"messageStop", "metadata"}:
            while self._waiting:
                self._resume()
            self.take(((kind, body),))
        elif body.get("contentBlockIndex") == self.thoughts.open:
            _EVENTS[kind](self, body)
            if self.thoughts.open is None:
                self._resume()
        else:
            self._waiting.append((kind, body))

    def _resume(self) -> None:
        self.thoughts.close()
        waiting, self._waiting = self._waiting, []
        self.take(waiting)

    # Blocks

    def _block_start_event(self, body: Mapping[str, Json]) -> None:
        index = body["contentBlockIndex"]
        for member, start in body["start"].items():
            if member == "toolUse":
                if self.thoughts.open is None:
                    self._start_call(index, start)
                else:
                    self._waiting.append(("contentBlockStart", dict(body)))
            elif member in _ATTACHED:
                self._attachments[index] = Attachment(member, start.get("format") or "")
            elif (reader := _DELTAS.get(member)) is None:
                raise no_place(member)
            elif start:  # redacted reasoning, as other gateways meet it
                reader(self, index, start)

    def _delta_event(self, body: Mapping[str, Json]) -> None:
        index = body["contentBlockIndex"]
        for member, value in body["delta"].items():
            reader = _DELTAS.get(member)
            if reader is None:
                raise no_place(member)
            reader(self, index, value)

    def _block_stop_event(self, body: Mapping[str, Json]) -> None:
        index = body["contentBlockIndex"]
        if index == self.thoughts.open:
            self.thoughts.close()
        elif index in self._calls:
            self._close_call(self._calls[index])
        elif index in self._attachments:
            self._close_attachment(self._attachments.pop(index))
        else:
            self._close_text()

    def _close_text(self) -> None:
        """A text or citation block is over; offsets of its citations are known now."""
        self._pass(self._prose.end_block())
        end = self._length + self._prose.held
        for field, entry in self._citations.close_block(end):
            self._put_entry(field, entry)

    def _close_attachment(self, attachment: Attachment) -> None:
        if not self._text_is_out():
            return
        self.content = True
        if attachment.kind == "audio":
            self._entries["audio"] += 1
            self.put_audio(attachment)
        else:
            self._put_entry("images", attachment.image())

    def _put_entry(self, field: str, entry: Mapping[str, Json]) -> None:
        self.put_entry(field, {"index": self._entries[field], **entry})
        self._entries[field] += 1

    # Text and reasoning

    def _text_delta(self, _index: int, text: str) -> None:
        if text:
            self._pass(self._prose.feed(text))

    def _reasoning_delta(self, index: int, delta: Mapping[str, Json]) -> None:
        if index != self.thoughts.open:
            self.thoughts.begin(index, self._length + self._prose.held, len(self.call_ids))
        for member, value in delta.items():
            if value:
                self.thoughts.add(member, value)
        text = delta.get("text")
        if not text:
            return
        if self._prose.idle_thoughts and not self.plan.hide_reasoning:
            self.content = True
            self.put_reasoning(text)
        else:
            self._pass(self._prose.think(text))

    def _citation_delta(self, _index: int, citation: Mapping[str, Json]) -> None:
        if self._prose.stopped is None:
            self._citations.add(citation)

    def _attachment_delta(self, index: int, delta: Mapping[str, Json]) -> None:
        self._attachments[index].add(delta)

    def _pass(self, pieces: Sequence[Piece]) -> None:
        for thought, text in pieces:
            if thought:
                if not self.plan.hide_reasoning:
                    self.content = True
                    self.put_reasoning(text)
            else:
                self._length += len(text)
                self.content = True
                self.put_text((text,))

    def _text_is_out(self) -> bool:
        """Pass on all text that came so far. ``False``: the answer ended in it."""
        self._pass(self._prose.flush())
        return self._prose.stopped is None

    # Calls

    def _start_call(self, index: int, use: Mapping[str, Json]) -> None:
        """Which of four things a call is: the answer's content, the client's, withheld, or none of
        its business. ``type`` is judged by its value: ordinary calls carry ``tool_use``."""
        plan, name, given_id = self.plan, _text(use["name"]), _text(use["toolUseId"])
        self._calls[index] = _SKIPPED
        if use.get("type") == "server_tool_use" or self._prose.stopped or self._answered:
            return
        if name == plan.json_tool:
            # After a client's call the turn is not the last one: the answer will come again.
            if not self.call_ids:
                self._calls[index] = _CONTENT
                self._unfilled.add(_CONTENT)
                self._answered = True
            return
        if plan.offered is not None and name not in plan.offered:
            self._withheld = True
            return
        if self.call_ids and (plan.one_call or plan.legacy_functions):
            return
        if not self._text_is_out():
            return
        ordinal = len(self.call_ids)
        self._calls[index] = ordinal
        self._unfilled.add(ordinal)
        self.call_ids.append(client_id(given_id))
        self.content = True
        client_name = plan.tool_names.get(name, name)
        self.thoughts.called(self.call_ids[-1], client_name)
        self.put_call(ordinal, self.call_ids[-1], client_name)

    def _input_delta(self, index: int, delta: Mapping[str, Json]) -> None:
        fragment = delta["input"]
        ordinal = self._calls[index]
        if not fragment or ordinal == _SKIPPED:
            return
        self._unfilled.discard(ordinal)
        if ordinal == _CONTENT:
            self._pass(self._prose.answer(fragment))
        else:
            self.thoughts.argued(ordinal, fragment)
            self.put_arguments(ordinal, fragment)

    def _close_call(self, ordinal: int) -> None:
        """A call without any input has an empty object for it, or clients fail to parse it."""
        if ordinal in self._unfilled:
            self._unfilled.discard(ordinal)
            if ordinal == _CONTENT:
                self._pass(self._prose.answer("{}"))
            else:
                self.put_arguments(ordinal, "{}")

    # The end

    def _message_stop_event(self, body: Mapping[str, Json]) -> None:
        reason = _text(body["stopReason"])
        self.fields = body.get("additionalModelResponseFields")
        if reason in MALFORMED and self._prose.stopped is None:
            raise malformed(reason)
        self._close_open_blocks()
        said = self._prose.said or self.call_ids or self._answered or self._entries
        if self._withheld and not said:
            raise only_withheld_calls()
        self._pass(self._prose.flush())
        self._own_up(reason)
        self._put_thoughts()
        self.stopped = self._prose.stopped or stop_sequence(self.fields)
        called = self.call_word()
        emulated = self._prose.stopped is not None
        self.finish = (called or "stop") if emulated else finish_reason(reason, called)
        self.put_finish()

    def _close_open_blocks(self) -> None:
        self.thoughts.close()
        for ordinal in sorted(self._unfilled):
            self._close_call(ordinal)
        for index in sorted(self._attachments):
            self._close_attachment(self._attachments.pop(index))
        self._close_text()

    def _own_up(self, reason: str) -> None:
        """A tag that was never closed, with nothing after it in a finished answer, was no tag:
        what followed is the answer (recorded: Kimi K2 Thinking)."""
        text = self._prose.unclosed
        if text and not self._prose.said and not self.call_ids and reason == "end_turn":
            self._pass((Piece(False, text),))

    def _put_thoughts(self) -> None:
        """What replay needs, as the one entry that every client version seen returns intact."""
        if self.thoughts.blocks and self._prose.stopped is None:
            plan, legacy = self.plan, self.plan.legacy_functions
            owner = self.call_ids[0] if self.call_ids and not legacy else self.completion_id
            packed = pack(self.thoughts.blocks, plan.family, self.thoughts.places, self._length)
            self.keepsake = None if legacy else self.thoughts.keepsake(packed)
            if plan.reasoning_as == "thinking_blocks" and not plan.hide_reasoning:
                for block in self.thoughts.plainly():
                    self._put_entry("thinking_blocks", block)
                return
            entry = {"type": "reasoning.encrypted", "id": owner, "data": packed}
            self._put_entry("reasoning_details", entry)

    def _metadata_event(self, body: Mapping[str, Json]) -> None:
        self.metadata = body
        self.usage = account(body.get("usage"), self.fields, body.get("serviceTier"))
        self.put_metadata()


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _server_result(_answer: Answer, _index: int, _value: Json) -> None:
    """What a server tool found: the model has it, the client has not asked."""


def _message_start(_answer: Answer, _body: Mapping[str, Json]) -> None:
    """Nothing yet: the role goes out with the first thing there is to say, so that an answer which
    fails before it can still be asked for again."""


_ATTACHED: Final = frozenset({"image", "audio"})  # audio: only whole answers have it, replayed

_EVENTS: Final[Mapping[str, Callable[[Answer, Mapping[str, Json]], None]]] = MappingProxyType(
    {
        "messageStart": _message_start,
        "contentBlockStart": Answer._block_start_event,
        "contentBlockDelta": Answer._delta_event,
        "contentBlockStop": Answer._block_stop_event,
        "messageStop": Answer._message_stop_event,
        "metadata": Answer._metadata_event,
    }
)

_DELTAS: Final[Mapping[str, Callable[[Answer, int, Json], None]]] = MappingProxyType(
    {
        "text": Answer._text_delta,
        "toolUse": Answer._input_delta,
        "reasoningContent": Answer._reasoning_delta,
        "citation": Answer._citation_delta,
        "image": Answer._attachment_delta,
        "audio": Answer._attachment_delta,
        "toolResult": _server_result,
    }
)
