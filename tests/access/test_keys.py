"""Keys: what a file means, whose a key is, and that a broken file changes nothing."""

import asyncio
import hashlib
import hmac
import logging
import os
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from proxy.access import keys as keys_module
from proxy.access.hashing import hash_chosen, hash_minted, mint_key, parse_hash
from proxy.access.key_sources import FileSource, SecretSource, check_file
from proxy.access.keyfile import KeysError, parse_keys
from proxy.access.keys import Keyring, KeyStore
from proxy.access.tenant import Allowance, Tenant
from proxy.errors import ProxyError

pytestmark = pytest.mark.anyio
KEY = "bop_" + "k" * 43  # fixed: it names test cases
CHOSEN = "correct-horse-battery"
CHOSEN_HASH = hash_chosen(CHOSEN)  # 50 ms: made once


def table(name: str, *lines: str, key: str = KEY) -> str:
    return "\n".join([f"[keys.{name}]", f'hash = "{hash_minted(key)}"', *lines, ""])


async def refused(ring: Keyring | KeyStore, key: str) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await ring.lookup(key.encode())
    return caught.value


def test_every_field_of_an_entry_is_read() -> None:
    (entry,) = parse_keys(
        table(
            "alice",
            "created = 2026-01-01",
            "expires = 2027-01-01T02:00:00+02:00",
            'models = ["anthropic.*", "amazon.nova-*"]',
            "streams = 3",
            "requests_per_minute = 60",
            "tokens_per_minute = 100_000",
            "daily_budget_usd = 2.5",
            'service_tier = "flex"',
            'request_metadata = { team = "search" }',
            'guardrail = { guardrailIdentifier = "g1", guardrailVersion = "7" }',
        )
    )
    assert entry.tenant == Tenant(
        "alice",
        ("anthropic.*", "amazon.nova-*"),
        Allowance(3, 60, 100_000, 2.5),
        {"guardrailIdentifier": "g1", "guardrailVersion": "7"},
        {"team": "search"},
        "flex",
    )
    assert (entry.created, entry.expires) == (1767225600.0, 1798761600.0)
    assert not entry.revoked


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[keys.a", "not valid TOML"),
        ("a = " + "[" * 20_000, "not valid TOML"),
        ("a = " + "1" * 5_000, "not valid TOML"),
        ("x = 1", "`x` does not belong in a keys file"),
        ("keys = 1", "one table per key"),
        ("[keys.a]\n", "[keys.a]: `hash` is missing"),
        ('[keys.a]\nhash = "md5:00"', "[keys.a]: `hash` must be sha256:"),
        ('[keys.a]\nhash = "scrypt:n=32768,r=8,p=9:AAAAAAAAAAAAAAAA:' + "A" * 44 + '"', "64 MB"),
        ('[keys.a]\nhash = "scrypt:n=1024,r=8,p=1:AAAAAAAAAAAAAAAA:' + "A" * 44 + '"', "16384"),
        ("[keys.a]\nhash = 1", "`hash` must be text"),
        (table("a", "requets_per_minute = 1"), "did you mean `requests_per_minute`?"),
        (table("a", "streams = 0"), "whole numbers, at least 1"),
        (table("a", "streams = true"), "whole numbers, at least 1"),
        (table("a", "daily_budget_usd = 0"), "above 0"),
        (table("a", "daily_budget_usd = nan"), "above 0"),
        (table("a", 'expires = "2027-01-01"'), "without quotes"),
        (table("a", "models = []"), "leave it out"),
        (table("a", 'models = "x"'), "list of globs"),
        (table("a", 'service_tier = "fast"'), "must be one of default, flex"),
        (table("a", 'request_metadata = { a = "é" }'), "AWS does not accept"),
        (table("a", "request_metadata = { }"), "1 to 16"),
        (table("a", 'guardrail = { guardrailIdentifier = "g" }'), "needs guardrailIdentifier and"),
        (table("a", 'guardrail = { id = "g" }'), "`guardrail.id` must be one of"),
        (table('"a/b"'), "a key's name is"),
        (table("default"), "reserved"),
        (table("anonymous"), "reserved"),
        (table("a") + table("b"), "[keys.b] has the same hash as [keys.a]"),
    ],
)
def test_a_fault_is_told_with_its_place_and_without_a_hash(text: str, told: str) -> None:
    with pytest.raises(KeysError) as caught:
        parse_keys(text)
    assert told in str(caught.value)
    assert hash_minted(KEY).removeprefix("sha256:") not in str(caught.value)


