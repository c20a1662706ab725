"""Parses commands of `streamsvc` without running them."""

import click

from streamsvc.cli.backup import backup
from streamsvc.cli.group import group


def parse_command(arguments: list[str]) -> click.Context:
    """The context of a command with these arguments. Raises UsageError if there is no such command or option."""
    name, command = "streamsvc", group
    while isinstance(command, click.Group) and (arguments or not command.invoke_without_command):
        if command is backup and arguments[0] not in command.commands:
            arguments = ["create", *arguments]
        name, command, arguments = command.resolve_command(click.Context(command), arguments)
    return command.make_context(name, arguments)
