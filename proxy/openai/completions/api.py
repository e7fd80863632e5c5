"""Legacy completions as a ``Dialect``: a chat of one user turn, in an older frame.

A dialect never imports another, so chat is handed in as a value: each prompt is parsed, translated
and answered by it, and ``view.py`` shows its bytes as completions. So everything that chat knows of
families, stop sequences, guardrails and refusals holds here too.
Source: OpenAI API reference, *Completions*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from proxy.catalog.model import Model
from proxy.converse.types import Event, Usage
from proxy.dialect import (
    Collector,
    Dialect,
    Encoder,
    Keepsake,
    Options,
    Stamp,
    Translation,
    Weight,
)
from proxy.errors import invalid
from proxy.openai.completions.request import CompletionsRequest, chat_fields, read_request
from proxy.openai.completions.view import StreamView, whole


@dataclass(frozen=True, slots=True)
class Plan:
    """``chats`` holds chat's translation of each choice, ``echoes`` what stands before its text."""

    chats: tuple[Translation, ...]
    echoes: tuple[str, ...]


def completions(chat: Dialect) -> Dialect:
    """The dialect of legacy completions over chat's."""
    view = _OverChat(chat)
    return replace(
        chat,
        name="completions",
        parse=view.parse,
        lacking=view.lacking,
        restored=view.restored,
        translate=view.translate,
        encoder=view.encoder,
        end=view.end,
        collector=view.collector,
        render=view.render,
        weigh=view.weigh,
        links=lambda request: (),  # a prompt is text
        linked=lambda request, found: request,
    )


class _OverChat:
    def __init__(self, chat: Dialect) -> None:
        self._chat: Final = chat

    def parse(self, body: bytes, headers: Mapping[str, str]) -> CompletionsRequest:
        request, shared = read_request(body)
        chats = (orjson.dumps(chat_fields(shared, prompt)) for prompt in request.prompts)
        return replace(request, chats=tuple(self._chat.parse(one, headers) for one in chats))

    def lacking(self, request: CompletionsRequest, model: Model) -> Sequence[str]:
        return ()

    def restored(
        self, request: CompletionsRequest, model: Model, found: Mapping[str, bytes]
    ) -> CompletionsRequest:
        return request

    def translate(self, request: CompletionsRequest, model: Model, options: Options) -> Translation:
        """Raises ``ProxyError`` 400 as chat does."""
        if request.n > options.max_choices:
            raise invalid(f"At most {options.max_choices} choices can be requested.", "n")
        asked = [self._chat.translate(one, model, options) for one in request.chats]
        chats = tuple(one for one in asked for _ in range(request.n))
        prompts = (prompt for prompt in request.prompts for _ in range(request.n))
        notes: tuple[str, ...] = ("max_tokens:default",) if request.default_length else ()
        bodies: tuple[Any, ...] = tuple(one.body for one in chats) if len(asked) > 1 else ()
        return replace(
            asked[0],
            plan=Plan(chats, tuple(prompt if request.echo else "" for prompt in prompts)),
            notes=tuple(dict.fromkeys(note for one in asked for note in (*one.notes, *notes))),
            choices=len(chats),
            again=None,
            bodies=bodies,
        )

    def weigh(self, request: CompletionsRequest, model: Model) -> Weight:
        each = [self._chat.weigh(one, model) for one in request.chats]
        held, answered = (sum(numbers) * request.n for numbers in zip(*each, strict=True))
        return Weight(held, answered)

    def encoder(self, translation: Translation, stamp: Stamp, index: int) -> "_Encoder":
        plan: Plan = translation.plan
        inner = self._chat.encoder(_chat(translation, index), stamp, 0)
        return _Encoder(inner, StreamView(index, plan.echoes[index]))

    def end(self, translation: Translation, stamp: Stamp, usages: Sequence[Usage | None]) -> bytes:
        return StreamView(0, "").see(self._chat.end(_chat(translation, 0), stamp, usages))

    def collector(self, translation: Translation, stamp: Stamp, index: int) -> Collector:
        return self._chat.collector(_chat(translation, index), stamp, 0)

    def render(
        self, translation: Translation, stamp: Stamp, collectors: Sequence[Collector]
    ) -> bytes:
        plan: Plan = translation.plan
        return whole(self._chat.render(_chat(translation, 0), stamp, collectors), plan.echoes)


def _chat(translation: Translation, choice: int) -> Translation:
    """Chat's own translation of a choice, with what the shell has added to ours."""
    plan: Plan = translation.plan
    return replace(plan.chats[choice], price=translation.price)


class _Encoder:
    """``proxy.dialect.Encoder``: chat's, seen through a view."""

    def __init__(self, inner: Encoder, view: StreamView) -> None:
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.content = False
        self.keepsake: Keepsake | None = None
        self._inner: Final = inner
        self._view: Final = view

    def encode(self, events: Sequence[Event]) -> bytes:
        try:
            return self._view.see(self._inner.encode(events))
        finally:
            self._tell()

    def pending(self) -> bytes:
        return self._view.see(self._inner.pending())

    def finish_stream(self) -> bytes:
        try:
            return self._view.see(self._inner.finish_stream())
        finally:
            self._tell()

    def heartbeat(self) -> bytes:
        return self._view.see(self._inner.heartbeat(), empty=True)

    def _tell(self) -> None:
        inner = self._inner
        self.usage, self.finish, self.content = inner.usage, inner.finish, inner.content
