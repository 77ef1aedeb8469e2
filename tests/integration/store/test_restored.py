"""An etcd that is restored from a backup while a copy of it lives on."""

import asyncio
import shutil
import subprocess

import pytest

from mgr.clock import CLOCK
from mgr.store.api import Put, Record
from mgr.store.mirror import Mirror

pytestmark = pytest.mark.etcd

P = "/restored/"


def restore(etcd, backup, *flags):
    """Replace the data of ``etcd``, which does not run, by ``backup``."""
    utility = etcd.program.path.with_name("etcdutl")
    if not utility.exists():
        pytest.skip(f"there is no {utility}, which comes with etcd 3.5 and newer")
    data = etcd.directory / f"{etcd.name}.data"
    shutil.rmtree(data)
    subprocess.run(
        [
            *(utility, "snapshot", "restore", backup, f"--data-dir={data}", "--skip-hash-check"),
            *(f"--name={etcd.name}", f"--initial-cluster={etcd.cluster}"),
            *(f"--initial-advertise-peer-urls={etcd.peer}", *flags),
        ],
        check=True,
        capture_output=True,
    )


async def shown(mirror, condition):
    """Wait until the copy is current and ``condition`` holds; then what it shows."""
    async with asyncio.timeout(20):
        while not (mirror.current and condition()):  # noqa: ASYNC110 - it has no one word for both
            await asyncio.sleep(0.02)
    return mirror.list(P)


@pytest.mark.parametrize(
    "flags", [("--bump-revision=1000000", "--mark-compacted"), ()], ids=["set forward", "set back"]
)
async def test_a_copy_shows_what_a_restored_etcd_holds(connect, own_etcd, tmp_path, flags):
    """Nothing of what was written after the backup survives, whatever its revision.

    One that was set back is not listened to until it is past what it was: somebody else, who
    never saw that, writes meanwhile. (If nobody asks while it is behind, nobody can know.)
    """
    loop = asyncio.get_running_loop()
    store = connect(own_etcd.endpoints)
    mirror = Mirror(store, P, CLOCK)
    backup = tmp_path / "backup.db"
    await store.commit([Put(f"{P}kept", "1"), Put(f"{P}changed", "1"), Put(f"{P}own", "1")])
    await loop.run_in_executor(None, own_etcd.stop)
    shutil.copy(own_etcd.directory / f"{own_etcd.name}.data" / "member" / "snap" / "db", backup)
    own_etcd.start()
    await loop.run_in_executor(None, own_etcd.wait_ready)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(mirror.run())
        await store.commit([Put(f"{P}changed", "2"), Put(f"{P}new", "2")], timeout_s=10)
        made = (await store.commit([Put(f"{P}own", "2")], timeout_s=10)).revision
        mirror.note_own([Record(f"{P}own", "2", made, made)], [], made)
        await shown(mirror, lambda: f"{P}new" in mirror.list(P))

        await loop.run_in_executor(None, own_etcd.stop)
        restore(own_etcd, backup, *flags)
        own_etcd.start()
        await loop.run_in_executor(None, own_etcd.wait_ready)
        if not flags:
            async with asyncio.timeout(20):
                while not store.identity.trouble:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
            other = connect(own_etcd.endpoints)
            while await other.commit([Put("/elsewhere", "")], timeout_s=10):
                assert not mirror.current
                if (await other.list("/elsewhere", timeout_s=10)).revision > made:
                    break
        copy = await shown(mirror, lambda: f"{P}new" not in mirror.list(P))

        listing = await store.list(P, timeout_s=10)
        running.cancel()
    assert {key: record.value for key, record in copy.items()} == {
        f"{P}changed": "1",
        f"{P}kept": "1",
        f"{P}own": "1",
    }
    assert tuple(copy.values()) == listing.records
