"""``mgrd``: read the settings, start the worker process, and run the guard in this process.

Exit status: 0, stopped as requested; otherwise the errno of the error that is printed in one line
on standard error: 22 (EINVAL) a setting is wrong, 17 (EEXIST) the name is taken, 98 (EADDRINUSE) a
port is taken; 2, the command line is invalid; 70, a bug, with its traceback. If etcd refuses the
credentials, the manager logs that and tries again: they may be corrected without a restart.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from mgr import logs
from mgr.errors import MgrError
from mgr.guard.early_signals import EarlySignals
from mgr.guard.spawn import spawn
from mgr.settings import ENVIRONMENT_PREFIX, Settings, describe, load
from mgr.store.keys import Keys
from mgr.tls import check_pair
from mgr.version import installed_version

RECOVER: Final = "recover-admin"
EXIT_BUG: Final = 70
"""``EX_SOFTWARE`` of sysexits.h. No error of this product has an errno of this number."""
WORKER: Final = (sys.executable, "-P", "-m", "mgr.worker")
"""``-P``: a folder ``modules`` in the working directory must not be imported by accident."""

log = logging.getLogger(__name__)


def main() -> None:
    """Run ``mgrd``."""
    if sys.argv[1:2] == [RECOVER]:
        recover_admin(sys.argv[2:], prog_name=f"mgrd {RECOVER}")
    early = EarlySignals()
    early.catch()
    command(prog_name="mgrd", obj=early)


def _setting_flags(function: Any) -> Any:
    """Add one flag for each setting to ``function``, and the flags that are no settings."""
    for name, kind, default, words in reversed(list(describe())):
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        flag = click.option(
            f"--{name.replace('_', '-')}",
            name,
            metavar=kind.upper().replace(" ", "-"),
            help=f"{words}.  [{ENVIRONMENT_PREFIX}{name.upper()}; default: {shown or 'none'}]",
        )
        function = flag(function)
    config = click.option(
        "--config", type=click.Path(), help="A TOML file with settings of these names."
    )
    return click.version_option(installed_version(), message="%(prog)s %(version)s")(
        config(function)
    )


@click.command(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@_setting_flags
@click.pass_obj
def command(early: EarlySignals | None, /, config: str | None, **flags: str | None) -> None:
    """Run one manager of a cluster.

    Later wins: defaults, the file, MGR_* environment variables, flags. SIGTERM hands over and
    stops; a second one stops at once.
    """
    try:
        settings = _settings(config, flags)
        if settings.tls_cert:
            check_pair(settings.tls_cert, settings.tls_key)
        logs.set_up(
            level=settings.log_level,
            form=settings.log_format,
            manager=settings.id,
            component="guard",
            never_block=True,
        )
        serve(settings, early or EarlySignals())
    except MgrError as error:
        sys.stderr.write(f"mgrd: {error}\n")
        sys.exit(error.errno)
    except Exception:  # the edge of the process
        log.critical("the guard failed", exc_info=True)
        sys.exit(EXIT_BUG)


@click.command(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@_setting_flags
@click.argument("client")
def recover_admin(config: str | None, client: str, **flags: str | None) -> None:
    """Give CLIENT every right, for whoever has access to etcd.

    CLIENT is the common name in a certificate, or dns:NAME, uri:URI or token:NAME. From then on
    the cluster demands authentication. No manager needs to run; etcd is reached by the settings of
    mgrd.
    """
    try:
        entry = asyncio.run(_make_administrator(_settings(config, flags), client))
    except MgrError as error:
        sys.stderr.write(f"mgrd {RECOVER}: {error}\n")
        sys.exit(error.errno)
    sys.stdout.write(f"client '{entry}' may do everything now\n")


async def _make_administrator(settings: Settings, client: str) -> str:
    # Imported here: mgrd itself starts without them.
    from mgr.access.administrator import make_administrator  # noqa: PLC0415
    from mgr.audit.record import note_of_etcd_owner  # noqa: PLC0415
    from mgr.connection import connect  # noqa: PLC0415
    from mgr.link import KnownStoreState  # noqa: PLC0415

    store = connect(settings, KnownStoreState())
    try:
        keys = Keys(settings.cluster)
        note = note_of_etcd_owner(keys, f"mgrd {RECOVER}", {"client": client})
        return await make_administrator(store, keys, client, along=[note])
    finally:
        await store.close()


def _settings(config: str | None, flags: Mapping[str, str | None]) -> Settings:
    return load(
        file=config,
        environment=os.environ,
        flags={name: value for name, value in flags.items() if value is not None},
    )


def serve(settings: Settings, early: EarlySignals) -> None:
    """Run manager ``settings.id`` until SIGTERM or SIGINT, which ``early`` keeps until it runs.

    Raises:
        MgrError: The manager cannot run; nothing was changed.

    """
    # A worker takes longer to start than a guard, so its interpreter starts during our imports.
    first = spawn(WORKER)
    try:
        service = importlib.import_module("mgr.guard.service")
    except BaseException:
        first.terminate()
        raise
    service.run(settings, worker=WORKER, first=first, version=installed_version(), early=early)
