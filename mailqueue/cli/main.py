"""The `mailqueue` command: its commands, and how errors leave it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from mailqueue._version import __version__
from mailqueue.cli.exits import Exit, Failure, status_of
from mailqueue.cli.lazy import Entry, LazyGroup, Sections
from mailqueue.cli.output import printable
from mailqueue.errors import MailqueueError

_SECTIONS: Sections = {
    "Sending": {
        "run": Entry("mailqueue.cli.run:run", "Send what is in the outbox, until told to stop."),
        "send": Entry("mailqueue.cli.send:send", "Send one mail now, and show the conversation."),
    },
    "The queue": {
        "list": Entry("mailqueue.cli.listing:list_", "List what waits, and why."),
        "show": Entry("mailqueue.cli.show:show", "Tell the whole story of one message."),
        "retry": Entry("mailqueue.cli.act:retry", "Start again, whatever has become of it."),
        "hold": Entry("mailqueue.cli.act:hold", "Keep mail from being sent."),
        "release": Entry("mailqueue.cli.act:release", "Let held mail go on."),
        "cancel": Entry("mailqueue.cli.act:cancel", "Withdraw mail that is not sent yet."),
        "fail": Entry("mailqueue.cli.act:fail", "Give up mail that waits, as failed for good."),
    },
    "The relays": {
        "relays": Entry("mailqueue.cli.relays:relays", "Show how each relay stands."),
        "pause": Entry("mailqueue.cli.relays:pause", "Let nothing more go to a relay."),
        "resume": Entry("mailqueue.cli.relays:resume", "Let mail go to a paused relay again."),
    },
    "Seeing": {
        "stats": Entry(
            "mailqueue.cli.stats:stats", "Count what was sent, put off and refused, and what waits."
        ),
        "shape": Entry(
            "mailqueue.cli.shape:shape", "Show how old the mail is that waits, and where it goes."
        ),
        "reasons": Entry(
            "mailqueue.cli.reasons:reasons", "Group what relays say, the most frequent first."
        ),
        "explain": Entry(
            "mailqueue.cli.explain:explain", "Explain a reply, or what holds a message."
        ),
        "top": Entry("mailqueue.cli.top:top", "Watch the queue at work."),
        "sql": Entry("mailqueue.cli.sql:sql", "Ask the outbox in SQL, and change nothing."),
    },
    "Keeping": {
        "check": Entry("mailqueue.cli.check:check", "Say whether all is well, for monitoring."),
        "doctor": Entry("mailqueue.cli.doctor:doctor", "Look for what is wrong with the set-up."),
        "backup": Entry("mailqueue.cli.backup:backup", "Copy the outbox while it is in use."),
        "prune": Entry("mailqueue.cli.prune:prune", "Remove what is finished and old."),
    },
    "Upkeep": {
        "config": Entry("mailqueue.cli.config:config", "Check, show or begin the configuration."),
        "db": Entry("mailqueue.cli.db:db", "Create, upgrade, check or move the tables."),
        "systemd": Entry(
            "mailqueue.cli.systemd:systemd", "Print or install the units for systemd."
        ),
        "completion": Entry(
            "mailqueue.cli.completion:completion",
            "Print what a shell needs to complete our commands.",
        ),
    },
    "Getting to know it": {
        "demo": Entry(
            "mailqueue.cli.demo:demo", "Watch a queue at work, against relays that misbehave."
        ),
    },
}

_EPILOG = """\b
Exit status (sysexits.h):
   0  done
  64  the command is miswritten  73  a file or directory cannot be made
  65  bad message or data        74  reading or writing failed
  66  no such message or mail    75  not now; try again later
  67  a recipient is refused     77  not permitted
  69  it cannot be done          78  configuration missing or wrong, or tables
  70  a fault of mailqueue      130  interrupted

A message is named by its number or by its Message-ID. $MAILQUEUE_CONFIG names the
configuration file, $MAILQUEUE_DATABASE__URL the outbox; NO_COLOR is honoured."""


class Root(LazyGroup):
    """Turns errors into one line and an exit status, whichever command they come from."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the command line up to the command."""
        with _leaving():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _leaving():
            return super().invoke(ctx)


@click.command(
    cls=Root,
    sections=_SECTIONS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mailqueue", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A durable outbox for mail: applications put mail in, `run` hands it to an SMTP relay, and
    SQL tells why one did not go.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    cli.main(prog_name="mailqueue")


@contextmanager
def _leaving() -> Iterator[None]:
    try:
        yield
    except MailqueueError as error:
        _leave(str(error), status_of(error))
    except Failure as failure:
        _leave(failure.message, failure.status)
    except click.UsageError as error:
        error.show()
        raise click.exceptions.Exit(Exit.USAGE) from None
    except (KeyboardInterrupt, click.Abort):
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        _forget_output()
        raise click.exceptions.Exit(Exit.BROKEN_PIPE) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except OSError as error:
        _forget_output()
        _leave(str(error), Exit.IO_ERROR)
    except Exception:  # noqa: BLE001 - whatever it is, it is ours
        traceback.print_exc()
        _leave(
            "this is a fault in mailqueue; please report it, with the lines above", Exit.SOFTWARE
        )


def _leave(text: str, status: Exit) -> NoReturn:
    click.echo(f"mailqueue: {printable(text)}", err=True)
    raise click.exceptions.Exit(status) from None


def _forget_output() -> None:
    # Or the interpreter would flush what is left at its end, and complain once more.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
