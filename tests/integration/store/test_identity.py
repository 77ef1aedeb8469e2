"""Endpoints of two etcd clusters, which know nothing of each other's keys and leases."""

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from mgr.errors import LeaseExpiredError, StoreUnavailableError
from mgr.store import etcd3_stubs
from mgr.store.api import Changed, Current, Interrupted, Listed, Put
from mgr.store.endpoint import Request
from mgr.store.identity import StoreIdentity
from mgr.store.login import EtcdLogin
from tests.support.etcd import Etcd
from tests.support.faults.proxy import Proxy
from tests.support.reader import Reader
from tests.support.secured_etcd import USER, secured

pytestmark = pytest.mark.etcd


@pytest.fixture
def foreign(etcd_program, etcd_directory):
    """An etcd of a cluster of its own."""
    directory = Path(tempfile.mkdtemp(dir=etcd_directory))
    with Etcd(directory, name="x", program=etcd_program) as running:
        yield running
    shutil.rmtree(directory)


async def id_of(connect, etcd):
    """The cluster id of an etcd."""
    return (await connect(etcd.endpoints).status()).cluster_id


@pytest.fixture
async def switched(connect, own_etcd, foreign):
    """Connect through a cable to our etcd, then lead it to the foreign one, which is listed first.

    Gives the store, the cable and the lease that the store has in our etcd.
    """
    async with Proxy(own_etcd.address) as cable:
        store = connect([cable.address, *own_etcd.endpoints])
        lease = (await store.grant(30)).lease
        await store.commit([Put("/k", "ours", lease)])
        cable._target = foreign.address.rpartition(":")[::2]
        cable.reset()
        yield store, cable, lease


async def test_every_answer_names_its_cluster(connect, own_etcd):
    """Of each method that is used: what the checks rest on."""
    store = connect(own_etcd.endpoints)
    expected = await id_of(connect, own_etcd)
    lease = (await store.grant(30)).lease
    methods = {
        ("KV", "Range"): {"key": b"/k"},
        ("KV", "Txn"): {},
        ("Lease", "LeaseGrant"): {"ID": 5, "TTL": 30},
        ("Lease", "LeaseKeepAlive"): {"ID": lease},
        ("Lease", "LeaseTimeToLive"): {"ID": lease},
        ("Lease", "LeaseRevoke"): {"ID": lease},
        ("Maintenance", "Status"): {},
    }
    for name, fields in methods.items():
        method = etcd3_stubs.method(*name)
        request = Request(method, method.request(**fields), " ".join(name))
        answer = await store._channel.ask(request, timeout_s=5)
        assert answer.header.cluster_id == expected, name
    async with Reader(store.follow("/")) as reader:
        await reader.until(lambda: reader.count(Current) >= 1)
        assert reader.count(Interrupted) == 0


async def test_the_cluster_is_named_to_whoever_has_no_rights(connect, etcd_program, etcd_directory):
    """With users: the question needs neither a token nor a right to any key."""
    with secured(etcd_directory, users=True) as etcd:
        store = connect(etcd.endpoints, login=EtcdLogin(*USER))
        assert (await store.commit([Put("/mgr/k", "1")])).succeeded
        assert store.identity.cluster_id


async def test_a_member_without_a_quorum_still_names_its_cluster(connect, etcd_cluster):
    """An election inside etcd does not leave the first contact to a foreign one."""
    expected = await id_of(connect, etcd_cluster)
    one, two, three = etcd_cluster.members
    one.kill()
    two.kill()
    store = connect(three.endpoints)

    with pytest.raises(StoreUnavailableError):
        await store.get("/k", timeout_s=2)

    assert store.identity.cluster_id == expected


async def test_a_lease_is_not_lost_by_the_word_of_a_foreign_etcd(switched):
    """It has no such lease and says so: with an error, or with a life of no seconds."""
    store, cable, lease = switched

    assert await store.renew(lease, timeout_s=5) == 30
    outcome = await store.commit([Put("/k", "again", lease)], timeout_s=5)

    assert outcome.succeeded
    assert (await store.get("/k")).value == "again"
    assert list(store.identity.foreign) == [cable.address]


