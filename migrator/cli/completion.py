"""`migrator completion SHELL`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click

# where each shell looks for it; shown in the help
_HELP = """Print the completion script of a shell.

\b
bash  migrator completion bash > ~/.local/share/bash-completion/completions/migrator
zsh   migrator completion zsh > "${fpath[1]}/_migrator"
fish  migrator completion fish > ~/.config/fish/completions/migrator.fish
"""


@click.command(help=_HELP, short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    complete = kind(ctx.find_root().command, {}, "migrator", "_MIGRATOR_COMPLETE")
    # not `source()`: for bash that starts a bash to look at its version
    click.echo(complete.source_template % complete.source_vars())
