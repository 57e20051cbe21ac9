"""The ``strava-pipeline`` command. Each command group is a module that is imported only when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from keyword import iskeyword
from types import FrameType
from typing import TYPE_CHECKING

import click

from strava_pipeline import log_lines, redaction
from strava_pipeline.cli.interruptible import SIGNALS, Interrupted
from strava_pipeline.errors import ConfigurationError, StravaPipelineError
from strava_pipeline.local.core_dumps import forbid_core_dumps
from strava_pipeline.printable import printable

if TYPE_CHECKING:
    from strava_pipeline.settings import Settings

# Command -> its module and its summary. `--help` shows these summaries, so that it need not import the modules.
COMMANDS = {
    "alerts": ("alerts", "List the alerts that are on, silence a rule, test how alerts are told."),
    "analysts": ("analysts", "Make and list logins that may only read the tables."),
    "archive": ("archive", "Import Strava's archive, or files of devices; list, show and undo what was imported."),
    "athletes": ("athletes", "List athletes; disconnect, export or restore one; cancel the links in mails."),
    "api": ("request", "Send one GET request to Strava and print the answer."),
    "backfill": ("backfill", "Import an athlete's months through Dagster."),
    "backup": ("backup", "Dump the tables' and Dagster's database into a folder."),
    "bridge": ("bridge", "Serve the webhook bridge."),
    "code-server": ("code_server", "Serve the definitions to Dagster, and execute the runs."),
    "connect": ("athletes", "Connect an athlete with an authorization code."),
    "dagster-exec": ("dagster_exec", "Run a program of Dagster's with the instance and secrets of this installation."),
    "dagster-webserver": ("dagster_webserver", "Serve Dagster's UI behind the operator's login."),
    "dead-letters": ("dead_letters", "Show, replay and discard events that were given up."),
    "demo": ("demo", "Show the whole pipeline at work against a mock Strava."),
    "doctor": ("doctor", "Check settings, database, keys and Strava, and say what is wrong."),
    "export-gpx": ("gpx", "Print one activity as GPX."),
    "health": ("health", "Exit 0 if a part of the installation works on this machine."),
    "import": ("imports", "List the imports; ask for those of all athletes; pause and resume an athlete's."),
    "init": ("setup", "Write a settings file with fresh keys."),
    "keys": ("keys", "Make keys for the stored tokens, show which are in use, re-encrypt with a new one."),
    "login-link": ("sign_in", "Print a link that logs you in to the operator's page, once."),
    "migrate": ("setup", "Create or update the tables."),
    "mock-strava": ("mock", "Serve a Strava look-alike for development and tests."),
    "quota": ("quota", "Show the requests used of Strava's limits, and those left to each lane."),
    "remap": ("remap", "Rebuild the tables of activities from the stored raw answers."),
    "report": ("report", "Write one activity as an HTML page with figures and pictures."),
    "restore": ("restore", "Load a backup, and compare it with Strava before anything else calls Strava."),
    "sql": ("sql", "Run one query on the tables."),
    "up": ("up", "Run Postgres, Dagster and the bridge until Ctrl-C."),
    "webhook": ("webhook", "Subscribe to Strava's webhooks; show or end the subscription; simulate a delivery."),
}
# Commands that set up a log format of their own, and read the log level themselves.
OWN_LOG = frozenset({"bridge", "code-server"})
# Their output is a log: so is the reason for their end.
SERVICES = frozenset({"bridge", "code-server", "dagster-webserver", "mock-strava"})

log = redaction.get_logger(__name__)


class _LazyGroup(click.Group):
    """Import a command's module when the command runs, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the signature is click's
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  see above
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"strava_pipeline.cli.{COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        # A word of Python's own, such as import, is no name of a function.
        command: click.Command = getattr(module, f"{name}_" if iskeyword(name) else name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  see above
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="strava-pipeline")
@click.pass_context
def cli(context: click.Context) -> None:
    """Keep a SQL copy of athletes' Strava activities complete, correct and fresh."""
    from strava_pipeline import own_process

    own_process.set_up(context.invoked_subcommand or "")
    settings = None if context.invoked_subcommand in OWN_LOG else _settings()
    if settings is not None:
        own_process.log_as_set(settings.log_level, settings.log_format)


def main() -> None:
    """Run the command. Exit 0; after an error one line on stderr and exit 1; after a signal exit 128 + its number."""
    redaction.install()
    forbid_core_dumps()
    # Files of this command and its child processes are their owner's alone, whichever library writes them.
    os.umask(0o077)
    # Child processes import no modules from the current folder, where other users may have put some.
    os.environ["PYTHONSAFEPATH"] = "1"
    for number in SIGNALS:
        # Every signal acts like Ctrl-C, so that `with` blocks stop the processes that the command started.
        signal.signal(number, _interrupt)
    try:
        cli()
    except Interrupted as error:
        _end(str(error), error.exit_code)
    except StravaPipelineError as error:
        _end(str(error))
    except OSError as error:
        _end(f"{error.filename or 'input or output'}: {error.strerror or type(error).__name__}")


def _settings() -> Settings | None:
    from strava_pipeline.cli.command_settings import command_settings

    try:
        return command_settings()
    except ConfigurationError:
        # A command that needs the settings reports the error itself; --help and commands without settings still work.
        return None


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
    raise KeyboardInterrupt(signum)


def _end(reason: str, code: int = 1) -> None:
    # Errors quote text of others: Strava's, a database's, names of files.
    told = f"strava-pipeline: {printable(reason)}"
    if SERVICES.intersection(sys.argv[1:2]) and log_lines.is_json(logging.root):
        log.critical("%s", told)
    else:
        click.echo(told, err=True)
    sys.exit(code)
