"""Connections to file systems: shared, counted, and refused in words where there are none."""

import errno
import logging
import sys
import types

import pytest

from mgr.module_api.ceph import cephfs
from mgr.module_api.ceph.cephfs import (
    CephfsClient,
    CephfsConnectionException,
    lock_timeout_log,
    open_filesystem,
)
from mgr.module_api.module import MgrModule
from tests.support.context import run

MAP = {
    "filesystems": [
        {
            "id": 1,
            "mdsmap": {
                "fs_name": "home",
                "metadata_pool": 2,
                "info": {"gid_1": {"name": "a"}},
                "qdb_cluster": {"leader": 7},
            },
        }
    ],
    "standbys": [],
}


class Module(MgrModule):
    """Nothing of its own."""


@pytest.fixture
def client():
    """A client, the context of its module, and what was done with connections."""
    module, context = run(Module)
    context.documents["fs_map"] = MAP
    return CephfsClient(module), context


@pytest.fixture
def bindings(monkeypatch, tmp_path):
    """Ceph's bindings, as far as a connection needs them; what they were told."""
    received = []

    class Handle:
        def __init__(self, **given):
            received.append("made")

        def init(self):
            received.append("init")

        def conf_get(self, name):
            return "5"

        def get_addrs(self):
            return "addr"

        def connect(self):
            received.append("connect")

        def mount(self, filesystem_name):
            received.append(filesystem_name)

        def shutdown(self):
            received.append("shutdown")

    for name, kind in (("rados", "Rados"), ("cephfs", "LibCephFS")):
        module = types.ModuleType(name)
        setattr(module, kind, Handle)
        monkeypatch.setitem(sys.modules, name, module)
    configuration = tmp_path / "ceph.conf"
    configuration.touch()
    monkeypatch.setenv("CEPH_CONF", str(configuration))
    return received


def test_an_unknown_file_system_is_refused(client):
    """In the form in which a command answers it."""
    with pytest.raises(CephfsConnectionException) as caught, open_filesystem(client[0], "none"):
        pass

    assert caught.value.to_tuple() == (-errno.ENOENT, "", "FS 'none' not found")
    assert str(caught.value) == "-2 (FS 'none' not found)"


def test_without_ceph_a_file_system_is_not_connected(client, monkeypatch):
    """The module hears it in the form it expects."""
    monkeypatch.setitem(sys.modules, "cephfs", None)

    with pytest.raises(CephfsConnectionException, match="are not on this host"):
        client[0].connection_pool.get_fs_handle("home")


def test_a_connection_is_shared_and_closed_once(client, bindings):
    """Two users, one mount."""
    with open_filesystem(client[0], "home") as one, open_filesystem(client[0], "home") as two:
        assert one is two
    client[0].connection_pool.del_connections("home", wait=True)
    client[0].connection_pool.del_connections("home")
    client[0].shutdown()

    assert bindings.count(b"home") == 1
    assert bindings.count("shutdown") == 1
    assert client[0].is_stopping()


def test_a_connection_in_use_is_waited_for(client, bindings, monkeypatch):
    """Up to a limit, so that a lost user holds nobody up for ever."""
    monkeypatch.setattr(cephfs, "RELEASE_TIMEOUT_S", 0.01)
    pool = client[0].connection_pool
    pool.get_fs_handle("home")

    pool.del_connections("home", wait=True)

    assert bindings[-1] == "shutdown"


def test_a_module_that_stops_closes_what_it_opened(client, bindings):
    """At the first use opened, at the end closed."""
    module = client[0].mgr
    assert module.cephfs is module.cephfs

    module.shutdown()

    assert bindings.count("shutdown") == 2


def test_the_map_is_read_by_name(client):
    """None of these asks anybody."""
    assert client[0].get_all_filesystems() == ["home"]
    assert (client[0].get_metadata_pool("home"), client[0].get_mds_names("home")) == (2, ["a"])
    assert client[0].get_fs("none") is client[0].get_metadata_pool("none") is None
    assert client[0].get_mds_names("none") == []
    assert client[0].mgr.get_quiesce_leader_gid("1") == 7


def test_a_leader_that_moved_is_followed(client):
    """Five times at most."""
    module, context = client[0].mgr, client[1]
    answers = [(-errno.ENOTTY, '{"leader": 8}', ""), (0, "done", "")]
    asked = []

    def send(arguments, inbuf, tag, *, absent, complete):
        asked.append(absent)
        complete(*answers.pop(0))

    context.send_command = send

    assert module.tell_quiesce_leader(7, {"prefix": "quiesce db"}) == (0, "done", "")
    assert [text.split()[0] for text in asked] == ["mds.7", "mds.8"]


def test_a_lock_that_is_not_acquired_is_logged(caplog, monkeypatch):
    """Once, and then it is waited for all the same."""

    class Slow:
        def __init__(self):
            self.tries, self.released = [False, False, True], 0

        def acquire(self, timeout):
            return self.tries.pop(0)

        def release(self):
            self.released += 1

    lock = Slow()
    monkeypatch.setattr(cephfs, "SLOW_LOCK_S", -1.0)

    with caplog.at_level(logging.INFO), lock_timeout_log(lock):
        assert lock.released == 0

    assert caplog.text.count("possible deadlock") == 1
    assert (lock.tries, lock.released) == ([], 1)
