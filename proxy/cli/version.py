"""``version``: what is installed, and what it stands on; the first thing asked in a report."""

import platform
from importlib.metadata import version
from typing import Final

import click

from proxy import __version__

_PARTS: Final = ("botocore", "starlette", "uvicorn", "httpx", "orjson", "prometheus-client")


@click.command()
def command() -> None:
    """Print the versions of the proxy and its parts."""
    click.echo(f"bedrock-openai-proxy {__version__}")
    click.echo(f"Python {platform.python_version()} on {platform.platform()}")
    for name in _PARTS:
        click.echo(f"{name} {version(name)}")
