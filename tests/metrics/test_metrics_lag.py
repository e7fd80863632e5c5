"""The loop's lateness is what is measured."""

import asyncio
import time

import pytest

from proxy.metrics.lag import INTERVAL, LoopLag


@pytest.mark.anyio
async def test_a_stalled_loop_shows() -> None:
    seen: list[float] = []
    lag = LoopLag(seen.append)
    lag.start()
    await asyncio.sleep(INTERVAL * 1.5)
    calm = seen[:]
    time.sleep(INTERVAL * 2)  # noqa: ASYNC251  # the very thing that must not happen
    await asyncio.sleep(0.01)
    lag.stop()
    count = len(seen)
    await asyncio.sleep(INTERVAL * 1.5)
    assert len(calm) == 1
    assert calm[0] < INTERVAL
    assert seen[1] > INTERVAL
    assert len(seen) == count  # stopped
