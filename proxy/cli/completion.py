"""``completion``: the script that makes a shell complete our commands, options and their values.

click writes it; a shell then asks the program itself what fits, so it never goes stale. For zsh a
line goes before it: where nothing has started completion (a new ``.zshrc``, as on macOS), there is
no ``compdef`` yet.
"""

from types import MappingProxyType
from typing import Final

import click
from click.shell_completion import get_completion_class

PROGRAM: Final = "bedrock-openai-proxy"
_VARIABLE: Final = "_BEDROCK_OPENAI_PROXY_COMPLETE"
"""Where click looks for what the shell asks; made of the program's name by click's rule."""
_FIRST: Final = MappingProxyType(
    {"zsh": "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }\n"}
)


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  bedrock-openai-proxy completion bash >> ~/.bashrc
    zsh:   bedrock-openai-proxy completion zsh >> ~/.zshrc
    fish:  bedrock-openai-proxy completion fish >> ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(context.find_root().command, {}, PROGRAM, _VARIABLE).source()
    click.echo(_FIRST.get(shell, "") + script.lstrip("\n"))
