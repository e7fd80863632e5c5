"""Converse events to chat chunks, or to one completion.

``ChatEncoder`` and ``ChatCollector`` put down what ``Answer`` finds in the events: the one as
chunks at once, the other as a message at the end. Their outcomes agree: a client's own fold of the
chunks is the collected message. Order within a choice: role, then content as it comes, the packed
reasoning, the finish chunk; after all choices the usage chunk and ``[DONE]``.

The finish chunk goes out at ``messageStop``, since clients wait for it; only where something has
to stand on it that Bedrock tells later (usage, trace, tier) it waits for ``metadata``.

Errors: ``ProxyError``, as ``answer.py`` says. Source: OpenAI API reference, *Chat completions*.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from proxy import sse
from proxy.converse.exceptions import protocol_fault
from proxy.converse.types import Event, Json, Usage
from proxy.dialect import Collector, Stamp, Translation
from proxy.openai.chat.answer import Answer
from proxy.openai.chat.attachments import Attachment
from proxy.openai.chat.chunks import COMPLETION, HOLE, Frame, Slot, usage_chunk
from proxy.openai.chat.extras import extras
from proxy.openai.chat.plan import Plan
from proxy.openai.chat.shown_thoughts import TAG_CLOSED, TAG_OPEN
from proxy.openai.chat.usage import service_tier, usage_object
from proxy.openai.lines import dumps

_FENCE: Final = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n(.*?)\r?\n?```", re.DOTALL)


class ChatEncoder(Answer):
    """``proxy.dialect.Encoder``: the chunks of one choice."""

    # Over 30 attributes an object no longer shares the layout of its dict: 1.3 KB a stream.
    __slots__ = (
        "_arguments", "_begun", "_choices", "_finish_waits", "_finished", "_frame", "_out",
        "_price", "_reasoning", "_role_due", "_stamp", "_tagged", "_tagging", "_text",
        "_usage_on_finish",
    )  # fmt: skip

    def __init__(self, translation: Translation, stamp: Stamp, index: int) -> None:
        plan: Plan = translation.plan
        super().__init__(plan, COMPLETION + stamp.id)
        self._stamp: Final = stamp
        self._frame: Final = Frame(stamp, index, plan.include_usage)
        self._text: Final = self._frame.text()
        self._reasoning: Slot | None = None
        self._tagging: Final = plan.reasoning_as == "tags"
        self._tagged = False  # text is between think tags
        self._arguments: list[Slot] = []
        self._price: Final = translation.price
        self._usage_on_finish: Final = plan.usage_on_finish and not plan.include_usage
        self._finish_waits: Final = (
            self._usage_on_finish or plan.show_trace or "serviceTier" in translation.body
        )
        self._out: list[bytes] = []
        # The official SDK's fold takes the order in which choices first appear for their indexes:
        # the first choice speaks the roles of all, before any other says a word.
        self._role_due = index == 0
        self._begun = index > 0  # nothing is owed to whatever comes next
        self._choices: Final = translation.choices
        self._finished = False

    def encode(self, events: Sequence[Event]) -> bytes:
        if not self._begun and self._choices > 1:
            self._begin()
        self.take(events)
        return self.pending()

    def pending(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    def finish_stream(self) -> bytes:
        """Raises ``ProxyError`` if the answer never came to its end."""
        if self.finish is None:
            raise protocol_fault("a message that never stopped")
        if not self._finished:
            self._put_finish_chunk()
        return self.pending()

    def heartbeat(self) -> bytes:
        if self._finished:
            return sse.PING  # nothing may follow the finish chunk
        if self._begun or self._tagged:
            self._out.append(self._frame.delta({}))
        else:
            self._begin()
        self.release()  # the first byte is out: nothing waits for another try any more
        return self.pending()

    def put_text(self, texts: Sequence[str]) -> None:
        if not self._begun:
            self._begin()
        self._text.fill(texts, self._out)

    def put_reasoning(self, text: str) -> None:
        if self._tagging:
            self._put_tagged(text)
            return
        if not self._begun:
            self._begin()
        if self._reasoning is None:
            self._reasoning = self._frame.slot({reasoning_field(self.plan): HOLE})
        self._reasoning.fill((text,), self._out)

    def _put_tagged(self, text: str) -> None:
        """Reasoning in the text. The closing tag is owed to whatever comes next."""
        if not self._tagged:
            self._begin()
            text = TAG_OPEN + text
            self._tagged, self._begun = True, False
        self._text.fill((text,), self._out)

    def put_call(self, ordinal: int, id: str, name: str) -> None:
        self._begin()
        function = {"name": name, "arguments": ""}
        if self.plan.legacy_functions:
            self._out.append(self._frame.delta({"function_call": function}))
            slot = self._frame.slot({"function_call": {"arguments": HOLE}})
        else:
            # Free-text tools too: a chunk's calls know no other type, and the official SDK's fold
            # fails on one. Their text is the member ``input`` of the arguments.
            call = {"index": ordinal, "id": id, "type": "function", "function": function}
            self._out.append(self._frame.delta({"tool_calls": [call]}))
            slot = self._frame.slot(
                {"tool_calls": [{"index": ordinal, "function": {"arguments": HOLE}}]}
            )
        self._arguments.append(slot)

    def put_arguments(self, ordinal: int, fragment: str) -> None:
        self._arguments[ordinal].fill((fragment,), self._out)

    def put_entry(self, field: str, entry: Mapping[str, Json]) -> None:
        self._begin()
        self._out.append(self._frame.delta({field: [entry]}))

    def put_audio(self, attachment: Attachment) -> None:
        self._begin()
        audio = attachment.audio(self.completion_id, self._stamp.created)
        self._out.append(self._frame.delta({"audio": audio}))

    def put_finish(self) -> None:
        if not self._finish_waits:
            self._put_finish_chunk()

    def put_metadata(self) -> None:
        if not self._finished and self.finish is not None:
            self._put_finish_chunk()

    def _begin(self) -> None:
        """What is owed to what comes next: the role, exactly once; a closing tag."""
        if self._begun:
            return
        self._begun = True
        if self._role_due:
            self._role_due = False
            role = {"role": "assistant", "content": ""}
            self._out.append(self._frame.delta(role))
            for other in range(1, self._choices):
                frame = Frame(self._stamp, other, self.plan.include_usage)
                self._out.append(frame.delta(role))
        if self._tagged:
            self._tagged = False
            self._text.fill((TAG_CLOSED,), self._out)

    def _put_finish_chunk(self) -> None:
        self._finished = True
        self._begin()
        self._out.append(
            self._frame.finish(
                self.finish or "",
                choice_extras(self),
                service_tier((self.usage if self._finish_waits else None,), self.plan.tier),
                usage_object((self.usage,), self._price) if self._usage_on_finish else None,
            )
        )


class ChatCollector(Answer):
    """``proxy.dialect.Collector``: one choice, whole."""

    # As above: with them it has 30 attributes, and each of them is looked up the slow way.
    __slots__ = (
        "_audio", "_calls_made", "_created", "_lists", "_reasoning", "_tagged", "_text", "index",
    )  # fmt: skip

    def __init__(self, translation: Translation, stamp: Stamp, index: int) -> None:
        super().__init__(translation.plan, COMPLETION + stamp.id)
        self.index: Final = index
        self._created: Final = stamp.created
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls_made: list[tuple[str, str, list[str]]] = []
        self._lists: dict[str, list[Mapping[str, Json]]] = {"annotations": []}
        self._audio: dict[str, Json] | None = None
        self._tagged = False
        self._shown = False  # reasoning went into the text

    def add(self, events: Sequence[Event]) -> None:
        self.take(events)

    def choice(self) -> dict[str, Json]:
        """The entry of ``choices``. Raises ``ProxyError`` if the answer never came to its end."""
        if self.finish is None:
            raise protocol_fault("a message that never stopped")
        try:
            message = self._message()
        except TypeError as fault:  # noticed only here, where what came is joined
            raise protocol_fault("a fragment that is not text") from fault
        return {
            "index": self.index,
            "message": message,
            "logprobs": None,
            "finish_reason": self.finish,
            **choice_extras(self),
        }

    def put_text(self, texts: Sequence[str]) -> None:
        if self._tagged:
            self._close_tag()
        self._text += texts

    def put_reasoning(self, text: str) -> None:
        if self.plan.reasoning_as != "tags":
            self._reasoning.append(text)
            return
        if not self._tagged:
            self._tagged = self._shown = True
            self._text.append(TAG_OPEN)
        self._text.append(text)

    def _close_tag(self) -> None:
        if self._tagged:
            self._tagged = False
            self._text.append(TAG_CLOSED)

    def put_call(self, ordinal: int, id: str, name: str) -> None:
        self._close_tag()
        self._calls_made.append((id, name, []))

    def put_arguments(self, ordinal: int, fragment: str) -> None:
        self._calls_made[ordinal][2].append(fragment)

    def put_entry(self, field: str, entry: Mapping[str, Json]) -> None:
        self._close_tag()
        self._lists.setdefault(field, []).append(entry)

    def put_audio(self, attachment: Attachment) -> None:
        self._close_tag()
        self._audio = attachment.audio(self.completion_id, self._created)

    def put_finish(self) -> None:
        self._close_tag()

    def put_metadata(self) -> None:
        pass

    def _message(self) -> dict[str, Json]:
        text = "".join(self._text)
        if self.plan.json_mode == "prompt":
            text = _unfenced(text)
        silent = not text and (self._calls_made or self._audio)
        message: dict[str, Json] = {
            "role": "assistant",
            "content": None if silent else text,
            "refusal": None,
        }
        if self._reasoning:
            message[reasoning_field(self.plan)] = "".join(self._reasoning)
        elif self._shown:
            message["reasoning_content"] = None  # as bedrock-access-gateway has it: clients read it
        message.update(self._lists)
        if self._audio is not None:
            message["audio"] = self._audio
        if self._calls_made:
            calls = [self._call(*call) for call in self._calls_made]
            if self.plan.legacy_functions:
                message["function_call"] = calls[0]["function"]
            else:
                message["tool_calls"] = calls
        return message

    def _call(self, id: str, name: str, fragments: Sequence[str]) -> dict[str, Json]:
        arguments = "".join(fragments)
        if name in self.plan.custom_tools:
            custom = {"name": name, "input": _free_text(arguments)}
            return {"id": id, "type": "custom", "custom": custom}
        function = {"name": name, "arguments": arguments}
        return {"id": id, "type": "function", "function": function}


def reasoning_field(plan: Plan) -> str:
    return "reasoning" if plan.reasoning_as == "reasoning" else "reasoning_content"


def choice_extras(answer: Answer) -> dict[str, Json]:
    """What a finished choice carries beyond OpenAI's members, if anything."""
    found = extras(answer.plan, answer.fields, answer.metadata)
    return {**({"stop_sequence": answer.stopped} if answer.stopped is not None else {}), **found}


