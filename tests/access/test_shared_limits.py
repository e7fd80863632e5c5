"""Shared limits against a real server: two replicas, a server that dies, loses all and comes back.

Needs the ``redis`` package (extra ``valkey``) and a ``redis-server`` or ``valkey-server`` on the
path; skipped without. The server's clock is real, so rates here are tried within a second.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.access.quota import Demand, Lease, LimitExceeded
from proxy.access.shared_limits import SharedLimiter
from proxy.access.tenant import Allowance
from proxy.errors import ProxyError
from proxy.valkey import connect
from tests.support.valkey import ValkeyServer, needs_server

pytestmark = [pytest.mark.anyio, needs_server]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path).start()
    try:
        yield server
    finally:
        server.stop()


class Replicas:
    def __init__(self, server: ValkeyServer) -> None:
        self._server = server
        self._made: list[SharedLimiter] = []

    def __call__(self, overall: Allowance | None = None, **named: Any) -> SharedLimiter:
        client, faults = connect(self._server.url, named.get("timeout", 0.5), text=True)
        named = {"fail_open": False, "renew_seconds": 0.1, "lease_seconds": 1.0, **named}
        made = SharedLimiter(client, faults, overall or Allowance(), **named)
        self._made.append(made)
        return made

    async def close(self) -> None:
        for one in self._made:
            await one.close()


@pytest.fixture
async def replicas(server: ValkeyServer) -> AsyncIterator[Replicas]:
    made = Replicas(server)
    yield made
    await made.close()


def demand(
    allowance: Allowance, tokens: tuple[int, int] = (1, 1), tenant: str = "a", cost: float = 0.0
) -> Demand:
    return Demand(tenant, allowance, *tokens, cost)


async def refused(limiter: SharedLimiter, asked: Demand) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await limiter.admit(asked)
    return caught.value


def client_of(limiter: SharedLimiter) -> Any:
    return limiter._client


def headers(found: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.headers}


async def eventually(limiter: SharedLimiter, asked: Demand, seconds: float = 3.0) -> Lease:
    """Admit as soon as it goes: endings are told by a task of their own."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await limiter.admit(asked)
        except ProxyError:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(0.02)


async def test_streams_are_counted_over_replicas(replicas: Replicas) -> None:
    one, two = replicas(), replicas()
    asked = demand(Allowance(streams=2))
    first, second = await one.admit(asked), await two.admit(asked)
    error = await refused(one, asked)
    assert error.message == "Rate limit reached for key a: 2 concurrent answers are allowed."
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    await two.admit(demand(Allowance(streams=2), tenant="b"))
    second.release()
    second.release()
    third = await eventually(one, asked)
    await refused(two, asked)
    await asyncio.sleep(1.5)  # longer than a lease: they are renewed
    await refused(two, asked)
    first.release()
    third.release()


async def test_a_dead_replicas_streams_come_back(replicas: Replicas) -> None:
    dying, living = replicas(), replicas()
    asked = demand(Allowance(streams=1))
    await dying.admit(asked)
    assert dying._tending is not None
    dying._tending.cancel()  # it renews no more, as if it were gone
    await refused(living, asked)
    (await eventually(living, asked)).release()


async def test_rates_are_counted_over_replicas_and_shown(replicas: Replicas) -> None:
    one, two = replicas(), replicas()
    asked = demand(Allowance(requests_per_minute=3))
    left = []
    for limiter in (one, two, one):
        lease = await limiter.admit(asked)
        left.append(headers(lease)["x-ratelimit-remaining-requests"])
        lease.release()
    assert left == ["2", "1", "0"]
    error = await refused(two, asked)
    assert isinstance(error, LimitExceeded)
    assert error.type == "requests"
    assert 19 < (error.retry_after or 0) <= 20
    assert headers(error)["x-ratelimit-limit-requests"] == "3"


async def test_tokens_are_settled_over_replicas(replicas: Replicas) -> None:
    one, two = replicas(), replicas()
    limit = Allowance(tokens_per_minute=6_000)
    lease = await one.admit(demand(limit, (1000, 9000)))
    assert headers(lease)["x-ratelimit-remaining-tokens"] == "0"
    await refused(two, demand(limit, (100, 100)))
    lease.settle(1500)
    lease.release()
    second = await eventually(two, demand(limit, (100, 4300)))
    assert int(headers(second)["x-ratelimit-remaining-tokens"]) in range(100, 400)
    second.settle(9000)  # owed
    second.release()
    await asyncio.sleep(0.2)
    error = await refused(one, demand(limit, (1, 0)))
    assert 40 < (error.retry_after or 0) < 50
    assert (await refused(one, demand(limit, (6001, 0)))).retry == "never"