def test_few_keys_may_be_chosen_by_people() -> None:
    text = "".join(
        f'[keys.k{at}]\nhash = "scrypt:n=16384,r=8,p=1:{"A" * 22}==:'
        f'{b64encode(bytes([at]) * 32).decode()}"\n'
        for at in range(17)
    )
    assert len(parse_keys(text[: text.index("[keys.k16]")])) == 16
    with pytest.raises(KeysError, match="at most 16"):
        parse_keys(text)


@pytest.mark.parametrize(
    "weak", ["short", "x" * 513, "with space in it", "ümlaut-ümlaut", "bop_" + "x" * 20]
)
def test_a_weak_or_unsendable_key_is_not_taken(weak: str) -> None:
    with pytest.raises(ValueError, match=r"chosen key|generated keys"):
        hash_chosen(weak)


def test_minted_keys_are_long_and_never_the_same() -> None:
    keys = {mint_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("bop_") and len(key) == 47 for key in keys)
    assert parse_hash(hash_minted(KEY)).digest == hashlib.sha256(KEY.encode()).digest()


@pytest.mark.parametrize(
    ("globs", "names", "allowed"),
    [
        ((), ("anything",), True),
        (("anthropic.*",), ("anthropic.claude-x-v1:0",), True),
        (("anthropic.*",), ("us.anthropic.claude-x", "us.anthropic.claude-x"), False),
        (("anthropic.*",), ("alias", "us.anthropic.claude-x", "anthropic.claude-x"), True),
        (("team-*",), ("team-small", "amazon.nova-micro-v1:0"), True),
        (("Team-*",), ("TEAM-small", "x"), True),
        (("a*", "b*"), ("c", "d", ""), False),
        (("*",), ("arn:aws:bedrock:us-east-1:1:provisioned-model/x",), True),
    ],
)  # fmt: skip
def test_models_are_allowed_by_globs(
    globs: tuple[str, ...], names: tuple[str, ...], allowed: bool
) -> None:
    tenant = Tenant("a", globs)
    assert tenant.may_use(*names) is allowed
    if allowed:
        tenant.check_model(names[0], *names)
        return
    with pytest.raises(ProxyError) as caught:
        tenant.check_model(names[0], *names)
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        403, "model_not_allowed", "model",
    )  # fmt: skip


async def test_a_key_opens_until_it_ends() -> None:
    now = [1798761599.0]
    ring = Keyring(parse_keys(table("a", "expires = 2027-01-01")), lambda: now[0])
    assert (await ring.lookup(KEY.encode())).name == "a"
    now[0] += 1
    assert (await refused(ring, KEY)).message == "The API key has expired."


async def test_a_revoked_key_is_as_unknown_as_any_other() -> None:
    for mark in ("revoked = 2026-01-01T00:00:00Z", "revoked = true"):
        ring = Keyring(parse_keys(table("a", mark)))
        known, unknown = await refused(ring, KEY), await refused(ring, mint_key())
        assert (known.status, known.code, known.message) == (
            unknown.status, unknown.code, unknown.message,
        )  # fmt: skip
        assert (known.status, known.code) == (401, "invalid_api_key")


