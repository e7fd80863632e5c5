"""Settings: one value, four sources, each fault with its remedy."""

import re
from pathlib import Path

import pytest

from proxy.settings import FIELDS, PREFIX, SettingsError, load

README = Path(__file__).parent.parent / "README.md"


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text("grace = 1\nport = 1111\nstall_timeout = 7\n")
    loaded = load({"port": "3333"}, file, {PREFIX + "PORT": "2222", PREFIX + "GRACE": "2"})
    settings = loaded.settings
    assert (settings.port, settings.grace, settings.stall_timeout) == (3333, 2.0, 7.0)
    assert settings.total_timeout == 1800.0
    assert loaded.origins["port"] == "flag"
    assert loaded.origins["grace"] == PREFIX + "GRACE"
    assert loaded.origins["stall_timeout"] == f"{file}:stall_timeout"
    assert loaded.origins["total_timeout"] == "default"


def test_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text("strict = true\n")
    assert load({}, None, {PREFIX + "CONFIG": str(file)}).settings.strict is True


@pytest.mark.parametrize("key", ["refresh_interval", "refreshInterval"])
@pytest.mark.parametrize("table", ["models.bedrock_discovery", "models.bedrockDiscovery"])
def test_discovery_options_in_both_spellings(tmp_path: Path, table: str, key: str) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(f'[{table}]\n{key} = 60\nregion = "eu-west-1"\n')
    settings = load({}, file, {}).settings
    assert settings.refresh_interval == 60.0
    assert settings.discovery_region == ("eu-west-1",)
    assert settings.region is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"API_KEY": ""}, "set but empty"),
        ({"API_KEY": "   "}, "set but empty"),
        ({"GRASE": "1"}, "did you mean `BEDROCK_PROXY_GRACE`"),
        ({"PORT": "eight"}, "must be a number"),
        ({"PORT": "80.5"}, "whole number"),
        ({"PORT": "-1"}, "at least 0"),
        ({"PORT": "65536"}, "at most 65535"),
        ({"METRICS_PORT": "70000"}, "at most 65535"),
        ({"METRICS_PORT": "1.5"}, "whole number"),
        ({"MEDIA_HOSTS": "a.example,https://b.example"}, "'https://b.example' is not a host"),
        ({"MEDIA_HOSTS": "*"}, "'*' is not a host"),
        ({"MEDIA_HOSTS": "a.example:443"}, "is not a host"),
        ({"GRACE": "nan"}, "out of range"),
        ({"STRICT": "maybe"}, "true or false"),
        ({"STREAM_USAGE": "never"}, "one of asked, always"),
    ],
)
def test_faults_in_the_environment_name_the_variable(
    environment: dict[str, str], says: str
) -> None:
    variable = PREFIX + next(iter(environment))
    with pytest.raises(SettingsError, match=re.escape(says)) as caught:
        load({}, None, {PREFIX + name: value for name, value in environment.items()})
    assert variable in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grase = 1", "`grase` is not a setting; did you mean `grace`?"),
        ("grace = 'x", "not valid TOML"),
        ("[models.bedrock_discovery]\ngrace = 1", "is not a setting"),
        ("refresh_interval = 1", "is not a setting"),
        ("provider_filter = 1", "is not a setting"),
        ("[models.bedrock_discovery]\nprovider_filter = [1]", "list of words"),
        ("strict = 3", "true or false"),
        ("log_level = 3", "must be text"),
        ('api_key = ""', "set but empty"),
    ],
)
def test_faults_in_the_file_name_the_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(says)) as caught:
        load({}, file, {})
    assert str(file) in str(caught.value)


def test_the_key_is_what_a_header_can_hold() -> None:
    """A Secret made of a file ends in a newline: no client could ever have sent that."""
    assert load({}, None, {PREFIX + "API_KEY": " sk-4711\n"}).settings.api_key == "sk-4711"


def test_hosts_as_they_may_be_written() -> None:
    written = "images.example.com,*.Example.org,192.0.2.1,2001:db8::1"
    loaded = load({}, None, {PREFIX + "MEDIA_HOSTS": written})
    assert loaded.settings.media_hosts == tuple(written.split(","))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load({}, tmp_path / "none.toml", {})


def test_readme_table_equals_the_settings() -> None:
    """The table rots otherwise: name, default and meaning of every setting stand in the README."""
    rows = dict(
        re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    )
    shown = {name: text for name, text in rows.items() if name in FIELDS}
    assert set(shown) == set(FIELDS)
    for name, text in shown.items():
        default = FIELDS[name].default
        word = "" if default in (None, ()) else str(default).lower().removesuffix(".0")
        assert text.split(" | ")[0].strip("` ") == word, name
