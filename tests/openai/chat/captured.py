"""The answer goldens of ``tests/captures``: how a case is read, framed, run, and folded.

A case is a ``.events.json`` (its source, for people), the ``.bin`` that those events are on the
wire, and what must come of it: ``.sse`` when streamed, ``.json`` when not. All of it is *made*; see
the README beside the cases. Frames are encoded here and not by the simulator, so that the goldens
stand on their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import pack as pack_bytes
from typing import Any
from zlib import crc32

import httpx2
import openai
import orjson

from proxy.converse.stream import ConverseStream
from proxy.converse.types import Event
from proxy.dialect import Stamp, Translation
from proxy.errors import ProxyError
from proxy.openai.chat.from_converse import ChatCollector, ChatEncoder, end, render
from proxy.openai.chat.plan import Plan
from proxy.openai.errors import error_body, error_event

FOLDER = Path(__file__).parents[2] / "captures"
STAMP = Stamp("0123456789abcdef", 1_790_000_000, "proxy-model")
PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

Events = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Case:
    """``fold`` names why a client's fold of the chunks is not the whole answer, where it is not:
    ``custom`` (free-text calls are function calls in chunks), ``fenced`` (a code fence is taken
    off whole answers only)."""

    name: str
    about: str
    plan: Plan
    body: Mapping[str, Any]
    events: Events
    fold: str = ""
    damage: str = ""

    @property
    def translation(self) -> Translation:
        return Translation(body=self.body, operation="converse-stream", plan=self.plan)  # type: ignore[arg-type]

    def path(self, suffix: str) -> Path:
        return FOLDER / f"{self.name}.{suffix}"


def cases() -> list[Case]:
    return [load(path) for path in sorted(FOLDER.glob("*.events.json"))]


def load(path: Path) -> Case:
    source = json.loads(path.read_text())
    assert source["origin"] == "made"
    return Case(
        path.name.removesuffix(".events.json"),
        source["about"],
        make_plan(source.get("plan", {})),
        source.get("body", {}),
        source["events"],
        source.get("fold", ""),
        source.get("damage", ""),
    )


def make_plan(members: Mapping[str, Any]) -> Plan:
    sets = {"custom_tools", "offered"}
    lists = {"stop", "inline_tags"}
    return Plan(
        **{
            name: frozenset(value) if name in sets else tuple(value) if name in lists else value
            for name, value in members.items()
        }
    )


# Frames


def wire(case: Case) -> bytes:
    """The case's events as Bedrock frames them: padding key, sorted keys, three headers."""
    frames = [frame(kind, body, number) for number, (kind, body) in enumerate(case.events)]
    if case.damage == "truncated":
        frames[-1] = frames[-1][:-7]
    if case.damage == "corrupt":
        frames[-1] = frames[-1][:-1] + bytes([frames[-1][-1] ^ 1])
    return b"".join(frames)


