"""The engine: one flight for all, never on the loop, stale while valid, one honest second try."""

import asyncio
import base64
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from proxy.bedrock.bearer import Bearer, is_loopback, key_expiry
from proxy.bedrock.chain import Chain, Keys, Unavailable
from proxy.bedrock.credentials import Credentials, SigV4, State, hash_body
from proxy.bedrock.signing import body_hash, sign
from proxy.bedrock.worker import Worker
from proxy.errors import ProxyError

pytestmark = pytest.mark.anyio

URL = httpx.URL("https://bedrock-runtime.us-east-1.amazonaws.com/model/a%3A0/converse?b=c%2Fd")
HOST = {"host": URL.host, "content-type": "application/json"}


class Made:
    """An engine over a made source, with a clock that a test turns."""

    def __init__(self, **options: object) -> None:
        self.now = 1_000_000.0
        self.serial = 1
        self.life: float | None = None
        self.fails: Exception | None = None
        self.files: tuple[tuple[str, int, int], ...] = ()
        self.hold = threading.Event()
        self.hold.set()
        self.loads = 0
        self.seen: list[tuple[str, str]] = []
        self.worker = Worker()
        self.engine = Credentials(
            self.load,
            self.worker,
            mark=lambda: self.files,
            clock=lambda: self.now,
            jitter=lambda: 0.0,
            observe=lambda source, outcome, expiry: self.seen.append((source, outcome)),
            **options,  # type: ignore[arg-type]
        )

    def load(self) -> Keys:
        self.loads += 1
        assert threading.current_thread() is not threading.main_thread()
        serial = self.serial  # as a source that reads its file and then hangs
        self.hold.wait(5)
        if self.fails is not None:
            raise self.fails
        expiry = None if self.life is None else self.now + self.life
        return Keys(f"AKIA{serial}", "s", f"T{serial}", source="made", expiry=expiry)

    async def sent(self) -> dict[str, str]:
        return await SigV4(self.engine, "us-east-1").authorize("POST", URL, HOST, b"{}")


@pytest.fixture
async def made():
    one = Made()
    yield one
    one.hold.set()
    await one.engine.close()
    one.worker.close()


def refused(message: str = "The security token included in the request is expired", **more):
    error = ProxyError(503, message, code="upstream_credentials", retry="credentials")
    error.server_date = more.get("date")
    return error


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not true():  # noqa: ASYNC110  # it waits for what another thread did
            await asyncio.sleep(0.005)


async def test_fifty_waiters_are_one_look(made) -> None:
    made.hold.clear()
    waiting = [asyncio.create_task(made.engine.keys()) for _ in range(50)]
    await asyncio.sleep(0.05)
    made.hold.set()  # which a loop that is held up would never come to
    assert {keys.access_key for keys in await asyncio.gather(*waiting)} == {"AKIA1"}
    assert made.loads == 1


