"""A process that writes for one term after another, and stops itself right before each sending.

``python -m tests.support.faults.writer ENDPOINT [--unguarded]``: each line of its input names a
cluster and a term; the write is made by the product's own ``FencedStore``; one line of output
says what became of it. The stopping is the product's failpoint ``write``.
"""

from __future__ import annotations

import asyncio
import sys

from mgr.errors import MgrError
from mgr.store.api import Revision
from mgr.store.etcd import EtcdStore
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from tests.support.network_faults import Unguarded

KEY = "late"
WRITTEN = "written"


async def write(store, cluster: str, term: int) -> str:
    """Write for ``term``; what the caller is told."""
    keys = Keys(cluster)
    fenced = FencedStore(store, keys, Revision(term))
    try:
        await fenced.put(keys.entry(KEY), f"by term {term}")
    except MgrError as error:
        return error.reason
    return WRITTEN


async def main(endpoint: str, *flags: str) -> None:
    """Serve until the input ends."""
    etcd = EtcdStore([endpoint])
    store = Unguarded(etcd) if "--unguarded" in flags else etcd
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        cluster, term = line.split()
        print(await write(store, cluster, int(term)), flush=True)  # noqa: T201 - its answer
    await etcd.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
