"""`mailqueue systemd`: the units, with the path of this installation."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import click

from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.shipped import UNITS, unit

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - named, not used
"""What the unit does not let the daemon see (ProtectHome=, PrivateTmp=)."""


@click.command()
@click.argument("name", required=False, type=click.Choice([*UNITS]))
@click.option("--print", "to_print", is_flag=True, help="Print them, or the one of NAME.")
@click.option(
    "--install",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write them below DIR, where systemd looks: /etc.",
)
@click.option(
    "--executable",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="What they start; by default the mailqueue of this installation.",
)
def systemd(
    name: str | None, *, to_print: bool, directory: Path | None, executable: Path | None
) -> None:
    """Print or install the units for systemd.

    A unit, a template for several daemons on one queue, and what sysusers.d and tmpfiles.d need
    for the user and the directory of the outbox.
    """
    if to_print == (directory is not None):
        raise click.UsageError("say either --print or --install DIR")
    executable = _own() if executable is None else executable
    names = [*UNITS] if name is None else [name]
    try:
        texts = {name: unit(name, executable=executable) for name in names}
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--executable") from None
    if directory is None:
        _show(texts)
    else:
        _write(texts, directory)
    _warn_of_hidden(executable)


def _own() -> Path:
    """Return the command beside the interpreter that runs this."""
    scripts = Path(sysconfig.get_path("scripts")) / "mailqueue"
    return scripts if scripts.exists() else Path(sys.argv[0]).absolute()


def _show(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        if len(texts) > 1:
            click.echo(f"# {_place(name)}")
        click.echo(text, nl=len(texts) > 1)


def _write(texts: dict[str, str], directory: Path) -> None:
    for name, text in texts.items():
        path = directory / _place(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}", Exit.CANNOT_CREATE) from None
        click.echo(path)


def _place(name: str) -> str:
    place = UNITS[name]
    return f"systemd/{place}" if place.startswith("system/") else place


def _warn_of_hidden(executable: Path) -> None:
    if any(executable.is_relative_to(each) for each in _HIDDEN):
        click.echo(
            f"warning: the unit cannot see {executable} (ProtectHome=, PrivateTmp=); install "
            "mailqueue under /opt",
            err=True,
        )