def frame(kind: str, body: Mapping[str, Any], number: int = 0) -> bytes:
    exception = kind.endswith("Exception")
    padded = body if exception else {**body, "p": PADDING[: 2 + (number * 7) % 24]}
    payload = json.dumps(padded, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    head = b"".join(
        _header(name, value)
        for name, value in (
            (":exception-type" if exception else ":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "exception" if exception else "event"),
        )
    )
    data = payload.encode()
    prelude = pack_bytes(">II", 16 + len(head) + len(data), len(head))
    message = prelude + pack_bytes(">I", crc32(prelude)) + head + data
    return message + pack_bytes(">I", crc32(message))


def _header(name: str, value: str) -> bytes:
    return (
        bytes([len(name)]) + name.encode() + b"\x07" + pack_bytes(">H", len(value)) + value.encode()
    )


# Runs


def read(data: bytes, cut: int | None = None) -> tuple[list[list[Event]], ProxyError | None]:
    """The events of each network read, and how the stream failed, if it did."""
    stream = ConverseStream()
    reads = [data] if cut is None else [data[:cut], data[cut:]]
    batches = [stream.receive(piece) for piece in reads]
    return batches, stream.close()


def streamed(case: Case, batches: Sequence[Sequence[Event]], failure: ProxyError | None) -> bytes:
    """All bytes of the client's stream, as the relay would send them."""
    encoder = ChatEncoder(case.translation, STAMP, 0)
    out: list[bytes] = []
    try:
        for batch in batches:
            out.append(encoder.encode(batch))
        if failure is not None:
            raise failure
        out.append(encoder.finish_stream())
    except ProxyError as error:
        return b"".join([*out, encoder.pending(), error_event(error)])
    return b"".join([*out, end(case.translation, STAMP, [encoder.usage])])


def whole(case: Case, batches: Sequence[Sequence[Event]], failure: ProxyError | None) -> bytes:
    """The body of the answer that does not stream."""
    collector = ChatCollector(case.translation, STAMP, 0)
    try:
        for batch in batches:
            collector.add(batch)
        if failure is not None:
            raise failure
        return render(case.translation, STAMP, [collector])
    except ProxyError as error:
        return error_body(error)


# The official SDK as the reader


class Sdk:
    """``openai.OpenAI`` over a transport that answers with what it was given."""

    def __init__(self) -> None:
        self._answer = b""
        self._type = ""
        transport = httpx2.MockTransport(self._respond)
        self.client = openai.OpenAI(
            api_key="unused",
            base_url="http://testserver/v1",
            max_retries=0,
            http_client=httpx2.Client(transport=transport),
        )

    def _respond(self, _request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=self._answer, headers={"content-type": self._type})

    def fold(self, stream: bytes) -> dict[str, Any]:
        """What the SDK's ``stream()`` accumulator makes of the chunks."""
        self._answer, self._type = stream, "text/event-stream; charset=utf-8"
        messages: Any = [{"role": "user", "content": "?"}]
        with self.client.chat.completions.stream(model="m", messages=messages) as events:
            for _ in events:
                pass
            snapshot = events.current_completion_snapshot.to_dict()
            try:
                events.get_final_completion()
            except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
                assert snapshot["choices"][0]["finish_reason"] in {"length", "content_filter"}  # type: ignore[index]
        return snapshot

    def parse(self, body: bytes) -> dict[str, Any]:
        """What the SDK's ``create()`` and ``parse()`` make of the whole answer."""
        self._answer, self._type = body, "application/json"
        messages: Any = [{"role": "user", "content": "?"}]
        with suppress(openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
            self.client.chat.completions.parse(model="m", messages=messages)
        return self.client.chat.completions.create(model="m", messages=messages).to_dict()


def chunks(stream: bytes) -> Iterator[dict[str, Any]]:
    """The JSON of every ``data:`` line but the end mark."""
    for line in stream.split(b"\n\n"):
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            yield orjson.loads(line[6:])


def plain(completion: Mapping[str, Any], case_fold: str = "") -> list[dict[str, Any]]:
    """The choices in a form in which a fold and a whole answer can be compared: absent, ``null``
    and empty are one, list entries have no index."""
    choices = []
    for choice in completion["choices"]:
        message = _bare(choice["message"])
        if case_fold == "custom":
            for call in message.get("tool_calls", ()):
                _as_function(call)
        if case_fold == "fenced":
            message["content"] = message["content"].strip().removeprefix("```json")
            message["content"] = message["content"].removesuffix("```").strip()
        choices.append(
            {
                "index": choice["index"],
                "finish_reason": choice["finish_reason"],
                "message": message,
            }
        )
    return choices


def _as_function(call: dict[str, Any]) -> None:
    if call["type"] == "custom":
        custom = call.pop("custom")
        call["type"] = "function"
        call["function"] = {"name": custom["name"], "arguments": {"input": custom["input"]}}
    else:
        call["function"]["arguments"] = orjson.loads(call["function"]["arguments"])


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _bare(entry)
            for name, entry in value.items()
            if entry not in (None, "", []) and name not in {"index", "parsed", "parsed_arguments"}
        }
    if isinstance(value, list):
        return [_bare(entry) for entry in value]
    return value
