"""``mgrctl mgr module install FILE``: sends a module's package to the active manager."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Final

import click

from mgr.cli import output
from mgr.cli.local import Front
from mgr.errors import InvalidArgumentError, TooLargeError

BYTES_MAX: Final = 1 << 20
"""The managers' limit, so that a larger file is refused before it is sent."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", "digest", default="", metavar="DIGEST", help="Refuse any other file.")
@click.pass_obj
def command(front: Front, file: Path, digest: str) -> int:
    """Install the package FILE (of 'mgrctl module package') on every manager of the cluster.

    A module of that name that was installed before is replaced, at once on each manager; 'mgr
    module rollback' goes back. Each manager needs the setting module_install. The module's code
    runs on every manager: it needs 'allow *', or a
    grant of the command "mgr module install-package".
    """
    from mgr.client.async_client import AsyncClient  # noqa: PLC0415 - imports grpc

    data = _read(file)
    found = hashlib.sha256(data).hexdigest()
    if digest and digest.removeprefix("sha256:") != found:
        raise InvalidArgumentError(f"{file} is not the one that was named: sha256:{found}")
    invocation = front.invocation_of(("mgr", "module", "install-package", found))

    async def run() -> int:
        async with AsyncClient(
            invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
        ) as client:
            answer = await client.execute(invocation.words, data=base64.b64encode(data))
        if answer.retval < 0:
            return output.refusal(answer.retval, answer.stderr, front.format)
        front.remark(answer.stderr)
        return 0

    return asyncio.run(run())


def _read(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > BYTES_MAX:
        raise TooLargeError(
            f"{file} has {len(data)} bytes; a package to install has at most {BYTES_MAX}: leave "
            "out what the module does not need, or unpack it on each host with 'mgrctl module "
            "unpack'"
        )
    return data
