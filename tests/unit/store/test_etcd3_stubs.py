import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool

from mgr.store import etcd3_stubs


def test_messages_go_over_the_wire_as_etcd_wants_them():
    """Field numbers and types are those of etcd's own protocol files."""
    request = etcd3_stubs.message("RangeRequest")(key=b"k", range_end=b"l", limit=3)
    assert request.SerializeToString() == b"\x0a\x01k\x12\x01l\x18\x03"


def test_a_method_knows_its_path_and_its_messages():
    """What a gRPC channel needs, without generated service code."""
    method = etcd3_stubs.method("KV", "Txn")
    assert method.path == "/etcdserverpb.KV/Txn"
    assert method.request is etcd3_stubs.message("TxnRequest")
    assert method.response.FromString(b"\x10\x01").succeeded is True


def test_what_etcd_has_added_since_is_there():
    """Progress on request, fragments, learners."""
    progress = etcd3_stubs.message("WatchRequest")(progress_request={})
    assert progress.SerializeToString() == b"\x1a\x00"
    assert progress.WhichOneof("request_union") == "progress_request"
    created = etcd3_stubs.message("WatchRequest")(create_request={"fragment": True})
    assert created.SerializeToString() == b"\x0a\x02\x40\x01"
    assert etcd3_stubs.message("WatchResponse").FromString(b"\x38\x01").fragment is True
    assert etcd3_stubs.message("Member").FromString(b"\x28\x01").isLearner is True


def test_enums_are_known_by_name():
    """Their numbers stand in no file of ours."""
    assert etcd3_stubs.enum_value("Compare", "MOD") == 2


def test_nothing_of_the_package_runs_and_nothing_is_left_behind():
    """A module may bring any etcd client of its own: names and pool are free."""
    look = (
        "import sys; from mgr.store import etcd3_stubs; etcd3_stubs.message('TxnRequest');"
        "sys.exit(any(name.split('.')[0] == 'etcd3' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("rpc.proto")


def test_another_release_of_the_package_is_refused(monkeypatch):
    """Its files may look different: better no protocol than a wrong one."""
    monkeypatch.setattr(etcd3_stubs.metadata, "version", lambda _: "0.13.0")
    with pytest.raises(ImportError, match=r"etcd3==0\.12\.0; installed: 0\.13\.0"):
        etcd3_stubs._installed()


def test_a_file_without_a_descriptor_is_refused(tmp_path):
    """The message names the file."""
    (tmp_path / "rpc_pb2.py").write_text("import sys\n")
    with pytest.raises(ImportError, match=r"rpc_pb2\.py carries no"):
        etcd3_stubs._read(tmp_path / "rpc_pb2.py")
