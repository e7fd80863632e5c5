"""What leaves the process says nothing, and opens only here and under its own name."""

import pytest

pytest.importorskip("cryptography", reason="the extra `valkey` is not installed")

from proxy.memory.sealing import Sealer

SECRET = "a secret of some length"
VALUE = b"signed reasoning of a tool turn" * 20


def test_a_sealed_value_opens_under_its_name() -> None:
    sealer, same = Sealer(SECRET), Sealer(SECRET)
    name = sealer.name("tenant", "call")
    sealed = sealer.seal(name, VALUE)
    assert same.name("tenant", "call") == name
    assert same.open(name, sealed) == VALUE
    assert b"reasoning" not in sealed
    assert sealer.seal(name, VALUE) != sealed


def test_names_tell_owners_and_keys_apart_and_hide_them() -> None:
    sealer = Sealer(SECRET)
    names = [
        sealer.name("ab", "c"), sealer.name("a", "bc"), sealer.name("", "abc"),
        sealer.name("1:a", "bc"), Sealer(SECRET + "!").name("ab", "c"),
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert all(len(name) == 64 for name in names)


def test_nothing_opens_under_another_name_or_secret_or_after_a_change() -> None:
    sealer = Sealer(SECRET)
    name, other = sealer.name("ann", "k"), sealer.name("bob", "k")
    sealed = sealer.seal(name, VALUE)
    assert sealer.open(other, sealed) is None
    assert Sealer("another secret of length").open(name, sealed) is None
    for at in range(0, len(sealed), 7):
        broken = bytes(byte ^ (at == n) for n, byte in enumerate(sealed))
        assert sealer.open(name, broken) is None
    for cut in (0, 1, 12, 13, len(sealed) - 1):
        assert sealer.open(name, sealed[:cut]) is None
    assert sealer.open(name, b"\x02" + sealed[1:]) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        Sealer("too short")
