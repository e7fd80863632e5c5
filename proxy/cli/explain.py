"""``explain``: what a request would become at Bedrock, without asking it.

It prints the resolved model, region, operation, the exact Converse body, the notes and the cache
points as JSON. It needs neither credentials nor a network; names are resolved from the built-in
tables and the configuration, so a model that only a listing knows may be called otherwise there.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import click
import orjson

from proxy.app import Service, build
from proxy.bedrock.regions import read_config
from proxy.cli.options import read_settings, setting_options, stop
from proxy.endpoints.explain import explain
from proxy.errors import ProxyError
from proxy.openai.chat.api import CHAT
from proxy.settings import Loaded, SettingsError


@click.command()
@click.argument("request", type=click.File("rb"))
@click.option("--model", help="explain it for this model instead of the request's")
@setting_options("host", "port", "workers", "explain")
def command(request: BinaryIO, model: str | None, config: Path | None, **flags: Any) -> None:
    """Show what REQUEST (a JSON file, - for standard input) would become at Bedrock."""
    loaded = read_settings(config, flags)
    body = _for_model(request.read(), model)
    try:
        aws = read_config(loaded.environment)
        service = build(_alone(loaded), aws)
        told = asyncio.run(_explain(service, body))
    except (ValueError, SettingsError) as fault:
        raise stop(str(fault)) from None
    except ProxyError as error:
        where = f" ({error.param})" if error.param else ""
        raise stop(f"It would be answered with {error.status}{where}: {error.message}") from None
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))


def _for_model(body: bytes, model: str | None) -> bytes:
    """The body with another model; one that is not a JSON object is left to the parser."""
    if model is None:
        return body
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return orjson.dumps({**request, "model": model}) if isinstance(request, dict) else body


def _alone(loaded: Loaded) -> Loaded:
    """Nothing is asked of the shared memory either: what replicas know is not shown here."""
    return replace(loaded, settings=replace(loaded.settings, memory=False, workers=1))


async def _explain(service: Service, body: bytes) -> Mapping[str, Any]:
    account = service.account
    try:
        request = CHAT.parse(body, {})
        model = account.discovery.snapshot.resolve(request.model)
        return await explain(CHAT, service.deps, account.targets, request, model)
    finally:
        await account.close()
