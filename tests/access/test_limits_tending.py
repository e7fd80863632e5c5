"""The task that tells a shared server what ended: a fault nobody thought of is told and survived.

The server is made; ``test_shared_limits.py`` has a real one.
"""

import asyncio
from collections.abc import Sequence

import pytest

from proxy.access.quota import Demand
from proxy.access.shared_limits import SharedLimiter
from proxy.access.shared_script import ADMIT, CLOSE
from proxy.access.tenant import Allowance

pytestmark = pytest.mark.anyio


class Made:
    """A server that admits everything. ``fault`` is what the next ending meets."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.ended: list[str] = []

    def register_script(self, script: str):
        async def run(keys: Sequence[str], args: Sequence[str | float]) -> object:
            if script == ADMIT:
                return ["ok", "0", "0", "0", "0", "0", "0", "0"]
            if script == CLOSE:
                fault, self.fault = self.fault, None
                if fault is not None:
                    raise fault
                self.ended.append(str(args[0]))
            return "epoch"

        return run

    async def aclose(self) -> None:
        return


async def test_the_next_admission_tends_again_what_a_fault_left(caplog) -> None:
    server = Made()
    limiter = SharedLimiter(server, (), Allowance(streams=5), fail_open=False)
    asked = Demand("a", Allowance(), 1, 1)
    server.fault = LookupError("a bug")
    (await limiter.admit(asked)).release()
    async with asyncio.timeout(3):
        while not caplog.records:  # noqa: ASYNC110  # a task of its own decides
            await asyncio.sleep(0.001)
    assert caplog.records[0].getMessage() == "the task limits ended unexpectedly"
    assert server.ended == []
    (await limiter.admit(asked)).release()
    async with asyncio.timeout(3):
        while len(server.ended) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await limiter.close()
    assert len(set(server.ended)) == 2