async def test_a_budget_is_spent_over_replicas(replicas: Replicas) -> None:
    one, two = replicas(), replicas()
    limit = Allowance(daily_budget_usd=1.0)
    lease = await one.admit(demand(limit, cost=5.0))
    error = await refused(two, demand(limit))
    assert (error.code, error.retry) == ("insufficient_quota", "never")
    assert 0 < (error.retry_after or 0) <= 86400
    lease.settle(10, 0.25)
    lease.release()
    (await eventually(two, demand(limit, cost=0.5))).release()  # nothing used
    lease = await eventually(one, demand(limit))
    lease.settle(10, 0.8)
    lease.release()
    await asyncio.sleep(0.2)
    await refused(two, demand(limit))


async def test_a_refusal_takes_nothing_of_either_account(replicas: Replicas) -> None:
    limiter = replicas(Allowance(requests_per_minute=3))
    narrow = demand(Allowance(requests_per_minute=1))
    await limiter.admit(narrow)
    for _ in range(4):
        assert "key a" in (await refused(limiter, narrow)).message
    await limiter.admit(demand(Allowance(), tenant="b"))
    lease = await limiter.admit(demand(Allowance(requests_per_minute=50), tenant="c"))
    assert headers(lease)["x-ratelimit-limit-requests"] == "3"
    assert "this proxy" in (await refused(limiter, demand(Allowance(), tenant="b"))).message


async def test_many_at_once_never_exceed_a_limit(replicas: Replicas) -> None:
    limiters = [replicas(timeout=5.0), replicas(timeout=5.0), replicas(timeout=5.0)]
    asked = demand(Allowance(streams=20, requests_per_minute=50))
    tasks = [limiters[at % 3].admit(asked) for at in range(120)]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    leases = [one for one in ended if isinstance(one, Lease)]
    assert len(leases) == 20
    assert all(isinstance(one, Lease | LimitExceeded) for one in ended)
    for lease in leases:
        lease.release()


async def test_a_cancelled_admission_leaves_no_stream_behind(replicas: Replicas) -> None:
    limiter = replicas(lease_seconds=60.0)
    asked = demand(Allowance(streams=1))
    (await limiter.admit(asked)).release()
    for _ in range(20):
        task = asyncio.ensure_future(eventually(limiter, asked))
        await asyncio.sleep(random.uniform(0, 0.002))
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Lease):
            ended.release()
    (await eventually(limiter, asked)).release()


async def test_without_a_server_closed_refuses_and_open_counts_alone(
    server: ValkeyServer, replicas: Replicas
) -> None:
    told: list[str] = []
    shut, ajar = replicas(), replicas(fail_open=True, observe=told.append)
    asked = demand(Allowance(streams=2))
    first = await ajar.admit(asked)
    server.stop()
    error = await refused(shut, asked)
    assert (error.status, error.code, error.retry) == (503, "limits_unavailable", "transient")
    second = await ajar.admit(asked)  # the first one is known to the mirror
    assert (await refused(ajar, asked)).code == "rate_limit_exceeded"
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(50):
        await refused(shut, asked)
        await refused(ajar, asked)
    assert loop.time() - began < 2.0  # the dead server is not asked each time
    server.start()
    await asyncio.sleep(2.0)
    assert told == ["down", "up"]
    assert (await refused(shut, asked)).code == "rate_limit_exceeded"  # both were told again
    first.release()
    (await eventually(shut, asked)).release()
    second.release()


async def test_a_server_that_hangs_holds_nobody_up(
    server: ValkeyServer, replicas: Replicas
) -> None:
    shut, ajar = replicas(timeout=0.2), replicas(timeout=0.2, fail_open=True)
    asked = demand(Allowance(streams=30))
    first = await ajar.admit(asked)
    await shut.admit(asked)
    server.signal(signal.SIGSTOP)
    loop = asyncio.get_running_loop()
    began = loop.time()
    ended = await asyncio.gather(
        *(one.admit(asked) for one in [ajar, shut] * 10), return_exceptions=True
    )
    assert loop.time() - began < 3.0  # one after the other they would have waited four
    assert [type(one) for one in ended] == [Lease, ProxyError] * 10
    server.signal(signal.SIGCONT)
    first.release()
    await asyncio.sleep(1.5)
    lease = await shut.admit(asked)
    assert await client_of(shut).zcard("{bedrock-proxy}:key:a:leases") == 12  # and no ghosts
    lease.release()