def end(translation: Translation, stamp: Stamp, usages: Sequence[Usage | None]) -> bytes:
    """The usage chunk, if it was asked for and any call gave counts, and the end mark."""
    asked = translation.plan.include_usage
    usage = usage_object(usages, translation.price) if asked else None
    if usage is None:
        return sse.DONE
    return usage_chunk(stamp, usage, service_tier(usages, translation.plan.tier)) + sse.DONE


def render(translation: Translation, stamp: Stamp, collectors: Sequence[Collector]) -> bytes:
    """The ``chat.completion`` object of all choices."""
    usages = [collector.usage for collector in collectors]
    choices = [c.choice() for c in collectors if isinstance(c, ChatCollector)]
    return dumps(
        {
            "id": COMPLETION + stamp.id,
            "object": "chat.completion",
            "created": stamp.created,
            "model": stamp.model,
            "choices": choices,
            "usage": usage_object(usages, translation.price),
            **service_tier(usages, translation.plan.tier),
        }
    )


def _unfenced(text: str) -> str:
    """JSON that a model was only asked for, without the code fence it likes to put around it."""
    fenced = _FENCE.fullmatch(text.strip())
    return fenced.group(1) if fenced else text


def _free_text(arguments: str) -> str:
    """A free-text tool's input out of ``{"input": text}``; as it is, if the model wrote another
    thing (or was cut)."""
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = parsed.get("input") if isinstance(parsed, dict) else None
    return text if isinstance(text, str) else arguments
