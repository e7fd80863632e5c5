"""``keys create|list|revoke``: the key is shown once, the file stays whole and private."""

import asyncio
import stat
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.keyedit import add_key, drop_key, revoke_key
from proxy.access.keyfile import parse_keys, read_tree
from proxy.access.keys import Keyring
from proxy.access.tenant import Allowance, Tenant
from proxy.cli.keys import command
from proxy.errors import ProxyError

HASH = "sha256:" + "ab" * 32


def keys(file: Path, *words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(command, [*words, "--file", str(file)], input=input)


def whose(file: Path, key: str) -> Tenant:
    ring = Keyring(parse_keys(file.read_text()))
    return asyncio.run(ring.lookup(key.encode()))


def test_a_created_key_opens_and_is_written_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    made = keys(
        file, "create", "team.a", "--expires", "90d", "--model", "anthropic.*", "--model", "x-*",
        "--streams", "2", "--requests-per-minute", "5", "--tokens-per-minute", "1000",
        "--daily-budget-usd", "1.5", "--service-tier", "flex", "--metadata", "team=a=b",
        "--guardrail", "arn:aws:bedrock:us-east-1:123456789012:guardrail/g1:3",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    assert key.startswith("bop_")
    assert made.stdout == key + "\n"  # alone on standard output
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]  # nothing left behind
    assert whose(file, key) == Tenant(
        "team.a",
        ("anthropic.*", "x-*"),
        Allowance(2, 5, 1000, 1.5),
        {
            "guardrailIdentifier": "arn:aws:bedrock:us-east-1:123456789012:guardrail/g1",
            "guardrailVersion": "3",
        },
        {"team": "a=b"},
        "flex",
    )


def test_a_chosen_key_is_read_from_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    made = keys(file, "create", "bob", "--choose", input="a-long-passphrase\n")
    assert (made.exit_code, made.stdout) == (0, "")
    assert "scrypt:" in file.read_text()
    assert whose(file, "a-long-passphrase").name == "bob"
    assert keys(file, "create", "eve", "--choose", input="short\n").exit_code == 2
    assert "eve" not in file.read_text()


def test_list_shows_states_and_no_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(
        f'[keys.old]\nhash = "{HASH}"\nexpires = 2020-01-01\ncreated = 2019-01-01\n'
        f'[keys.gone]\nhash = "{HASH[:-2]}ff"\nrevoked = true\n'
        f'[keys.new]\nhash = "{HASH[:-2]}00"\nmodels = ["a*"]\ndaily_budget_usd = 5\nstreams = 2\n'
    )
    listed = keys(file, "list")
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["NAME", "STATE", "CREATED", "EXPIRES", "MODELS", "LIMITS"],
        ["old", "expired", "2019-01-01", "2020-01-01", "all", "none"],
        ["gone", "revoked", "-", "-", "all", "none"],
        ["new", "active", "-", "-", "a*", "2", "streams,", "$5/day"],
    ]
    assert "abab" not in listed.output
    told = orjson.loads(keys(file, "list", "--json").stdout)
    assert [(one["name"], one["state"]) for one in told["keys"]] == [
        ("old", "expired"), ("gone", "revoked"), ("new", "active"),
    ]  # fmt: skip
    assert told["keys"][0]["expires"] == "2020-01-01T00:00:00+00:00"
    assert told["keys"][2] == {
        "name": "new", "state": "active", "created": None, "expires": None, "models": ["a*"],
        "streams": 2, "requests_per_minute": None, "tokens_per_minute": None,
        "daily_budget_usd": 5.0,
    }  # fmt: skip