def array(*words: bytes) -> bytes:
    """As the Redis protocol writes one."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


@pytest.mark.parametrize(
    "answer",
    [
        b"+OK\r\n", b":1\r\n", b"*1\r\n$2\r\nok\r\n", b"$-1\r\n",
        array(b"ok", b"0", b"0", b"1", b"1"), array(b"ok", b"7", b"0", b"1", b"1", *3 * [b"0"]),
        array(b"ok", b"0", b"0", b"1", b"1", *6 * [b"0"]),
        array(b"requests", b"0", b"inf", b"1", b"1", *3 * [b"inf"]),
        array(b"ok", b"0", b"0", b"1", b"1", b"nan", b"0", b"0"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_of_ours_is_a_server_that_is_away(answer: bytes) -> None:
    """Something else listens there and speaks the protocol: failing open goes on, and no 500."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as other:
        url = f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}/0"
        for fail_open in (True, False):
            client, faults = connect(url, 0.5, text=True)
            limiter = SharedLimiter(client, faults, Allowance(), fail_open=fail_open)
            if fail_open:
                (await limiter.admit(demand(Allowance(streams=2)))).release()
            else:
                error = await refused(limiter, demand(Allowance(streams=2)))
                assert (error.status, error.code) == (503, "limits_unavailable")
            await limiter.close()


async def test_lost_data_is_told_again_before_more_is_given(
    server: ValkeyServer, replicas: Replicas
) -> None:
    """A restart between two requests, that nobody noticed: no renewal came in between."""
    limiter = replicas(lease_seconds=60.0)
    asked = demand(Allowance(streams=2, requests_per_minute=4, daily_budget_usd=1.0), cost=0.4)
    kept = [await limiter.admit(asked), await limiter.admit(asked)]
    limiter._renew_seconds = 60.0
    await asyncio.sleep(0.2)
    server.stop()
    server.start()
    assert (await refused(limiter, asked)).code == "limits_unavailable"  # others may enter first
    await asyncio.sleep(0.7)
    error = await refused(limiter, asked)
    assert error.message.startswith("Rate limit reached for key a: 2 concurrent")
    kept.pop().release()  # gives its 40 cents back
    third = await eventually(limiter, asked)
    assert headers(third)["x-ratelimit-remaining-requests"] == "1"  # the fourth minus two lost
    third.settle(1, 0.7)
    third.release()
    kept.pop().settle(1, 0.4)
    await asyncio.sleep(0.1)
    assert (await refused(limiter, asked)).code == "insufficient_quota"


@pytest.mark.long
@pytest.mark.parametrize("fail_open", [False, True])
async def test_killed_and_restarted_under_load(
    server: ValkeyServer, replicas: Replicas, fail_open: bool
) -> None:
    """Three replicas at full load; the server is killed and restarted three times, losing all.
    Some answers outlive that. Failing closed, the limit holds at every moment, failing open again
    as soon as what was let in meanwhile has ended; and no place is lost in the end."""
    streams = 12
    limiters = [replicas(fail_open=fail_open, renew_seconds=0.2) for _ in range(3)]
    asked = demand(Allowance(streams=streams), (5, 5))
    running = [0, 0, 0]
    peaks: list[int] = []
    strict = asyncio.Event()
    strict.set()
    over: list[int] = []
    stop = asyncio.Event()
    admitted = [0]
    refusals: set[str | None] = set()

    async def client(which: int) -> None:
        while not stop.is_set():
            try:
                lease = await limiters[which].admit(asked)
            except ProxyError as error:
                refusals.add(error.code)
                await asyncio.sleep(0.01)
                continue
            admitted[0] += 1
            with lease:
                running[which] += 1
                peaks.append(running[which])
                if strict.is_set() and sum(running) > streams:
                    over.append(sum(running))
                long = random.random() < 0.05  # some outlive the server
                await asyncio.sleep(3.0 if long else random.uniform(0.005, 0.05))
                lease.settle(8, None)
                running[which] -= 1

    clients = [asyncio.ensure_future(client(at % 3)) for at in range(60)]
    for _ in range(3):
        await asyncio.sleep(1.0)
        before = admitted[0]
        assert before > 0
        if fail_open:
            strict.clear()  # each replica counts for itself now: three times the limit at most
        server.stop()
        await asyncio.sleep(1.0)
        assert sum(running) > 0
        server.start()
        await asyncio.sleep(4.0 if fail_open else 1.0)  # what was let in meanwhile has ended
        strict.set()
        assert admitted[0] > before
    await asyncio.sleep(1.0)
    stop.set()
    await asyncio.gather(*clients)
    assert not over
    assert refusals == {"rate_limit_exceeded"} | (set() if fail_open else {"limits_unavailable"})
    assert max(peaks) <= streams  # no replica alone ever exceeds it
    leases = [await eventually(limiters[0], asked) for _ in range(streams)]
    await refused(limiters[1], asked)
    for lease in leases:
        lease.release()
