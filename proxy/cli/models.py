"""``models list``: what ``GET /v1/models`` would show, without a server.

The twin of ``openclaw models list``. It asks AWS once, prints a table (or JSON), and says what
could not be listed and why.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson

from proxy.app import Service
from proxy.cli.options import read_settings, setting_options, stop
from proxy.cli.run import built
from proxy.cli.serve import look_around, settle
from proxy.openai.models import render_list

_COLUMNS: Final = (
    ("id", "MODEL"), ("context_window", "CONTEXT"), ("max_output_tokens", "OUTPUT"),
    ("input_modalities", "INPUT"), ("reasoning", "REASONING"), ("name", "NAME"),
)  # fmt: skip


@click.group()
def command() -> None:
    """See which models your AWS account offers."""


@command.command("list")
@setting_options("host", "port", "workers")
@click.option("--json", "as_json", is_flag=True, help="print the JSON of GET /v1/models")
def list_command(config: Path | None, as_json: bool, **flags: Any) -> None:
    """List the models as the proxy would."""
    loaded = read_settings(config, flags)
    aws, _ = look_around(loaded)
    service = built(loaded, aws)
    if sys.stderr.isatty():
        click.echo(f"asking AWS in {service.account.region} …", err=True)
    entries, failed = asyncio.run(_ask(service))
    if as_json:
        listed = orjson.loads(render_list(entries))
        click.echo(orjson.dumps(listed, option=orjson.OPT_INDENT_2))
    else:
        for line in _table(entries):
            click.echo(line)
    for listing, reason in failed.items():
        click.echo(f"{listing}: {reason}", err=True)
    if not entries:
        raise stop(
            f"No models were listed in {service.account.region}. Is bedrock:ListFoundationModels "
            "allowed, and is this the region you use?"
        )


async def _ask(service: Service) -> tuple[Sequence[Mapping[str, object]], Mapping[str, str]]:
    try:
        await settle(service)
        await service.account.discovery.refresh()
        discovery = service.account.discovery
        return discovery.snapshot.list(), discovery.state().failed
    finally:
        await service.account.close()


def _table(entries: Sequence[Mapping[str, object]]) -> list[str]:
    rows = [[title for _, title in _COLUMNS]]
    rows += [[_cell(entry.get(key)) for key, _ in _COLUMNS] for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(one) for one in value)
    return "" if value is None else str(value)