def test_revoke_ends_a_key_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("# ours\n\n[keys.first]  # the first\nhash = '" + HASH + "' # note\n")
    key = keys(file, "create", "second").stdout.strip()
    assert whose(file, key).name == "second"
    assert keys(file, "revoke", "second").exit_code == 0
    with pytest.raises(ProxyError):
        whose(file, key)
    assert keys(file, "revoke", "second").exit_code == 2  # revoked already
    assert keys(file, "create", "second").exit_code == 2  # the name stays taken
    assert keys(file, "revoke", "first").exit_code == 0
    text = file.read_text()
    assert text.startswith("# ours\n\n[keys.first]  # the first\nrevoked = ")
    assert "# note" in text
    assert keys(file, "revoke", "second", "--delete").exit_code == 0
    assert list(read_tree(file.read_text())) == ["first"]


def test_the_file_behind_a_link_is_changed_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "keys.toml", tmp_path / "keys.toml"
    link.symlink_to(real)
    assert keys(link, "create", "a").exit_code == 0
    assert link.is_symlink()
    assert "[keys.a]" in real.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "a/b"), "a key's name is"),
        (("create", "default"), "reserved"),
        (("create", "a", "--expires", "soon"), "write 90d"),
        (("create", "a", "--expires", "2001-01-01"), "in the past"),
        (("create", "a", "--metadata", "x"), "KEY=VALUE"),
        (("create", "a", "--metadata", "x=é"), "AWS does not accept"),
        (("create", "a", "--guardrail", "x"), "ID:VERSION"),
        (("create", "a", "--streams", "0"), "Invalid value"),
        (("list",), "no such file"),
        (("revoke", "a"), "no such file"),
    ],
)
def test_faults_end_with_what_to_do(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    file = tmp_path / "keys.toml"
    ended = keys(file, *words)
    assert ended.exit_code == 2
    assert told in ended.output
    assert not file.exists()


def test_keys_kept_in_aws_are_not_looked_for_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_PROXY_KEYS", "ssm:/proxy/keys")
    ended = CliRunner().invoke(command, ["create", "a"])
    assert ended.exit_code == 2
    assert "is stored in AWS" in ended.output


def test_a_broken_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("[keys.a\n")
    for words in (("create", "b"), ("revoke", "a"), ("list",)):
        ended = keys(file, *words)
        assert ended.exit_code == 2
        assert "not valid TOML" in ended.output
    assert file.read_text() == "[keys.a\n"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ended = keys(tmp_path / "no" / "keys.toml", "create", "a")
    assert ended.exit_code == 2
    assert "No such file or directory" in ended.output


@pytest.mark.parametrize(
    "text",
    [
        f'keys = {{ a = {{ hash = "{HASH}" }} }}\n',
        f'[keys]\na.hash = "{HASH}"\n',
        f'keys.a.hash = "{HASH}"',
        f'["keys".a]\nhash = "{HASH}"\n',
        f'[keys.a]\nhash = "{HASH}"\n[keys.z]\nhash = "{HASH[:-2]}77"\n'
        '[keys.a.request_metadata]\nx = "y"\n',
    ],
)
def test_other_ways_to_write_a_table_are_understood(text: str) -> None:
    from datetime import UTC, datetime

    when = datetime(2026, 1, 1, tzinfo=UTC)
    before = read_tree(text)
    added = add_key(text, "b", {"hash": HASH[:-2] + "01"})
    assert read_tree(added) == before | {"b": {"hash": HASH[:-2] + "01"}}
    assert read_tree(revoke_key(text, "a", when))["a"] == before["a"] | {"revoked": when}
    assert "a" not in read_tree(drop_key(added, "a"))


@given(
    globs=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=3),
    budget=st.floats(1e-9, 1e8),
    streams=st.integers(1, 10**12),
)
def test_whatever_is_written_reads_the_same(globs: list[str], budget: float, streams: int) -> None:
    wanted = {"hash": HASH, "models": globs, "daily_budget_usd": budget, "streams": streams}
    text = add_key("# head\n", "a", wanted)
    assert read_tree(text) == {"a": wanted}
    (entry,) = parse_keys(add_key(text, "b.c", {"hash": HASH[:-1] + "0"}))[:1]
    assert entry.tenant.models == tuple(globs)
