"""The module ``ceph`` over a fake of librados: what it asks, publishes, answers and reports."""

import errno
import json
import threading

import pytest

from tests.support.cluster import wait_for

STATUS = {
    "fsid": "f-1", "election_epoch": 2, "quorum_names": ["a"], "pgmap": {"num_pgs": 1},
    "osdmap": {"epoch": 5}, "fsmap": {"epoch": 6}, "monmap": {"epoch": 1},
}  # fmt: skip
ANSWERS = {
    "get_command_descriptions": {
        "cmd1": {"sig": ["osd", "pool", "create", {"name": "pool"}], "perm": "rw"},
        "cmd2": {"sig": ["osd", "dump"], "perm": "r"},
    },
    "status": STATUS,
    "health": {"checks": {}},
    "osd dump": {"epoch": 5, "pools": [], "osds": []},
    "osd tree": {"nodes": [], "stray": []},
    "osd crush dump": {"devices": []},
    "osd metadata": [],
    "fs dump": {"epoch": 6, "filesystems": []},
    "mds metadata": [],
    "mon dump": {"mons": []},
    "mon_status": {"name": "a"},
    "mon metadata": [{"name": "a", "hostname": "h"}],
    "osd pool stats": [],
    "device ls": [],
    "df": {"stats": {}, "pools": []},
    "pg dump": {
        "pg_map": {
            "pg_stats": [], "pg_stats_sum": {}, "pool_stats": [], "osd_stats": [],
            "pg_stats_delta": {},
        }
    },
}  # fmt: skip


class Rados:
    """Keeps the promises of the handle: return value, bytes, text."""

    def __init__(self):
        self.answers = dict(ANSWERS)
        self.sent = []
        self.silent = False

    def mon_command(self, command, inbuf, target=None):
        return self._answer("mon", target, command, inbuf)

    def mgr_command(self, command, inbuf, target=None):
        return self._answer("mgr", target, command, inbuf)

    def osd_command(self, number, command, inbuf):
        return self._answer("osd", number, command, inbuf)

    def shutdown(self):
        self.silent = True

    def _answer(self, kind, target, command, inbuf):
        prefix = json.loads(command)["prefix"]
        self.sent.append((kind, target, prefix))
        if self.silent:
            return -errno.ETIMEDOUT, b"", ""
        if prefix not in self.answers:
            return -errno.EINVAL, b"", "command not known"
        return 0, json.dumps(self.answers[prefix]).encode(), "so be it"


@pytest.fixture
def rados():
    return Rados()


@pytest.fixture
def ceph(mgr_host, rados):
    module = mgr_host.load("modules.ceph")
    mgr_host.context.native["mgr_ceph_conf"] = "/etc/ceph/ceph.conf"
    module._rados = rados
    return module


def poll(ceph):
    """One round of ``serve``."""
    ceph._poll()


def test_the_first_poll_publishes_every_document(ceph, mgr_host):
    """And learns which commands change something."""
    poll(ceph)

    published = mgr_host.context.documents
    assert published["osd_map"]["epoch"] == 5
    assert published["fs_map"]["epoch"] == 6
    assert {"df", "pg_dump", "mon_status", "osd_metadata", "pg_status"} <= set(published)
    assert ceph._link.changes('{"prefix": "osd pool create"}')
    assert not ceph._link.changes('{"prefix": "osd dump"}')
    assert json.loads(mgr_host.run("ceph status --format json").stdout)["fsid"] == "f-1"


def test_only_maps_with_a_new_epoch_are_read_again(ceph, rados):
    """The placement groups are read each time: they have no epoch."""
    poll(ceph)
    rados.sent.clear()
    rados.answers["status"] = {**STATUS, "fsmap": {"epoch": 7}}

    poll(ceph)

    asked = {prefix for _, _, prefix in rados.sent}
    assert {"fs dump", "mds metadata", "pg dump"} <= asked
    assert not asked & {"osd dump", "osd tree", "mon dump"}


def test_a_device_that_is_gone_has_an_empty_document(ceph, rados, mgr_host):
    """As an unknown one has in ceph-mgr."""
    rados.answers["device ls"] = [{"devid": "maker_1"}]
    poll(ceph)
    assert mgr_host.context.documents["device maker_1"] == {"device": {"devid": "maker_1"}}

    rados.answers["device ls"] = []
    poll(ceph)

    assert mgr_host.context.documents["device maker_1"] == {}
    assert mgr_host.context.documents["devices"] == {"devices": []}


def test_what_was_not_published_is_read_again(ceph, rados, mgr_host):
    """A poll that breaks off in the middle leaves nothing out for good."""
    poll(ceph)
    rados.answers["status"] = {**STATUS, "osdmap": {"epoch": 9}}
    rados.answers["osd dump"] = {"epoch": 9, "pools": [], "osds": []}
    del rados.answers["osd metadata"]
    poll(ceph)
    assert mgr_host.context.documents["osd_map"]["epoch"] == 5
    assert "MGR_CEPH_UNREACHABLE" in mgr_host.context.health

    rados.answers["osd metadata"] = []
    poll(ceph)

    assert mgr_host.context.documents["osd_map"]["epoch"] == 9
    assert not mgr_host.context.health


