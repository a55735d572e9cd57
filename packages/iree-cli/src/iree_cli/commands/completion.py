"""``iree completion bash``: the script that a shell loads to complete this command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from iree_cli import main

_WHERE = {
    "bash": "~/.local/share/bash-completion/completions/iree",
    "zsh": "a file _iree in a folder of $fpath",
    "fish": "~/.config/fish/completions/iree.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL; save it where the shell looks.

    \b
    iree completion bash > ~/.local/share/bash-completion/completions/iree
    iree completion fish > ~/.config/fish/completions/iree.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "iree", main.COMPLETE).source())
