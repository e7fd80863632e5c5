"""Settings as command-line options, made from the settings themselves, so that they cannot drift.

Every setting has a flag of its name; secrets have none (a command line is visible to others on the
machine). What a flag says wins over the environment and the file.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.settings import FIELDS, PREFIX, Loaded, SettingsError, load

Command = TypeVar("Command", bound=Callable[..., Any])


def setting_options(*left_out: str) -> Callable[[Command], Command]:
    """Add ``--config`` and a flag for each setting but ``left_out``."""

    def decorate(command: Command) -> Command:
        for name, one in reversed(tuple(FIELDS.items())):
            if name in left_out or one.metadata["secret"] or not one.metadata["flag"]:
                continue
            help = f"{one.metadata['help']}  [{PREFIX}{name.upper()}]".replace("`", "")
            flag = "--" + name.replace("_", "-")
            if one.type is bool or "bool" in str(one.type):
                flag = f"{flag}/--no-{flag[2:]}" if not name.startswith("no_") else flag
                command = click.option(flag, name, is_flag=True, default=None, help=help)(command)
            else:
                command = click.option(flag, name, default=None, metavar="VALUE", help=help)(
                    command
                )
        return click.option(
            "--config", "config", type=click.Path(dir_okay=False, path_type=Path),
            help=f"TOML file with settings  [{PREFIX}CONFIG]",
        )(command)  # fmt: skip

    return decorate


def read_settings(config: Path | None, flags: dict[str, Any]) -> Loaded:
    """The settings, or an exit with what to write instead."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return load(given, config)
    except SettingsError as fault:
        raise stop(str(fault)) from None


def say(text: str) -> None:
    """Print a line for the operator on stderr; a full disk there must not prevent serving."""
    with suppress(OSError):
        click.echo(text, err=True)


class stop(click.ClickException):  # lower case: it reads as what it does, raise stop("…")
    """An error that ends a command: what is wrong, and what to do."""

    exit_code = 2