async def test_a_waiter_that_leaves_takes_nobody_with_it(made) -> None:
    made.hold.clear()
    first, second = (asyncio.create_task(made.engine.keys()) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    made.hold.set()
    assert (await second).access_key == "AKIA1"
    assert first.cancelled()


async def test_valid_credentials_are_read_without_a_look(made) -> None:
    made.life = 3600
    await made.engine.keys()
    made.fails = Unavailable("down", "Down")
    made.now += 3600 - 61
    assert (await made.engine.keys()).access_key == "AKIA1"
    assert made.loads == 1


async def test_the_last_minute_waits_but_keeps_what_is_valid(made) -> None:
    made.life = 3600
    await made.engine.keys()
    made.fails = Unavailable("down", "Down")
    made.now += 3600 - 30
    assert (await made.engine.keys()).access_key == "AKIA1"
    assert made.loads == 2
    assert made.engine.state().ok
    assert made.engine.state().error == "Down"
    made.fails, made.serial, made.now = None, 2, made.now + 5
    assert (await made.engine.keys()).access_key == "AKIA2"


async def test_expired_and_failing_is_a_503_with_a_wait(made, caplog) -> None:
    made.life = 3600
    await made.engine.keys()
    made.fails = Unavailable("not for arn:aws:iam::123456789012:role/x", "Down")
    made.now += 3601
    with pytest.raises(ProxyError) as caught:
        await made.engine.keys()
    error = caught.value
    assert (error.status, error.code) == (503, "upstream_credentials")
    assert error.retry_after is not None
    assert 1 <= error.retry_after <= 30
    assert "arn:" not in error.message + caplog.text
    assert "(Down): not for <arn>" in caplog.text
    assert made.engine.state() == State(
        "sigv4", "made", ok=False, expiry=1_003_600.0, error="Down", absent=False
    )


async def test_while_failing_requests_fail_at_once_and_recover_soon(made) -> None:
    made.fails = Unavailable("nothing", "NoCredentials", absent=True)
    for _ in range(20):
        with pytest.raises(ProxyError):
            await made.engine.keys()
    assert made.loads == 1
    assert made.engine.state().absent
    made.fails, made.now = None, made.now + 2.1
    assert (await made.engine.keys()).access_key == "AKIA1"
    assert made.seen == [("none", "NoCredentials"), ("made", "ok")]


async def test_a_source_that_hangs_costs_all_the_same_patience(made) -> None:
    made.engine._patience = 0.4
    made.hold.clear()
    began = time.monotonic()
    results = await asyncio.gather(*(made.engine.keys() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(r, ProxyError) and r.status == 503 for r in results)
    assert "in time" in str(results[0])
    made.hold.set()
    await until(lambda: made.engine.state().ok)
    assert made.loads == 1
    assert time.monotonic() - began < 1.8  # each for itself: two seconds


async def test_who_comes_late_to_a_hanging_source_waits_no_longer(made) -> None:
    made.hold.clear()
    first = asyncio.create_task(made.engine.keys())
    await until(lambda: made.loads == 1)
    made.now += 60
    began = time.monotonic()
    with pytest.raises(ProxyError):
        await made.engine.keys()
    assert time.monotonic() - began < 5  # of the ten seconds, all were gone
    made.hold.set()
    assert (await first).access_key == "AKIA1"


async def test_expired_credentials_from_a_source_are_a_failure(made) -> None:
    made.life = -5
    with pytest.raises(ProxyError):
        await made.engine.keys()
    assert made.engine.state().error == "Expired"


async def test_renewal_runs_ahead_of_expiry(made, monkeypatch) -> None:
    monkeypatch.setattr("proxy.bedrock.credentials._WATCH", 0.005)
    made.life = 3600
    made.engine.start()
    await until(lambda: made.loads == 1 and made.engine.state().ok)
    made.now += 3600 - 901
    await asyncio.sleep(0.03)
    assert made.loads == 1
    made.serial, made.now = 2, made.now + 2
    await until(lambda: made.loads == 2)
    assert (await made.engine.keys()).access_key == "AKIA2"


@pytest.mark.parametrize("put_off", [0, 1300])
async def test_a_source_that_has_not_rotated_yet_is_asked_again_soon(
    made, monkeypatch, put_off
) -> None:
    """Metadata services hand out the same set until minutes before its end; botocore puts the
    expiry of such a set off."""
    monkeypatch.setattr("proxy.bedrock.credentials._WATCH", 0.005)
    end = made.now + 3600
    calls = []

    def load() -> Keys:
        calls.append(1)
        expiry = end if len(calls) == 1 else max(end, made.now + put_off)
        return Keys("ASIA1", "s", "T", source="iam-role", expiry=expiry)

    made.engine._load = load
    made.engine.start()
    await until(lambda: bool(calls))
    await asyncio.sleep(0.02)
    made.now += 3600 - 890
    await until(lambda: len(calls) == 2)
    await asyncio.sleep(0.02)
    made.now += 1
    await until(lambda: len(calls) == 3)


async def test_a_changed_file_is_looked_at(made, monkeypatch) -> None:
    monkeypatch.setattr("proxy.bedrock.credentials._WATCH", 0.005)
    made.engine.start()
    await until(lambda: made.engine.state().ok)
    await asyncio.sleep(0.03)
    assert made.loads == 1
    made.serial, made.files = 2, (("credentials", 1, 1),)
    await until(lambda: made.loads == 2)
    assert (await made.engine.keys()).access_key == "AKIA2"


async def test_an_unforeseen_fault_is_a_failure_that_is_told(made, monkeypatch, caplog) -> None:
    monkeypatch.setattr("proxy.bedrock.credentials._WATCH", 0.001)
    made.fails = AttributeError("a bug")
    made.engine.start()
    with pytest.raises(ProxyError) as caught:
        await made.engine.keys()
    assert "are not available" in caught.value.message
    await asyncio.sleep(0.03)
    assert made.loads == 1  # it does not spin
    with pytest.raises(ProxyError):  # nor does every request ask anew
        await made.engine.keys()
    assert made.loads == 1
    assert (made.engine.state().error, made.engine.state().absent) == ("AttributeError", False)
    assert made.seen == [("none", "AttributeError")]
    [told] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert isinstance(told.exc_info[1], AttributeError)


async def test_an_unforeseen_fault_heals_like_others(made) -> None:
    made.fails = AttributeError("a bug")
    await made.engine.settled(5)
    made.fails, made.now = None, made.now + 5
    assert (await made.engine.keys()).access_key == "AKIA1"
    assert made.engine.state().error is None
    assert [outcome for _, outcome in made.seen] == ["AttributeError", "ok"]


async def test_a_watch_over_the_files_that_fails_is_told(made, monkeypatch, caplog) -> None:
    def broken() -> tuple[tuple[str, int, int], ...]:
        raise LookupError("a bug")

    monkeypatch.setattr("proxy.bedrock.credentials._WATCH", 0.001)
    await made.engine.keys()
    monkeypatch.setattr(made.engine, "_mark", broken)
    made.engine.start()
    await asyncio.sleep(0.05)
    assert any("credentials ended unexpectedly" in r.getMessage() for r in caplog.records)


# ---- after AWS refused --------------------------------------------------------------------------


async def test_refused_keys_are_looked_up_once_for_all(made) -> None:
    sent = [await made.sent() for _ in range(10)]
    made.serial = 2
    results = await asyncio.gather(*(made.engine.renew(refused(), s) for s in sent))
    assert results == [True] * 10
    assert made.loads == 2
    assert "AKIA2" in (await made.sent())["authorization"]
    assert await made.engine.renew(refused(), sent[0])  # late: has been renewed already
    assert made.loads == 2


async def test_refused_keys_that_stay_the_same_are_not_tried_again(made) -> None:
    sent = await made.sent()
    assert not await made.engine.renew(refused(), sent)
    assert not await made.engine.renew(refused(), sent)
    assert made.loads == 2  # the second refusal is held for a while
    made.now += 6
    made.serial = 2
    assert await made.engine.renew(refused(), sent)


async def test_a_look_under_way_may_have_read_the_old_file(made) -> None:
    sent = await made.sent()
    made.hold.clear()
    made.engine._renew()
    await until(lambda: made.loads == 2)
    made.serial = 2
    renewing = asyncio.create_task(made.engine.renew(refused(), sent))
    await asyncio.sleep(0.01)
    made.hold.set()
    assert await renewing
    assert made.loads == 3


async def test_renewal_without_knowing_what_was_sent(made) -> None:
    await made.engine.keys()
    made.now += 60
    assert not await made.engine.renew(refused())
    made.now += 60
    made.serial = 2
    assert await made.engine.renew(refused())
    assert await made.engine.renew(refused())  # just set right for another request


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
@pytest.mark.parametrize("by", ["date", "message"])
async def test_clock_is_corrected(made, ahead, by) -> None:
    sent = await made.sent()
    server = made.now + ahead
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(server))
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(server))
    text = f"Signature expired: {sent['x-amz-date']} is now earlier than X ({stamp} - 5 min.)"
    error = refused(text) if by == "message" else refused("Signature wrong", date=date)
    assert await made.engine.renew(error, sent)
    assert made.loads == 1
    assert (await made.sent())["x-amz-date"] == stamp
    assert made.engine.state().skew == pytest.approx(ahead, abs=1)
    assert await made.engine.renew(error, sent)  # a second request of before the correction
    assert made.engine.state().skew == pytest.approx(ahead, abs=1)


