"""The words of a refusal: read as far as they come, and never waited for without end."""

import asyncio

import httpx
import pytest

from proxy.bedrock.transport import read_words

pytestmark = pytest.mark.anyio


class Dripping:
    """A ``Reply`` whose body comes in these parts; ``None`` hangs, an exception breaks off."""

    status = 429
    complete = False

    def __init__(self, *parts: bytes | httpx.TransportError | None) -> None:
        self._parts = iter(parts)
        self.headers: list[tuple[bytes, bytes]] = []
        self.closed = False

    async def read(self) -> bytes:
        part = next(self._parts, b"")
        if part is None:
            await asyncio.sleep(60)
        if isinstance(part, httpx.TransportError):
            raise part
        return part or b""

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Dripping(b"ab", b"cd"), b"abcd"),
        (Dripping(), b""),
        (Dripping(b"ab", httpx.ReadError("reset")), b"ab"),
        (Dripping(b"ab", httpx.RemoteProtocolError("cut")), b"ab"),
        (Dripping(b"ab", None), b"ab"),
        (Dripping(*[b"abcdef"] * 100), b"abcdefabcdef"),
    ],
)
async def test_what_came_is_kept(reply: Dripping, words: bytes) -> None:
    assert await read_words(reply, 10, 0.05) == words
    assert reply.closed


async def test_whoever_is_cancelled_stays_so() -> None:
    reply = Dripping(None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await read_words(reply, 10, 30.0)
    assert reply.closed
