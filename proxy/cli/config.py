"""``config``: what is in force and where it comes from, and other people's settings as ours.

``show`` reads files and variables and asks nobody; secrets are masked. ``import`` prints TOML on
stdout that was loaded once before it is printed; what it could not take over stands in comments.
"""

import tempfile
from pathlib import Path
from typing import Any

import click

from proxy.bedrock.regions import read_config
from proxy.bedrock.sources import detect
from proxy.cli import toml_text
from proxy.cli.openclaw import convert
from proxy.cli.options import read_settings, setting_options, stop
from proxy.parts import runtime_region
from proxy.settings import FIELDS, KEYS, Loaded, SettingsError, load

_MASK = "***"
_EXTRA = (
    "This file is JSON5, which needs one more package:\n\n"
    "  pip install 'bedrock-openai-proxy[openclaw]'"
)


@click.group()
def command() -> None:
    """See the settings in force, or import another program's."""


@command.command("show")
@setting_options()
@click.option("--origin", is_flag=True, help="show where each value comes from")
def show(config: Path | None, origin: bool, **flags: Any) -> None:
    """Print the settings as TOML; secrets are masked."""
    loaded = read_settings(config, flags)
    for line in _aws_lines(loaded):
        click.echo(f"# {line}")
    table = None
    # Tables follow the plain keys, as TOML wants it.
    for key, name in sorted(KEYS.items(), key=lambda item: ("." in item[0], 0)):
        head, _, last = key.rpartition(".")
        if head != table:
            table = head
            if head:
                click.echo(f"\n[{head}]")
        click.echo(_line(last, name, loaded, origin))


def _line(key: str, name: str, loaded: Loaded, origin: bool) -> str:
    """One setting; a comment if it is unset, for TOML knows no such value."""
    one = getattr(loaded.settings, name)
    if one is None:
        line = f"# {key} is unset"
    elif FIELDS[name].metadata["secret"]:
        line = f"{key} = {toml_text.value(_MASK)}"
    else:
        line = f"{key} = {toml_text.value(_plain(name, one))}"
    return f"{line:<44}  # {loaded.origins[name]}" if origin else line


def _plain(name: str, one: Any) -> Any:
    """Rows as mappings of what they say."""
    if name in ("aliases", "request_metadata"):
        return dict(one)
    if isinstance(one, tuple):
        return [_row(item) if hasattr(item, "__dataclass_fields__") else item for item in one]
    return one


def _row(row: Any) -> dict[str, Any]:
    pairs = ((name, getattr(row, name)) for name in row.__dataclass_fields__)
    return {name: value for name, value in pairs if value is not None}


def _aws_lines(loaded: Loaded) -> list[str]:
    """What AWS's own files and variables add to it: read, never asked over the network."""
    settings = loaded.settings
    try:
        aws = read_config(loaded.environment, settings.profile)
    except ValueError as fault:
        return [str(fault)]
    region, origin = runtime_region(settings, loaded.environment, aws)
    source = detect(loaded.environment, settings.profile)
    lines = [
        f"region: {region} ({origin})",
        f"credentials: {source.detail if source else 'none found'}",
    ]
    return lines + [f"endpoint of {name}: {url}" for name, url in aws.endpoints.items()]


@command.group("import")
def import_group() -> None:
    """Convert another program's settings to this proxy's."""


@import_group.command("openclaw")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def import_openclaw(file: str) -> None:
    """Print what OpenClaw's FILE (openclaw.json) says of Bedrock, as our TOML.

    What has no equivalent here is said in comments. Secrets are not copied.
    """
    with click.open_file(file, encoding="utf-8") as opened:
        done = convert(_parse(opened.read(), file))
    text = toml_text.write(done.tree)
    _check(text)
    click.echo(f"# From OpenClaw's {Path(file).name}. Use it with --config.")
    for note in done.notes:
        click.echo(f"# left out: {' '.join(note.split())}")
    if done.notes:
        click.echo()
    click.echo(text, nl=False)
    if not done.tree:
        raise stop(f"{file} has no settings for Amazon Bedrock.")


def _parse(text: str, file: str) -> dict[str, Any]:
    import json

    try:
        tree = json.loads(text)
    except ValueError:
        tree = _parse_json5(text, file)
    if not isinstance(tree, dict):
        raise stop(f"{file}: must hold an object.")
    return tree


def _parse_json5(text: str, file: str) -> Any:
    try:
        import json5
    except ImportError:
        raise stop(f"{file}: {_EXTRA}") from None
    try:
        return json5.loads(text)
    except (ValueError, RecursionError) as fault:
        raise stop(f"{file}: not valid JSON5: {fault}") from None


def _check(text: str) -> None:
    """What we print must load: a value that we would refuse is told now, by its key."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "imported.toml")
        file.write_text(text, encoding="utf-8")
        try:
            load({}, file, {})
        except SettingsError as fault:
            said = str(fault).replace(f"{file}: ", "")
            raise stop(f"OpenClaw's settings cannot be converted as they are: {said}") from None