async def test_a_good_clock_is_left_alone(made) -> None:
    sent = await made.sent()
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(made.now + 100))
    assert not await made.engine.renew(refused(date=date), sent)
    assert made.engine.state().skew == 0.0
    assert not await made.engine.renew(refused(date="yesterday"), sent)


# ---- authorizers --------------------------------------------------------------------------------


async def test_signs_what_is_sent(made) -> None:
    keys = await made.engine.keys()
    expected = sign(
        "POST", "/model/a%3A0/converse", "b=c%2Fd", HOST, b"{}", keys, "us-east-1",
        datetime.fromtimestamp(made.now, UTC),
    )  # fmt: skip
    assert await made.sent() == expected
    by_url = SigV4(made.engine, lambda url: "us-east-1" if "east" in url.host else "x")
    assert await by_url.authorize("POST", URL, HOST, b"{}") == expected
    kept = SigV4(made.engine, "us-east-1")
    given = await kept.authorize("POST", URL, HOST, b"x", payload_hash=body_hash(b"{}"))
    assert given == expected


@pytest.mark.parametrize("size", [0, 10, (1 << 19) + 1])
async def test_hash_body(size) -> None:
    assert await hash_body(b"x" * size) == body_hash(b"x" * size)


async def test_bearer() -> None:
    key = Bearer("bedrock-key")
    assert await key.authorize("GET", URL, {}, b"") == {"authorization": "Bearer bedrock-key"}
    assert not await key.renew(refused())
    assert "bedrock-key" not in repr(key)
    state = key.state()
    assert (state.mode, state.ok, state.expiry) == ("bearer", True, None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
async def test_bearer_over_http_to_loopback_only(host) -> None:
    assert await Bearer("k").authorize("GET", httpx.URL(f"http://{host}:1/"), {}, b"")


@pytest.mark.parametrize("host", ["bedrock.example", "10.0.0.1", "localhost.evil.example"])
async def test_bearer_is_never_sent_in_the_clear(host) -> None:
    with pytest.raises(ProxyError) as caught:
        await Bearer("k").authorize("GET", httpx.URL(f"http://{host}/"), {}, b"")
    assert (caught.value.status, caught.value.code) == (503, "upstream_credentials")
    assert not is_loopback(host)


@pytest.mark.parametrize("key", ["", "a b", "a\r\nx: y", "é", "x" * 9000])
async def test_what_cannot_be_a_key(key) -> None:
    with pytest.raises(ProxyError) as caught:
        Bearer(key)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


async def test_short_term_keys_tell_their_end() -> None:
    url = (
        "bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Date=20260102T030405Z"
        "&X-Amz-Expires=43200&Version=1"
    )
    key = "bedrock-api-key-" + base64.b64encode(url.encode()).decode()
    end = 1767323045 + 43200
    assert key_expiry(key) == end
    assert Bearer(key, clock=lambda: end - 1.0).state().ok
    late = Bearer(key, clock=lambda: end + 1.0).state()
    assert (late.ok, late.error, late.expiry) == (False, "Expired", end)


@pytest.mark.parametrize("key", ["ABSK-long-term", "bedrock-api-key-%%%", "bedrock-api-key-eA"])
async def test_other_keys_tell_none(key) -> None:
    assert key_expiry(key) is None


# ---- with a real chain --------------------------------------------------------------------------


async def real(machine, **options) -> tuple[Credentials, Worker]:
    worker = Worker()
    chain = Chain(machine.environment, region="us-east-1")
    return Credentials.over(chain, worker, **options), worker


async def test_rotated_file_is_picked_up_on_the_first_refusal(machine) -> None:
    machine.keys("AKIAONE")
    engine, worker = await real(machine)
    signer = SigV4(engine, "us-east-1")
    sent = await signer.authorize("POST", URL, HOST, b"{}")
    machine.keys("AKIATWO")
    assert await signer.renew(refused(), sent)
    assert "AKIATWO" in (await signer.authorize("POST", URL, HOST, b"{}"))["authorization"]
    worker.close()


async def test_instance_role_while_slow_then_dead(machine, fake) -> None:
    """A slow metadata service: the loop stays free; a dead one: what is valid is kept."""
    machine.unset("AWS_EC2_METADATA_DISABLED")
    machine.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=fake.url)
    fake.delay = 0.2  # three calls: 0.6 s
    engine, worker = await real(machine)
    engine.start()
    turns = 0
    waiting = asyncio.gather(*(engine.keys() for _ in range(50)))
    while not waiting.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert {keys.access_key for keys in waiting.result()} == {"ASIA1"}
    assert fake.calls["imds"] == 1
    assert turns > 15  # of some sixty
    fake.delay, fake.status = 0.0, 500
    assert not await engine.renew(
        refused(), await SigV4(engine, "r").authorize("GET", URL, HOST, b"")
    )
    assert engine.state().ok
    assert engine.state().error == "NoCredentials"
    assert engine.identity() == ("iam-role", "", "")
    await engine.close()
    worker.close()


async def test_nothing_to_find_is_told_apart(machine) -> None:
    engine, worker = await real(machine)
    state = await engine.settled(5)
    assert (state.ok, state.absent, state.error) == (False, True, "NoCredentials")
    assert engine.identity() == ("", "", "")
    worker.close()


IMPORTS = """
import asyncio, sys, threading
import proxy.bedrock.bearer, proxy.bedrock.discovery, proxy.bedrock.regions, proxy.bedrock.sources
from proxy.bedrock.chain import Chain
from proxy.bedrock.credentials import Credentials
from proxy.bedrock.worker import Worker

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("botocore", "botocore.auth"):
            print(name, threading.current_thread() is threading.main_thread())

async def main():
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    await Credentials.over(Chain(keys, region="us-east-1"), Worker()).keys()

sys.meta_path.insert(0, Watch())
print(sorted(name for name in sys.modules if name.startswith("botocore")))
asyncio.run(main())
"""


async def test_botocore_is_imported_in_the_thread_and_only_when_it_signs() -> None:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["[]", "botocore False", "botocore.auth False", ""]
