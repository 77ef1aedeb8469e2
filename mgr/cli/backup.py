"""``mgrctl backup FILE``: writes what the cluster keeps in etcd to a file, at one revision."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import click

from mgr.backup_file import BackupHeader, BackupWriter
from mgr.cli import output
from mgr.cli.invocation import Invocation
from mgr.cli.local import Front
from mgr.errors import ConflictError, InvalidArgumentError

TRIES: Final = 3
"""Etcd may compact the revision that is read; then the backup begins again at a newer one."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def command(front: Front, file: Path, *, force: bool) -> int:
    """Write a backup of the cluster to FILE, which only its owner can read.

    It holds everything that the cluster keeps in etcd, at one revision: options, modules, their
    data, maps, daemons, rights, audit; nothing waits for it. Secrets are in it, encrypted only if
    they are sealed in etcd. The key that seals them (seal_key_file, seal_command) and the
    passphrase of the CA (in tls_dir) are not: keep these elsewhere. 'mgrd restore FILE' restores
    it.
    """
    if file.exists() and not force:
        raise InvalidArgumentError(f"{file} exists already: --force replaces it")
    from mgr.client.async_client import AsyncClient  # noqa: PLC0415 - imports grpc

    invocation = front.invocation_of(("backup",))

    async def run() -> int:
        async with AsyncClient(
            invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
        ) as client:
            for _ in range(TRIES - 1):
                try:
                    return await _write(client, invocation, file, front)
                except ConflictError:
                    continue
            return await _write(client, invocation, file, front)

    return asyncio.run(run())


async def _write(client: Any, invocation: Invocation, file: Path, front: Front) -> int:
    begun = await client.execute(("backup", "begin"), {"format": "json"})
    if begun.retval < 0:
        return output.refusal(begun.retval, begun.stderr, front.format)
    header = BackupHeader(**json.loads(begun.stdout))
    writer = BackupWriter(file, header)
    try:
        after = ""
        while True:
            words = ["backup", "page", str(header.revision), *([after] if after else [])]
            answer = await client.execute(words, {"format": "json"}, changes=False)
            if answer.retval < 0:
                return output.refusal(answer.retval, answer.stderr, front.format)
            page = json.loads(answer.stdout)
            writer.add((key, value) for key, value in page["records"])
            after = page["after"]
            if not after:
                break
        digest = writer.commit()
    finally:
        writer.discard()
    document = {
        "file": str(file),
        "records": writer.records,
        "revision": header.revision,
        "cluster": header.cluster,
        "sha256": digest,
    }
    if invocation.format.startswith("json"):
        indent = 4 if invocation.format == "json-pretty" else None
        output.write(json.dumps(document, indent=indent).encode() + b"\n")
    else:
        front.remark(
            f"{writer.records} records of '{header.cluster}' at revision {header.revision}"
        )
    return 0
