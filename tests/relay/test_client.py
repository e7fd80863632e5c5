"""The client's end of an exchange: what leaves, and in what order."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from proxy.relay import Client
from proxy.sse import PING

pytestmark = pytest.mark.anyio
ROLE, WORD, END = b"data: role\n\n", b"data: word\n\n", b"data: [DONE]\n\n"


class Wire:
    """An ASGI ``send`` that refuses what a server refuses."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.over = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        assert not self.over, "sent after the end"
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            self.over = not message.get("more_body")

    async def receive(self) -> MutableMapping[str, Any]:
        raise AssertionError("nobody reads here")


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def client(wire: Wire) -> Client:
    return Client(wire.receive, wire.send, {})


async def test_what_the_timer_says_goes_before_what_was_made_since(
    wire: Wire, client: Client
) -> None:
    """The pump may be ready to run when the timer speaks; its chunks no longer hold the role."""
    client.say_aside(ROLE)
    await client.write(WORD)
    await client.settle()
    assert wire.bodies == [ROLE + WORD]


async def test_what_the_timer_says_last_is_not_sent_behind_the_end(
    wire: Wire, client: Client
) -> None:
    await client.write(WORD)
    client.say_aside(PING)
    await client.write(END, more=False)
    await client.settle()
    assert wire.bodies == [WORD, PING + END]


async def test_a_comment_is_no_chunk(wire: Wire, client: Client) -> None:
    await client.write(WORD)
    before = client.last_chunk
    await asyncio.sleep(0.01)
    client.say_aside(PING)
    await client.settle()
    assert wire.bodies == [WORD, PING]
    assert client.last_chunk == before < client.last_sent
    client.say_aside(PING)
    await client.write(WORD)
    assert client.last_chunk == client.last_sent


async def test_chunks_that_were_held_leave_with_the_next_write(wire: Wire, client: Client) -> None:
    client.hold(ROLE)
    client.hold(WORD)
    assert wire.bodies == []
    await client.write(END, more=False)
    assert wire.bodies == [ROLE + WORD + END]


async def test_the_timer_drops_nothing_that_was_held(wire: Wire, client: Client) -> None:
    client.hold(WORD)
    client.say_aside(PING)
    await client.settle()
    assert wire.bodies == [WORD + PING]
