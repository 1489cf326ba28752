"""The command `kasal`: a table of subcommands, each loaded only when it is called.

The console script of the distribution. Its one rule: an error that a person can mend is one sentence
on stderr and an exit code of its own, never a stack.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 not found, 4 conflict, 5 not authenticated,
6 unavailable, 7 verification failed, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

import click

from domain import errors
from interfaces.loading import for_good, load_structlog

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("interfaces.processes.up:up", "Run everything on this machine until Ctrl-C."),
    "demo": ("interfaces.operations.demo:demo", "Run a workflow end to end and show it live."),
    "api": ("interfaces.processes.api:api", "Serve the HTTP API."),
    "relay": ("interfaces.processes.loops:relay", "Copy the event log to NATS; sign checkpoints of it."),
    "projector": ("interfaces.processes.loops:projector", "Keep the read tables up to date."),
    "dispatcher": ("interfaces.processes.loops:dispatcher", "Hand out work; take what runners report."),
    "webhooks": ("interfaces.processes.loops:webhooks", "Deliver events to subscribed endpoints."),
    "runner": ("interfaces.processes.runner:runner", "Run crews."),
    "migrate": ("interfaces.operations.setup:migrate", "Bring the event log's tables up to this release."),
    "seed": ("interfaces.operations.setup:seed", "Plant models, tools, schemas, templates, workflows."),
    "projections": (
        "interfaces.operations.projections:projections",
        "List, rebuild, verify, retry read models.",
    ),
    "events": ("interfaces.operations.events:events", "The events that are recorded."),
    "replay": ("interfaces.operations.replay:replay", "Play an execution in the terminal."),
    "whatif": ("interfaces.operations.whatif:whatif", "Run past executions with another model or prompt."),
    "history": ("interfaces.operations.history:history", "Export and import what was recorded."),
    "audit": ("interfaces.operations.audit:audit", "Prove that nobody changed the event log."),
    "retention": ("interfaces.operations.retention:retention", "Archive executions that ended long ago."),
    "cleanup": ("interfaces.operations.retention:cleanup", "Drop what is old from the read tables."),
    "erase": ("interfaces.operations.erase:erase", "Destroy what an execution said."),
    "keys": ("interfaces.operations.keys:keys", "Make and change the key that seals contents."),
    "health": ("interfaces.operations.health:health", "Whether a process on this machine is alive."),
    "config": ("interfaces.operations.config:config", "Check and show the settings."),
}
"""Name -> where it is, and what `kasal --help` says of it."""

EXIT_CODES: Mapping[type[errors.KasalError], int] = {
    errors.Invalid: 2,
    errors.NotFound: 3,
    errors.Rejected: 4,
    errors.Conflict: 4,
    errors.PreconditionFailed: 4,
    errors.KeyReused: 4,
    errors.Unauthenticated: 5,
    errors.Unavailable: 6,
}


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called; its help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        with for_good():
            load_structlog()
            command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kasal")
def kasal() -> None:
    """Kasal runs AI-agent workflows as a business runs its ledger.

    Settings come from KASAL_* variables; `kasal config show` lists them.
    """


def main() -> None:
    """The console script."""
    try:
        sys.exit(kasal.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except errors.KasalError as error:
        click.echo(f"kasal: {error}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: errors.KasalError) -> int:
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


if __name__ == "__main__":
    main()
