"""``version``: what is installed, and what it stands on.

The first thing that is asked for in a report of a fault: the proxy's version, Python's, and those
of the packages whose behaviour could be the cause.
"""

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