async def test_a_lookup_compares_once_whether_it_finds_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Hmac:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(keys_module, "hmac", Hmac)
    ring = Keyring(parse_keys(table("a") + table("b", key="bop_other")))
    await ring.lookup(KEY.encode())
    for wrong in (KEY[:-1], KEY + "x", "", "bop_", "\0" * 4000):
        await refused(ring, wrong)
    assert len(compared) == 6
    assert all(len(one) == len(other) == 32 for one, other in compared)  # digests, never keys


async def test_a_chosen_key_is_proven_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bytes] = []
    ring = Keyring(parse_keys(f'[keys.human]\nhash = "{CHOSEN_HASH}"\n' + table("a")))
    prove = ring._prove
    monkeypatch.setattr(ring, "_prove", lambda shown: (tried.append(shown), prove(shown))[1])
    for _ in range(3):
        assert (await ring.lookup(CHOSEN.encode())).name == "human"
        assert (await ring.lookup(KEY.encode())).name == "a"
        assert (await refused(ring, "wrong-but-long-enough")).status == 401
        assert (await refused(ring, mint_key())).status == 401
        assert (await refused(ring, "x" * 5000)).status == 401
    assert tried == [CHOSEN.encode(), b"wrong-but-long-enough"]


async def test_guessing_does_not_pile_up_and_does_not_hinder_the_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring = Keyring(parse_keys(f'[keys.human]\nhash = "{CHOSEN_HASH}"\n' + table("a")))
    assert (await ring.lookup(CHOSEN.encode())).name == "human"
    monkeypatch.setattr(ring, "_prove", lambda shown: time.sleep(0.02))
    guesses = [asyncio.ensure_future(refused(ring, f"guess-number-{at}")) for at in range(20)]
    await asyncio.sleep(0)
    assert (await ring.lookup(CHOSEN.encode())).name == "human"
    assert (await ring.lookup(KEY.encode())).name == "a"
    statuses = sorted([(await guess).status for guess in guesses])
    assert statuses == [401] * 8 + [429] * 12


async def test_the_memory_of_wrong_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_REMEMBERED", 5)
    ring = Keyring(parse_keys(f'[keys.human]\nhash = "{CHOSEN_HASH}"\n'))
    monkeypatch.setattr(ring, "_prove", lambda shown: None)
    for at in range(20):
        await refused(ring, f"guess-number-{at}")
    assert len(ring._disproven) == 5


async def test_the_single_key_works_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(table("a"))
    store = KeyStore(FileSource(file), single="sk-single")
    await store.load()
    assert (await store.lookup(b"sk-single")).name == "default"
    assert (await store.lookup(KEY.encode())).name == "a"


