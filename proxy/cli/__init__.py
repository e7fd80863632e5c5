"""The command line: one file a command. ``bedrock-openai-proxy`` alone prints the help."""

from difflib import get_close_matches
from importlib import import_module
from typing import Final

import click

from proxy import __version__

_COMMANDS: Final = (
    "demo", "serve", "chat", "models", "explain", "doctor", "config", "keys", "completion",
    "version",
)  # fmt: skip


class _Commands(click.Group):
    """Commands are imported when they are asked for: ``--help`` should not pay for a server."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        found: click.Command = import_module(f"proxy.cli.{name}").command
        return found

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as fault:
            near = get_close_matches(arguments[0], _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{fault.message}{hint}", context) from None


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="bedrock-openai-proxy")
@click.pass_context
def command(context: click.Context, /) -> None:
    """An OpenAI-compatible proxy in front of Amazon Bedrock.

    Try it without an AWS account: bedrock-openai-proxy demo
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