def test_a_cluster_without_a_manager_has_maps_but_no_placement_groups(ceph, rados, mgr_host):
    """Its health says why; it is reachable."""
    del rados.answers["pg dump"]
    poll(ceph)

    assert mgr_host.context.documents["osd_map"]["epoch"] == 5
    assert "pg_dump" not in mgr_host.context.documents
    assert not mgr_host.context.health


def test_without_the_setting_nothing_is_asked(ceph, rados, mgr_host):
    """Whoever enables the module alone is told what is missing."""
    mgr_host.context.native["mgr_ceph_conf"] = ""
    poll(ceph)

    assert "ceph_conf" in mgr_host.context.health["MGR_CEPH_UNREACHABLE"]["summary"]
    assert rados.sent == []


def test_a_silent_cluster_is_reported_and_its_maps_stay(ceph, rados, mgr_host):
    """Commands are refused at once: each would wait for its own time-out."""
    poll(ceph)
    rados.silent = True
    poll(ceph)

    assert "ETIMEDOUT" in mgr_host.context.health["MGR_CEPH_UNREACHABLE"]["summary"]
    assert mgr_host.context.documents["osd_map"]["epoch"] == 5
    rados.sent.clear()
    retval, _, text = ceph.run_command("mon", "", '{"prefix": "osd dump"}', "")
    assert (retval, rados.sent) == (-errno.ETIMEDOUT, [])
    assert "not reachable" in text

    rados.silent = False
    poll(ceph)
    assert not mgr_host.context.health
    assert ceph.run_command("mon", "", '{"prefix": "osd dump"}', "")[0] == 0


def test_commands_reach_their_targets(ceph, rados):
    """With data, text and errors as they are; an exception of the library is an errno."""
    assert ceph.run_command("mon", "", '{"prefix": "osd tree"}', "") == (
        0, '{"nodes": [], "stray": []}', "so be it",
    )  # fmt: skip
    assert ceph.run_command("osd", "3", '{"prefix": "perf dump"}', "")[0] == -errno.EINVAL
    assert rados.sent == [("mon", None, "osd tree"), ("osd", 3, "perf dump")]
    assert ceph.run_command("osd", "x", "{}", "")[0] == -errno.EIO


def test_a_command_that_changed_something_waits_for_the_maps(ceph, rados, mgr_host):
    """Whoever gets its answer reads what it did."""
    rados.answers["osd pool create"] = {}
    serving = threading.Thread(target=ceph.serve, daemon=True)
    serving.start()
    wait_for(lambda: "osd_map" in mgr_host.context.documents, "the first poll")
    rados.answers["status"] = {**STATUS, "osdmap": {"epoch": 12}}
    rados.answers["osd dump"] = {"epoch": 12, "pools": ["new"], "osds": []}

    ceph.run_command("mon", "", '{"prefix": "osd pool create"}', "")

    assert mgr_host.context.documents["osd_map"]["pools"] == ["new"]
    ceph.shutdown()
    serving.join(5)
    assert not serving.is_alive()


def test_a_document_that_is_too_large_does_not_keep_back_the_others(ceph, mgr_host, monkeypatch):
    """It is named in the log; what fits is published."""
    publish = ceph.set_ceph_documents

    def limited(documents):
        if "pg_dump" in documents:
            raise ValueError("a message of 70000000 bytes is above the limit")
        publish(documents)

    monkeypatch.setattr(ceph, "set_ceph_documents", limited)
    poll(ceph)

    assert "pg_dump" not in mgr_host.context.documents
    assert mgr_host.context.documents["osd_map"]["epoch"] == 5


def test_a_connection_in_use_is_not_closed(ceph, rados, monkeypatch):
    """The library would break under the command; a later one is refused."""
    begun, ended = threading.Event(), threading.Event()

    def slow(command, inbuf, target=None):
        begun.set()
        ended.wait(10)
        return 0, b"{}", ""

    monkeypatch.setattr("modules.ceph.module.CLOSE_S", 0.05)
    rados.mon_command = slow
    caller = threading.Thread(target=ceph.run_command, args=("mon", "", '{"prefix": "x"}', ""))
    caller.start()
    assert begun.wait(10)
    ceph.shutdown()

    assert not rados.silent
    assert ceph.run_command("mon", "", '{"prefix": "x"}', "")[0] == -errno.ESHUTDOWN
    ended.set()
    caller.join(10)


def test_commands_that_wait_do_not_keep_the_module_from_polling(ceph, mgr_host, monkeypatch):
    """Those to an MDS that does not answer have no limit of their own."""
    monkeypatch.setattr("modules.ceph.link.UNDER_WAY_MAX", 0)

    assert ceph.run_command("mon", "", '{"prefix": "osd dump"}', "")[0] == -errno.EBUSY
    poll(ceph)

    assert mgr_host.context.documents["osd_map"]["epoch"] == 5


def test_health_of_the_cluster_is_shown_unless_it_is_switched_off(ceph, rados, mgr_host):
    """One board for both; a switch, because somebody may watch Ceph elsewhere."""
    check = {"severity": "HEALTH_WARN", "summary": {"message": "1 osds down", "count": 1}}
    rados.answers["health"] = {"checks": {"OSD_DOWN": check}}
    poll(ceph)
    assert mgr_host.context.health["OSD_DOWN"]["summary"] == "1 osds down"

    mgr_host.context.set_option("ceph", "health", "false")
    poll(ceph)

    assert not mgr_host.context.health
