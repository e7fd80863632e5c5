"""Golden answers: Bedrock's bytes in, the client's bytes out, streamed and whole.

Each case is fed at every split of its bytes and byte by byte, its output must not change; and the
official SDK reads the stream and the whole answer and finds the same in both.
"""

from collections.abc import Iterator
from functools import cache

import openai
import orjson
import pytest
from botocore.eventstream import EventStreamBuffer

from proxy.converse.stream import ConverseStream
from proxy.converse.types import Event
from tests.openai.chat.captured import (
    FOLDER,
    Case,
    Sdk,
    cases,
    chunks,
    plain,
    read,
    streamed,
    whole,
    wire,
)

CASES = cases()


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    reader = Sdk()
    yield reader
    reader.client.close()


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True, scope="module")
def regolden(request: pytest.FixtureRequest) -> None:
    """With ``--regold``, write what is expected from what is. Read the difference."""
    if not request.config.getoption("--regold"):
        return
    for case in CASES:
        case.path("bin").write_bytes(wire(case))
        batches, failure = read(wire(case))
        case.path("sse").write_bytes(streamed(case, batches, failure))
        case.path("json").write_bytes(_pretty(whole(case, batches, failure)))


def _pretty(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def test_there_are_as_many_cases_as_were_asked_for() -> None:
    assert len(CASES) >= 80
    kinds = {"bin", "sse", "json"}
    orphans = {
        path.name
        for path in FOLDER.iterdir()
        if path.suffix[1:] in kinds
        and not (FOLDER / f"{path.name.split('.')[0]}.events.json").exists()
    }
    assert not orphans


@each_case
def test_bytes_are_the_events_they_claim_to_be(case: Case) -> None:
    assert case.path("bin").read_bytes() == wire(case)


@pytest.mark.parametrize("case", [c for c in CASES if not c.damage], ids=lambda case: case.name)
def test_frames_are_what_botocore_reads(case: Case) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(case.path("bin").read_bytes())
    theirs = [orjson.loads(message.payload) for message in buffer]
    for body in theirs:
        body.pop("p", None)
    assert theirs == [body for _, body in case.events]


@each_case
def test_the_stream_is_the_golden_one(case: Case) -> None:
    assert streamed(case, *read(case.path("bin").read_bytes())) == case.path("sse").read_bytes()


@each_case
def test_the_whole_answer_is_the_golden_one(case: Case) -> None:
    answer = whole(case, *read(case.path("bin").read_bytes()))
    assert _pretty(answer) == case.path("json").read_bytes()


@each_case
def test_no_split_changes_the_output(case: Case) -> None:
    """A split reaches the encoder only as a border between events; so the decoder is fed at every
    offset, and the encoder at every border that this yields."""
    data, golden = case.path("bin").read_bytes(), case.path("sse").read_bytes()
    (events,), failure = read(data)

    @cache
    def outcome(border: int) -> bytes:
        return streamed(case, [events[:border], events[border:]], failure)

    for cut in range(1, len(data)):
        (first, second), fault = read(data, cut)
        assert first + second == events
        assert repr(fault) == repr(failure)
        assert outcome(len(first)) == golden


@each_case
def test_byte_by_byte_changes_nothing(case: Case) -> None:
    data = case.path("bin").read_bytes()
    stream = ConverseStream()
    batches: list[list[Event]] = [stream.receive(data[at : at + 1]) for at in range(len(data))]
    assert streamed(case, batches, stream.close()) == case.path("sse").read_bytes()


@each_case
def test_the_sdk_reads_both_and_finds_the_same(case: Case, sdk: Sdk) -> None:
    golden, body = case.path("sse").read_bytes(), case.path("json").read_bytes()
    if b'"error"' in golden.split(b"\n\n")[-2]:
        error = orjson.loads(body)["error"]
        with pytest.raises(openai.APIError) as caught:
            sdk.fold(golden)
        assert (caught.value.message, caught.value.code) == (error["message"], error["code"])
        assert not golden.endswith(b"[DONE]\n\n")
        return
    folded, answered = sdk.fold(golden), sdk.parse(body)
    assert plain(folded, case.fold) == plain(answered, case.fold)
    if case.plan.include_usage:
        assert folded["usage"] == answered["usage"]


@each_case
def test_every_stream_has_the_shape_that_clients_rely_on(case: Case) -> None:
    golden = case.path("sse").read_bytes()
    lines = [line for line in golden.split(b"\n\n") if line]
    assert all(line.startswith(b"data: ") and len(line.splitlines()) == 1 for line in lines)
    assert all(len(line.decode().splitlines()) == 1 for line in lines)
    found = list(chunks(golden))
    if "error" in found[-1]:
        assert lines[-1] != b"data: [DONE]"
        assert set(found.pop()["error"]) == {"message", "type", "param", "code"}
    else:
        assert lines[-1] == b"data: [DONE]"
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in found}) <= 1
    roles = [c for c in found if c["choices"] and "role" in c["choices"][0]["delta"]]
    assert roles == found[:1]
    choices = [choice for chunk in found for choice in chunk["choices"]]
    assert all({"index", "delta", "logprobs", "finish_reason"} <= set(c) for c in choices)
    finished = [at for at, c in enumerate(choices) if c["finish_reason"] is not None]
    assert finished in ([], [len(choices) - 1])
    if case.plan.include_usage:
        assert all("usage" in chunk for chunk in found)
    indexes = [call["index"] for c in choices for call in c["delta"].get("tool_calls", ())]
    assert list(dict.fromkeys(indexes)) == list(range(len(set(indexes))))
    assert indexes == sorted(indexes)
