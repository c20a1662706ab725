"""The init command."""

import itertools
import os
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from streamsvc.cli.paths import PathArgument
from streamsvc.setting_checks import find_setting_errors, list_doubtful_settings
from streamsvc.settings import PREFIX, Settings
from streamsvc.storage.private_files import write_private_file

OFFERED = {
    "PUBLIC_URL": "https://video.example",
    "MAIL_URL": "smtp://user:password@mail.example:587",
    "MAIL_FROM": "Example Video <no-reply@video.example>",
    "SERVICE_NAME": "Example Video",
    "DATABASE_URL": "postgresql://user:password@host/name",
    "STRIPE_SECRET_KEY": "sk_live_…",
    "STRIPE_WEBHOOK_SECRET": "whsec_…",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_…",
}
"""The settings that the command asks for, with an example of each."""
LOGGING = {f"{PREFIX}ACCESS_LOG": "1"}
SECRET_NAMES = {"MAIL_URL", "DATABASE_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"}
PLAIN_VALUE = re.compile(r"[A-Za-z0-9_@%+=:,./-]*", re.ASCII)
UNWRITABLE = re.compile(r"['\\\x00-\x1f\x7f\ud800-\udfff]")
"""What systemd, Compose and shells do not all read in the same way between single quotes, and what is not Unicode."""
HEADER = """\
# Settings of streamsvc, for systemd (EnvironmentFile=), Compose (env_file:) and shells (set -a; . {name}).
# `streamsvc config` lists all settings. Keep this file secret, and the secret key in a second place.
"""


def _offer_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each of the offered settings: `--public-url`."""
    for name, example in reversed(OFFERED.items()):
        flag = "--" + name.lower().replace("_", "-")
        function = click.option(flag, name.lower(), metavar="TEXT", help=f"Such as {example}.")(function)
    return function


@click.command()
@click.argument("path", type=PathArgument(dir_okay=False), default="streamsvc.env")
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE", help="Another setting; may be repeated.")
@click.option("--force", is_flag=True, help="Replace PATH; the old file is kept beside it.")
@_offer_options
def init(path: Path, others: tuple[str, ...], force: bool, **offered: str | None) -> None:
    """Write the settings of a service in production to PATH (default: streamsvc.env), with a generated secret key.

    Only its owner can read the file, and an existing one is not overwritten. On a terminal, the command asks for what
    is not given as an option. It says what remains to be done.
    """
    if os.path.exists(path) and not force:  # unlike Path.exists, it raises no PermissionError
        raise _already_exists(path)
    values = {PREFIX + name: text for name in OFFERED if (text := offered[name.lower()])} | _parse_others(others)
    if sys.stdin.isatty() and sys.stdout.isatty():
        values |= _ask_for_missing(values)
    if values.get(f"{PREFIX}STRIPE_SECRET_KEY"):
        values.setdefault(f"{PREFIX}PAYMENT_PROVIDER", "stripe")
    values = {f"{PREFIX}ENV": "production", f"{PREFIX}SECRET_KEY": secrets.token_hex(32)} | LOGGING | values
    settings, errors = Settings.read(values)
    if settings.env != "production":
        errors.append(f"{PREFIX}ENV: must be production; without it, a service for development needs no file")
    if errors:
        raise click.ClickException("\n".join(errors))
    kept = _write_private(path, format_settings_file(path.name, values))
    click.echo(f"{path}: written" + (f"; the file before is {kept}" if kept else ""))
    to_do = [*find_setting_errors(settings), *list_doubtful_settings(settings)]
    for sentence in to_do:
        click.echo(f"to do  {sentence}")
    next_step = "Do what is listed, then try" if to_do else "Try"
    click.echo(f"{next_step} the settings:  set -a; . {_as_source(path)}; set +a; streamsvc check")


def _already_exists(path: Path) -> click.ClickException:
    return click.ClickException(f"{path} exists; choose another name, or --force to replace it")


def _parse_others(others: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for other in others:
        name, equals, text = other.partition("=")
        if not equals:
            raise click.UsageError(f"--set {name}: give NAME=VALUE")
        pairs[PREFIX + name.upper().removeprefix(PREFIX)] = text
    return pairs


def _ask_for_missing(values: Mapping[str, str]) -> dict[str, str]:
    """Ask for the offered settings that have no value; an empty answer leaves one out."""
    answers: dict[str, str] = {}
    for name, example in OFFERED.items():
        if PREFIX + name not in values:
            prompt = f"{PREFIX}{name}, such as {example}"
            answer = click.prompt(prompt, default="", show_default=False, hide_input=name in SECRET_NAMES)
            answers |= {PREFIX + name: answer} if answer else {}
    return answers


def format_settings_file(name: str, values: Mapping[str, str]) -> str:
    """Format an env file; a setting that is offered without a value becomes a comment. Raises ClickException."""
    lines = [f"{variable}={_quote(variable, text)}" for variable, text in values.items()]
    lines += [f"# {PREFIX}{offer}={example}" for offer, example in OFFERED.items() if PREFIX + offer not in values]
    return HEADER.format(name=name) + "\n".join(lines) + "\n"


def _quote(variable: str, text: str) -> str:
    if UNWRITABLE.search(text):
        raise click.ClickException(
            f"{variable}: must not contain a single quote, a backslash or a line feed, which systemd, Compose and "
            "shells read differently; in a URL, write %27 and %5C"
        )
    return text if PLAIN_VALUE.fullmatch(text) else f"'{text}'"


def _write_private(path: Path, text: str) -> Path | None:
    """Write the file for its owner alone. One that it replaces gets another name, which is returned. A link is kept."""
    try:
        target, kept = path.resolve(), None
        if target.exists():
            kept = next(name for n in itertools.count(1) if not (name := Path(f"{target}.old{n}")).exists())
            kept.hardlink_to(target)  # so that at any time there is a complete file under both names
        with write_private_file(target, replaces=kept is not None) as file:
            file.write(text.encode())
    except FileExistsError:
        raise _already_exists(path) from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    return kept


def _as_source(path: Path) -> str:
    """Return the path as a shell's `.` needs it, which looks for a bare name in PATH."""
    return shlex.quote(str(path) if "/" in str(path) else f"./{path}")