async def test_an_expired_lease_is_still_found_expired(connect, own_etcd):
    """The refusal of the right cluster counts."""
    store = connect(own_etcd.endpoints)
    lease = (await store.grant(30)).lease
    await store.revoke(lease)

    with pytest.raises(LeaseExpiredError):
        await store.commit([Put("/k", "1", lease)])
    with pytest.raises(LeaseExpiredError):
        await store.renew(lease)


async def test_a_feed_shows_nothing_of_a_foreign_etcd(switched, connect, foreign):
    """It goes on at another endpoint, with every change of the right cluster."""
    store, _, _ = switched
    other = connect(foreign.endpoints)
    async with Reader(store.follow("/")) as reader:
        await reader.until(lambda: "/k" in reader.known)
        await other.commit([Put("/foreign", "")])
        await store.commit([Put("/ours", "")], timeout_s=5)
        await reader.until(lambda: "/ours" in reader.known)

    assert "/foreign" not in reader.known


async def test_a_foreign_endpoint_is_found_before_it_is_needed(connect, own_etcd, foreign):
    """Asked now and then beside the one in use, which goes on working."""
    store = connect([*own_etcd.endpoints, *foreign.endpoints])
    store.identity.cluster_id = await id_of(connect, own_etcd)
    await store.get("/k")
    assert store.identity.foreign == {}

    await store.check_endpoints()

    assert list(store.identity.foreign) == [foreign.address]
    assert store.identity.trouble == ""


async def test_a_leap_of_the_revision_is_a_restore(connect, own_etcd, etcd_tools, tmp_path):
    """What was read before is not what is there now: whoever leads must begin again."""
    store = connect(own_etcd.endpoints)
    await store.commit([Put("/k", "old")])
    async with Reader(store.follow("/")) as reader:
        await reader.until(lambda: reader.count(Current) >= 1)
        await asyncio.to_thread(restored, own_etcd, etcd_tools, tmp_path, bump=True)

        await store.get("/k", timeout_s=10)
        assert store.identity.restores == 1
        assert store.identity.trouble == ""
        await reader.until(lambda: reader.count(Listed) == 2)
        await store.commit([Put("/k", "new")])
        await reader.until(lambda: reader.count(Changed) >= 1)


async def test_a_restart_of_etcd_is_no_restore(connect, own_etcd):
    """Nothing was lost."""
    store = connect(own_etcd.endpoints)
    await store.commit([Put("/k", "1")])
    own_etcd.kill()
    own_etcd.start()
    await asyncio.to_thread(own_etcd.wait_ready)

    assert (await store.get("/k", timeout_s=10)).value == "1"
    assert store.identity.restores == 0


async def test_a_plain_restore_is_not_written_to(connect, own_etcd, etcd_tools, tmp_path):
    """Found out by a read before the first write, by what an earlier process has seen."""
    store = connect(own_etcd.endpoints)
    await asyncio.to_thread(save, own_etcd, etcd_tools, tmp_path)
    for number in range(5):
        await store.commit([Put("/k", str(number))])
    seen = store.identity.seen
    await asyncio.to_thread(restored, own_etcd, etcd_tools, tmp_path, bump=False)
    later = connect(own_etcd.endpoints, identity=StoreIdentity(seen))

    with pytest.raises(StoreUnavailableError, match="went back in time"):
        await later.commit([Put("/k", "late")], timeout_s=5)

    assert await connect(own_etcd.endpoints).get("/k", timeout_s=5) is None


def save(etcd, path, folder):
    """Back it up."""
    tool(path, "etcdctl", "--endpoints", etcd.address, "snapshot", "save", str(folder / "b.db"))


def restored(etcd, path, folder, *, bump):
    """Restore it from the backup, or from one made now, and start it."""
    if not (folder / "b.db").exists():
        save(etcd, path, folder)
    data = etcd.directory / f"{etcd.name}.data"
    etcd.kill()
    shutil.rmtree(data)
    more = ["--bump-revision", "1000000000", "--mark-compacted"] if bump else []
    members = ["--name", etcd.name, "--initial-cluster", etcd.cluster]
    members += ["--initial-advertise-peer-urls", etcd.peer, "--data-dir", str(data)]
    tool(path, "etcdutl", "snapshot", "restore", str(folder / "b.db"), *members, *more)
    etcd.start()
    etcd.wait_ready()


def tool(path, program, *words):
    """Run one of etcd's programs."""
    found = shutil.which(program, path=path)
    subprocess.run([found, *words], check=True, capture_output=True, timeout=30)
