"""The command line of ``mgrd restore``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import click

from mgr.backup_file import Backup, read_backup
from mgr.connection import connect
from mgr.guard.state_file import StateFile
from mgr.link import KnownStoreState
from mgr.setting_flags import setting_flags
from mgr.settings import Settings
from mgr.setup import restore
from mgr.setup.files import CONFIG_FILE, settings_of
from mgr.store.keys import Keys

PAGE: Final = "docs/how-to/back-up-and-restore.md"


@click.command("restore", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@setting_flags
@click.option(
    "--config",
    default=CONFIG_FILE,
    help=f"Settings of a manager of the cluster, on its host.  [default: {CONFIG_FILE}]",
)
@click.option("--check", is_flag=True, help="Read and check FILE, and do nothing else.")
@click.option("--replace", is_flag=True, help="Delete what etcd has of this cluster.")
@click.option(
    "--running", is_flag=True, help="Do so although managers run: they hand over and wait."
)
@click.option(
    "--revision-min",
    type=click.IntRange(min=0),
    default=0,
    help="A revision or term that was seen after the backup was made; the next term is above it.",
)
def command(
    *,
    file: Path,
    config: str,
    check: bool,
    replace: bool,
    running: bool,
    revision_min: int,
    **flags: str | None,
) -> None:
    """Bring back the cluster of FILE, which 'mgrctl backup' wrote, into etcd.

    Settings are those of mgrd: etcd must answer. Refuses an etcd that has data of this cluster, and
    a cluster whose managers run, unless --replace or --running is given. Terms go on above those of
    the backup. After an interruption the same command completes the work.
    """
    settings, _ = settings_of(config, flags)
    backup = read_backup(file)
    header, keys = backup.header, Keys(settings.cluster)
    _say(
        f"{file}: {len(backup.records)} records of '{header.cluster}', made {header.made_at} by "
        f"mgrd {header.made_by} at revision {header.revision}, term {header.term}"
    )
    restore.check(backup, keys)
    if check:
        return
    state = StateFile.of(settings)
    seen = state.load() if state else KnownStoreState()
    plan = restore.Plan(
        replace=replace,
        running=running,
        revision_min=max(revision_min, seen.newest_revision, seen.newest_term),
    )
    done = asyncio.run(_restore(settings, keys, backup, plan))
    raised = f", which was raised by {done.raised}" if done.raised else ""
    _say(f"restored {done.records} records at revision {done.revision}{raised}")
    for line in restore.needs(backup.records, keys):
        _say(f"note: {line}")
    known = {header.etcd_cluster_id, f"{seen.cluster_id:x}" if seen.cluster_id else ""} - {""}
    if known - {f"{done.cluster_id:x}"}:
        _say(
            "note: this etcd is another one than before: on every manager with a state_dir, remove "
            f'the old id before it starts ("If the etcd cluster id changed" in {PAGE})'
        )


async def _restore(
    settings: Settings, keys: Keys, backup: Backup, plan: restore.Plan
) -> restore.Restored:
    store = connect(settings, KnownStoreState())
    try:
        return await restore.restore(store, keys, backup, plan, progress=_say)
    finally:
        await store.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
