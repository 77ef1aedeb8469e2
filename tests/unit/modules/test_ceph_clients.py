"""Whom a Ceph cluster has to refuse: clients of managers and instances that are over."""

import json

from modules.ceph import clients


def entry(term, instance, address):
    return {"term": term, "instance": instance, "address": address}


def test_only_clients_of_the_newest_instance_of_this_term_stay():
    """It may have several; those before it are over, whoever started them."""
    known = [entry(1, "x", "a"), entry(2, "y", "b"), entry(2, "z", "c"), entry(2, "z", "d")]

    assert [one["address"] for one in clients.outlived(known, term=2)] == ["a", "b"]
    assert clients.outlived(known[2:], term=2) == []
    assert len(clients.outlived(known, term=3)) == 4
    assert clients.outlived([], term=3) == []


def test_clients_that_are_over_are_refused_before_anything_is_read(mgr_host):
    """And what it refuses is forgotten here; a silent cluster is told again later."""
    from tests.unit.modules.test_ceph import Rados

    module = mgr_host.load("modules.ceph")
    mgr_host.context.native["mgr_ceph_conf"] = "/etc/ceph/ceph.conf"
    module._rados = rados = Rados()
    stored = [entry(0, "x", "127.0.0.1:0/5"), entry(module.get_term(), "y", "127.0.0.1:0/6")]
    mgr_host.context.set_store("clients/volumes", json.dumps(stored))
    module._poll()
    assert rados.sent == [("mon", None, "osd blocklist")]
    assert len(json.loads(mgr_host.store["clients/volumes"])) == 2

    rados.answers["osd blocklist"] = {}
    module._poll()

    assert json.loads(mgr_host.store["clients/volumes"]) == stored[1:]
