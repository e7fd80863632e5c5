"""What an operator hears of a server that cannot be meant; the rest is shown by who uses it."""

import sys

import pytest

from proxy.valkey import connect


@pytest.mark.parametrize("url", ["http://127.0.0.1", "nonsense"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    pytest.importorskip("redis", reason="the redis package (extra `valkey`) is not installed")
    with pytest.raises(ValueError, match="must be like redis://"):
        connect(url)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ValueError, match=r"bedrock-openai-proxy\[valkey\]"):
        connect("redis://127.0.0.1")
