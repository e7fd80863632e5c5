"""A background task that fails is told in the log when it fails, not when it is thrown away; what a
thread found out reaches whoever waits for it."""

import asyncio
import logging
import threading

import pytest
import uvicorn

from proxy.server import Server
from proxy.tasks import cancel, settle, tell

pytestmark = pytest.mark.anyio


async def watched(work) -> asyncio.Task[None]:
    task = asyncio.create_task(work(), name="made")
    task.add_done_callback(tell)
    await asyncio.wait({task})
    return task


async def test_a_lost_cancellation_is_repeated() -> None:
    """As ``asyncio.gather`` loses one when a child fails instead of being cancelled."""
    lost = asyncio.Event()

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError from None

    async def work() -> None:
        while True:
            try:
                await asyncio.gather(child(), child())
            except ConnectionError:
                lost.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel(task)
    assert lost.is_set()
    assert task.cancelled()


async def test_a_fault_is_told_once(caplog) -> None:
    async def work() -> None:
        raise LookupError("a bug")

    task = await watched(work)
    [told] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert told.getMessage() == "the task made ended unexpectedly"
    assert told.exc_info is not None
    assert told.exc_info[1] is task.exception()


async def test_a_good_end_is_not_worth_a_word(caplog) -> None:
    async def work() -> None:
        return

    await watched(work)
    assert not caplog.records


async def test_nor_is_a_cancelled_one(caplog) -> None:
    async def work() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(0)

    assert (await watched(work)).cancelled()
    assert not caplog.records


async def test_a_server_that_cannot_leave_politely_leaves_all_the_same(caplog) -> None:
    async def leave() -> None:
        raise LookupError("a bug")

    async def drain() -> None:
        raise AssertionError("not reached")

    server = Server(uvicorn.Config(lambda: None, log_config=None), leave, drain, dict, print)
    server.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.should_exit
    assert [r.getMessage() for r in caplog.records] == ["the task leaving ended unexpectedly"]


@pytest.mark.parametrize("failure", [None, OSError("gone"), KeyboardInterrupt()])
async def test_a_threads_result_reaches_the_loop(failure: BaseException | None) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    threading.Thread(target=settle, args=(loop, future, 7, failure)).start()
    await asyncio.wait({future})
    assert future.exception() is failure
    assert failure is not None or future.result() == 7


async def test_a_result_that_nobody_waits_for_is_dropped() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    future.cancel()
    settle(loop, future, 7, None)
    settle(loop, future, None, OSError())
    await asyncio.sleep(0)
    assert future.cancelled()


def test_a_loop_that_is_closed_is_no_error() -> None:
    loop = asyncio.new_event_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.close()
    settle(loop, future, 7, None)
    assert not future.done()