async def until(condition: Any, seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # another thread and a timer decide
            await asyncio.sleep(0.005)


async def test_a_changed_file_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bedrock_openai_proxy")
    file = tmp_path / "keys.toml"
    file.write_text(table("a"))
    outcomes: list[str] = []
    store = KeyStore(FileSource(file, interval=0.01), observe=outcomes.append)
    await store.load()
    store.start()
    other = mint_key()
    try:
        file.write_text(table("a") + table("b", key=other))
        await until(lambda: len(store) == 2)
        assert (await store.lookup(other.encode())).name == "b"

        file.write_text(table("a") + "[keys.b\n")
        await until(lambda: "failed" in outcomes)
        await asyncio.sleep(0.05)
        assert (await store.lookup(other.encode())).name == "b"
        assert [r.message for r in caplog.records if r.levelname == "ERROR"] == [
            "the API keys were not reloaded; the old ones stay in force"
        ]

        file.unlink()
        await asyncio.sleep(0.05)
        assert (await store.lookup(other.encode())).name == "b"

        file.write_text(table("a"))
        await until(lambda: len(store) == 1)
        assert (await refused(store, other)).status == 401
    finally:
        await store.close()
    assert all(KEY not in str(r.__dict__) for r in caplog.records)


async def test_an_edit_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    """As ``cp --preserve`` and ``rsync --times`` leave it, when a revoked key is replaced."""
    file = tmp_path / "keys.toml"
    file.write_text(table("abc"))
    before = file.stat()
    source = FileSource(file)
    assert await source.read(force=False) == table("abc")
    assert await source.read(force=False) is None
    file.write_text(table("xyz"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await source.read(force=False) == table("xyz")


async def test_a_pipe_in_place_of_the_file_holds_up_nothing(tmp_path: Path) -> None:
    """To open one waits for whoever writes to it, and with it all looks at the file to come."""
    pipe = tmp_path / "keys.toml"
    os.mkfifo(pipe)
    with pytest.raises(KeysError, match="is a pipe or device"):
        await asyncio.wait_for(FileSource(pipe).read(force=True), 5)
    with pytest.raises(KeysError, match="is a pipe or device"):
        check_file(pipe)


async def test_sighup_looks_at_once_even_at_an_unchanged_stamp(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(table("abc"))
    before = file.stat()
    taken: list[str] = []
    store = KeyStore(FileSource(file, interval=3600), observe=taken.append)
    await store.load()
    store.start()
    with file.open("r+") as same:  # same inode, size and times: only a forced look can tell
        same.write(table("xyz"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    await asyncio.sleep(0.05)
    assert (await store.lookup(KEY.encode())).name == "abc"
    taken.clear()
    store.reload()
    try:
        await until(lambda: taken)
        assert (await store.lookup(KEY.encode())).name == "xyz"
    finally:
        await store.close()


async def test_a_swapped_symbolic_link_is_seen(tmp_path: Path) -> None:
    """As orchestrators mount secrets."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(table(name))
    link = tmp_path / "keys.toml"
    link.symlink_to("one")
    source = FileSource(link)
    assert "[keys.one]" in (await source.read(False) or "")
    assert await source.read(False) is None
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", link)
    assert "[keys.two]" in (await source.read(False) or "")


async def test_a_source_that_was_never_read_is_no_401(tmp_path: Path) -> None:
    async def fetch() -> str:
        if not found:
            raise ProxyError(502, "Bedrock cannot be reached.", code="upstream_unreachable")
        return found[0]

    found: list[str] = []
    store = KeyStore(SecretSource("ssm:keys", fetch, interval=0.01), single="sk-single")
    with pytest.raises(KeysError, match="ssm:keys: Bedrock cannot be reached"):
        await store.load()
    assert not store.ready
    assert (await refused(store, KEY)).status == 503
    assert (await store.lookup(b"sk-single")).name == "default"
    store.start()
    found.append(table("a"))
    try:
        await until(lambda: store.ready)
        assert (await store.lookup(KEY.encode())).name == "a"
    finally:
        await store.close()


async def test_a_change_that_could_not_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor was free just then: the change (a revoked key, say) is not lost."""
    file = tmp_path / "keys.toml"
    file.write_text(table("a"))
    source = FileSource(file)
    await source.read(False)
    file.write_text(table("a") + table("b", key=mint_key()))
    with monkeypatch.context() as full:

        def no_descriptor(path: Path) -> bytes:
            raise OSError(24, "Too many open files")

        full.setattr(Path, "read_bytes", no_descriptor)
        with pytest.raises(OSError, match="Too many open files"):
            await source.read(False)
    assert "[keys.b]" in (await source.read(False) or "")


async def test_a_watch_that_fails_unforeseen_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        interval, name = 0.001, "made"

        async def read(self, force: bool) -> str | None:
            raise LookupError("a bug")

    store = KeyStore(Broken())
    store.start()
    await until(lambda: caplog.records)
    await store.close()
    assert caplog.records[0].getMessage() == "the task keys ended unexpectedly"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 4_000_001, b"[keys"])
async def test_unreadable_files_are_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys.toml"
    file.write_bytes(content)
    with pytest.raises(KeysError, match=r"keys\.toml: (not|over)"):
        await KeyStore(FileSource(file)).load()
