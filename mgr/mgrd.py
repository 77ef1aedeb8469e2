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
from mgr.errors import InvalidSettingError, MgrError
from mgr.guard.early_signals import EarlySignals
from mgr.guard.spawn import spawn
from mgr.setting_flags import setting_flags
from mgr.settings import Settings, load
from mgr.store.keys import Keys
from mgr.tls import Tls, loose_key
from mgr.version import installed_version

RECOVER: Final = "recover-admin"
EXIT_BUG: Final = 70
"""``EX_SOFTWARE`` of sysexits.h. No error of this product has an errno of this number."""
WORKER: Final = (sys.executable, "-P", "-m", "mgr.worker")
"""``-P``: a folder ``modules`` in the working directory must not be imported by accident."""

SETUP_COMMANDS: Final = ("init", "join", "issue", "restore", "module-env")

log = logging.getLogger(__name__)


def main() -> None:
    """Run ``mgrd``, or one of the commands that make something for it."""
    # gRPC's core writes to standard error by itself, a line for each request that it refuses: any
    # client could fill the log. Its errors reach our own code as well. The worker inherits it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if sys.argv[1:2] and sys.argv[1] in SETUP_COMMANDS:
        # By name: a manager need not load them.
        importlib.import_module("mgr.setup.main").main()
        return
    if sys.argv[1:2] == [RECOVER]:
        recover_admin(sys.argv[2:], prog_name=f"mgrd {RECOVER}")
    early = EarlySignals()
    early.catch()
    command(prog_name="mgrd", obj=early)


def _flags(function: Any) -> Any:
    """Add one flag for each setting to ``function``, and the flags that are no settings."""
    config = click.option(
        "--config", type=click.Path(), help="A TOML file with settings of these names."
    )
    return click.version_option(installed_version(), message="%(prog)s %(version)s")(
        config(setting_flags(function))
    )


@click.command(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@_flags
@click.pass_obj
def command(early: EarlySignals | None, /, config: str | None, **flags: str | None) -> None:
    """Run one manager of a cluster.

    Later wins: defaults, the file, MGR_* environment variables, flags. SIGTERM hands over and
    stops; a second one stops at once. SIGHUP reads certificate files again.

    'mgrd init' makes the certificates of a new cluster, 'mgrd join' those of a further manager,
    'mgrd issue' signs with a CA's key that is kept elsewhere, 'mgrd restore' brings back a backup,
    'mgrd module-env' installs what modules require; each has its own --help.
    """
    try:
        settings = _settings(config, flags)
        settings.require_protection()
        loose = _check_certificates(settings)
        logs.set_up(
            level=settings.log_level,
            form=settings.log_format,
            manager=settings.id,
            component="guard",
            never_block=True,
        )
        for warning in loose:
            log.warning("private key is not private", extra={"why": warning})
        serve(settings, early or EarlySignals())
    except MgrError as error:
        sys.stderr.write(f"mgrd: {error}\n")
        sys.exit(error.errno)
    except Exception:  # the edge of the process
        log.critical("the guard failed", exc_info=True)
        sys.exit(EXIT_BUG)


@click.command(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@_flags
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


def _check_certificates(settings: Settings) -> list[str]:
    """Check the files of gRPC and HTTP; return which keys everybody on this host may read.

    Keys from elsewhere may have modes that an operator cannot change, so they only give a warning.
    Those that this program wrote were private: that they are not is refused.

    Raises:
        InvalidSettingError: A file cannot be read or used; the message names it.

    """
    if settings.tls_cert:
        Tls.read(settings.tls_ca, settings.tls_cert, settings.tls_key, purpose="tls_cert, tls_key")
    if settings.tls_dir and (loose := loose_key(settings.tls_key)):
        raise InvalidSettingError(f"tls_dir: {loose}")
    keys = (
        settings.tls_key,
        settings.etcd_key,
        settings.etcd_password_file,
        settings.ceph_keyring,
    )
    return [loose for key in keys if key and (loose := loose_key(key))]


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
