"""``keys``: create, list and revoke the API keys of a keys file.

A key is printed once, on standard output and alone there, so that it can be piped into a secret
store; the file gets its hash. A running proxy sees the changed file within seconds.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import orjson

from proxy.access import hashing, keyedit
from proxy.access.keyfile import TIERS, Entry, KeysError, parse_keys
from proxy.cli.options import stop

_UNITS: Final = (("h", 3600), ("d", 86400), ("w", 7 * 86400))


def _on_disk(context: click.Context, option: click.Parameter, file: Path) -> Path:
    """The keys file, unless the keys are kept in AWS: those are edited there."""
    if str(file).startswith(("arn:", "secretsmanager:", "ssm:")):
        raise stop(f"{file} is stored in AWS; edit a copy with --file and store that")
    return file


_file = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BEDROCK_PROXY_KEYS",
    callback=_on_disk,
    default="keys.toml",
    show_default=True,
    help="the keys file  [BEDROCK_PROXY_KEYS]",
)


@click.group()
def command() -> None:
    """Create, list and revoke the API keys of a keys file."""


@command.command()
@click.argument("name")
@_file
@click.option("--expires", metavar="WHEN", help="90d, 12h, 4w, or a date such as 2027-01-31")
@click.option("--model", "models", multiple=True, metavar="GLOB", help="allow it; may be repeated")
@click.option("--streams", type=click.IntRange(1), help="concurrent answers")
@click.option("--requests-per-minute", type=click.IntRange(1))
@click.option("--tokens-per-minute", type=click.IntRange(1), help="input and output")
@click.option("--daily-budget-usd", type=click.FloatRange(0, min_open=True))
@click.option("--service-tier", type=click.Choice(TIERS), help="for every request of this key")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="request metadata for AWS")
@click.option("--guardrail", metavar="ID:VERSION", help="for every request of this key")
@click.option(
    "--choose", is_flag=True, help="prompt for a key of your own choice and store its scrypt hash"
)
def create(file: Path, name: str, choose: bool, **options: Any) -> None:
    """Create a key for NAME and print it once."""
    now = datetime.now(UTC).replace(microsecond=0)
    table = _table(now, options)
    try:
        with keyedit.locked(file):
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            keyedit.add_key(text, name, {"hash": f"sha256:{'0' * 64}", **table})  # before asking
            key = _ask() if choose else hashing.mint_key()
            hashed = hashing.hash_chosen(key) if choose else hashing.hash_minted(key)
            keyedit.write_safely(file, keyedit.add_key(text, name, {"hash": hashed, **table}))
    except (KeysError, OSError, ValueError) as fault:
        raise stop(_told(file, fault)) from None
    if choose:
        click.echo(f"{name} was added to {file}", err=True)
    else:
        click.echo(f"{name} was added to {file}; its key, which is not stored anywhere:", err=True)
        click.echo(key)


@command.command(name="list")
@_file
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def list_keys(file: Path, as_json: bool) -> None:
    """List the keys: names, state and limits. The keys themselves are not stored."""
    try:
        entries = parse_keys(file.read_text(encoding="utf-8"))
    except (KeysError, OSError, ValueError) as fault:
        raise stop(_told(file, fault)) from None
    now = datetime.now(UTC).timestamp()
    if as_json:
        shown = {"keys": [_object(entry, now) for entry in entries]}
        click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    rows: list[tuple[str, ...]] = [("NAME", "STATE", "CREATED", "EXPIRES", "MODELS", "LIMITS")]
    rows += [_row(entry, now) for entry in entries]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@command.command()
@click.argument("name")
@_file
@click.option("--delete", is_flag=True, help="delete the entry; its name can be used again")
def revoke(file: Path, name: str, delete: bool) -> None:
    """Revoke NAME's key: requests with it are refused from the next reload of the file on."""
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        with keyedit.locked(file):
            text = file.read_text(encoding="utf-8")
            changed = (
                keyedit.drop_key(text, name) if delete else keyedit.revoke_key(text, name, now)
            )
            keyedit.write_safely(file, changed)
    except (KeysError, OSError, ValueError) as fault:
        raise stop(_told(file, fault)) from None
    click.echo(f"{name} was {'deleted from' if delete else 'revoked in'} {file}", err=True)


def _ask() -> str:
    """The chosen key: asked for twice on a terminal, else one line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    key: str = click.prompt("key", hide_input=True, confirmation_prompt=True, err=True)
    return key


def _table(now: datetime, options: Mapping[str, Any]) -> dict[str, Any]:
    """The TOML fields beside the hash."""
    table: dict[str, Any] = {"created": now}
    if options["expires"]:
        table["expires"] = _moment(options["expires"], now)
    if options["models"]:
        table["models"] = list(options["models"])
    plain = ("streams", "requests_per_minute", "tokens_per_minute", "daily_budget_usd")
    for field in (*plain, "service_tier"):
        if options[field] is not None:
            table[field] = options[field]
    if options["metadata"]:
        pairs = [pair.partition("=") for pair in options["metadata"]]
        if not all(separator for _, separator, _ in pairs):
            raise stop("--metadata is written KEY=VALUE")
        table["request_metadata"] = {key: value for key, _, value in pairs}
    if options["guardrail"]:
        guardrail, separator, version = options["guardrail"].rpartition(":")
        if not separator:
            raise stop("--guardrail is written ID:VERSION")
        table["guardrail"] = {"guardrailIdentifier": guardrail, "guardrailVersion": version}
    return table


def _moment(text: str, now: datetime) -> datetime:
    """``90d`` from now, or a date (its first moment, UTC) or date-time."""
    for unit, seconds in _UNITS:
        if text.endswith(unit) and text[:-1].isdigit() and 0 < int(text[:-1][:6]) < 100_000:
            return now + timedelta(seconds=int(text[:-1]) * seconds)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise stop(f"--expires {text!r}: write 90d, 12h, 4w or 2027-01-31") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise stop(f"--expires {text!r} is in the past")
    return moment


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    tenant, limits = entry.tenant, entry.tenant.allowance
    shown = (
        (limits.streams, "{} streams"),
        (limits.requests_per_minute, "{}/min"),
        (limits.tokens_per_minute, "{} tokens/min"),
        (limits.daily_budget_usd, "${:g}/day"),
    )
    return (
        tenant.name,
        _state(entry, now),
        _day(entry.created),
        _day(entry.expires),
        " ".join(tenant.models) or "all",
        ", ".join(form.format(limit) for limit, form in shown if limit is not None) or "none",
    )


def _object(entry: Entry, now: float) -> dict[str, Any]:
    """The same for programs. Times are RFC 3339 in UTC, or null."""
    limits = entry.tenant.allowance
    return {
        "name": entry.tenant.name,
        "state": _state(entry, now),
        "created": _instant(entry.created),
        "expires": _instant(entry.expires),
        "models": list(entry.tenant.models),
        "streams": limits.streams,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "daily_budget_usd": limits.daily_budget_usd,
    }


def _state(entry: Entry, now: float) -> str:
    ended = entry.expires is not None and entry.expires <= now
    return "revoked" if entry.revoked else "expired" if ended else "active"


def _instant(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()


def _day(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _told(file: Path, fault: Exception) -> str:
    if isinstance(fault, FileNotFoundError) and file.resolve().parent.is_dir():
        return f"{file}: there is no such file; `keys create NAME --file {file}` makes one"
    if isinstance(fault, OSError):
        return f"{file}: {fault.strerror or fault}"
    if isinstance(fault, UnicodeDecodeError):
        return f"{file}: not UTF-8 text"
    return f"{file}: {fault}"
