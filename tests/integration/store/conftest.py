"""Ways to a real etcd that can be broken."""

import pytest

from mgr.store.etcd import EtcdStore
from tests.support.faults.proxy import Proxy


@pytest.fixture
async def connect():
    """``EtcdStore(...)``, closed in the end."""
    stores = []

    def make(endpoints, **options):
        stores.append(EtcdStore(endpoints, **options))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def proxy(etcd):
    """A cable to the shared etcd."""
    async with Proxy(etcd.address) as cable:
        yield cable
