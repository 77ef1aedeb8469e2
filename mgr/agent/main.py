"""``mgr-agent``: reads the settings, then runs the host's agent until a signal stops it.

Exit status: 0, stopped by a signal; 17 (EEXIST), another program joined under the host's name;
22 (EINVAL), a setting is invalid; 2, the command line is invalid or psutil is missing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from importlib.util import find_spec
from typing import Final, NoReturn

import click

from mgr import logs
from mgr.agent.settings import HOST, AgentSettings, load
from mgr.errors import MgrError
from mgr.version import installed_version

NO_PSUTIL: Final = "mgr-agent needs psutil: pip install 'mgrd[agent]'"


FOLDER: Final = "/var/lib/mgr-agent"
TOKEN_VARIABLE: Final = "MGR_JOIN_TOKEN"  # noqa: S105 - a name, not a secret


def main() -> None:
    """Run ``mgr-agent``, or ``mgr-agent join``."""
    if sys.argv[1:2] == ["join"]:
        join(sys.argv[2:], prog_name="mgr-agent join")
    command(prog_name="mgr-agent")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("hosts", metavar="HOST:PORT,...")
@click.option("--token", envvar=TOKEN_VARIABLE, required=True, help=f"[{TOKEN_VARIABLE}]")
@click.option("--id", help="The host's name in the fleet.  [default: its host name]")
@click.option(
    "--dir", "folder", default=FOLDER, help=f"Folder for the certificate.  [default: {FOLDER}]"
)
def join(hosts: str, token: str, id: str | None, folder: str) -> None:  # noqa: A002 - the flag
    """Get this host's certificate from the managers at HOST:PORT, for a join token."""
    # Imported here: cryptography takes a while to load, and the agent itself seldom needs it.
    from mgr.client.join_cluster import join as join_cluster  # noqa: PLC0415

    try:
        name = f"{HOST}.{load(None, {'id': id} if id else {}).id}"
        asyncio.run(join_cluster(hosts, token, name, folder))
    except MgrError as error:
        _end(error)
    sys.stdout.write(f'{name} has a certificate: set tls_dir = "{folder}", or --tls-dir\n')


@click.command(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(), help="A TOML file; deploy/agent.toml is a sample.")
@click.option("--hosts", help="Some managers, host:port, separated by commas.  [MGR_HOSTS]")
@click.option("--id", help="The host's name in the fleet.  [default: its host name]")
@click.option("--tls-ca", help="CA that signed the managers' certificates; turns TLS on.")
@click.option("--tls-cert", help="Certificate for managers that ask for one.")
@click.option("--tls-key", help="Private key of the certificate.")
@click.option("--tls-dir", help="Folder made by 'mgr-agent join', instead of the three.")
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
def command(config: str | None, **flags: str | None) -> None:
    """Make this host a member of the fleet: host.<id>.

    Settings come from defaults, the file, MGR_HOSTS and flags; a later source wins. SIGTERM removes
    the host from the fleet and stops the agent. 'mgr-agent join' gets a certificate for a token.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if hosts := os.environ.get("MGR_HOSTS"):
        given.setdefault("hosts", hosts)
    try:
        settings = load(config, given)
        settings.tls()
    except MgrError as error:
        _end(error)
    if find_spec("psutil") is None:
        raise click.UsageError(NO_PSUTIL)
    logs.set_up(
        level=settings.log_level,
        form=settings.log_format,
        manager=settings.id,
        component="agent",
        never_block=True,
    )
    try:
        asyncio.run(_serve(settings))
    except MgrError as error:
        _end(error)


def _end(error: MgrError) -> NoReturn:
    sys.stderr.write(f"mgr-agent: {error}\n")
    sys.exit(error.errno)


async def _serve(settings: AgentSettings) -> None:
    # Imported after the check for psutil, whose absence is reported in one line.
    from mgr.agent.agent import serve  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, installed_version(), stop)
