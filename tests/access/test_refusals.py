"""What the log tells of requests that nobody was let in with: each, but never a flood of them."""

import asyncio
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from proxy import logs
from proxy.access import refusals
from proxy.access.refusals import DOOR, MOST, UNKNOWN, Refusals
from proxy.errors import ProxyError

pytestmark = pytest.mark.anyio
REFUSED = ProxyError(401, "No API key was sent.", code="invalid_api_key")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The fields of every line."""
    lines: list[dict[str, Any]] = []
    level = logs.logger.level
    logs.logger.setLevel("INFO")
    monkeypatch.setattr(
        logs.logger, "handle",
        lambda record: lines.append({"message": record.getMessage(), **record.fields}),
    )  # fmt: skip
    yield lines
    logs.logger.setLevel(level)


async def test_each_has_a_line_of_the_usual_shape(said: list[dict[str, Any]]) -> None:
    Refusals().tell(REFUSED, "req_1", monotonic() - 0.5)
    [line] = said
    assert line["message"] == "request"
    assert (line["endpoint"], line["request_id"]) == ("door", "req_1")
    assert (line["status"], line["code"]) == (401, "invalid_api_key")
    assert 500 <= line["duration_ms"] < 5000
    assert (line["key"], line["model"], line["called"]) == (None, "", "")


@pytest.mark.parametrize("kind", [DOOR, UNKNOWN])
async def test_a_flood_is_told_by_its_number(
    said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(refusals, "MINUTE", 0.5)
    door = Refusals(kind)
    for turn in (1, 2):  # and again in the next minute
        for number in range(1_000):
            door.tell(REFUSED, f"req_{number}", monotonic())
        assert len(said) == turn * (MOST + 1) - 1
        async with asyncio.timeout(5):
            while "more" not in said[-1]:  # noqa: ASYNC110  # nothing else tells
                await asyncio.sleep(0.01)
        assert said[-1]["more"] == 1_000 - MOST
        assert {line["endpoint"] for line in said} == {kind}
    assert sum(len(str(line)) for line in said) < 2_000 * 40


async def test_a_slow_trickle_is_told_whole(
    said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MINUTE", 0.0)
    door = Refusals()
    for number in range(5 * MOST):
        door.tell(REFUSED, f"req_{number}", monotonic())
    assert [line["request_id"] for line in said] == [f"req_{n}" for n in range(5 * MOST)]
