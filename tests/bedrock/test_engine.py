"""What the environment says of the network: followed, or refused by the name of its variable."""

import re
import sys
from pathlib import Path

import pytest

from proxy.bedrock.engine import open_engines

HOST = "bedrock-runtime.us-east-1.amazonaws.com"


def test_a_bundle_that_cannot_be_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing of the kind")
    for bundle, says in (
        (empty, "contains no certificates"),
        (tmp_path / "none.pem", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ValueError, match=f"^AWS_CA_BUNDLE: {re.escape(str(bundle))}.*{says}"):
            open_engines({"AWS_CA_BUNDLE": str(bundle)}, HOST)


@pytest.mark.parametrize("proxy", ["bogus://u:secret@proxy:1", "http://u:secret@proxy:many"])
def test_a_proxy_that_is_none(proxy: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: must be like http://host:3128$") as caught:
        open_engines({"HTTPS_PROXY": proxy}, HOST)
    assert "secret" not in str(caught.value)


def test_a_socks_proxy_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: a SOCKS proxy needs the package socksio"):
        open_engines({"HTTPS_PROXY": "socks5://proxy:1080"}, HOST)
