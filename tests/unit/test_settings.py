"""Settings come from a file, the environment and flags, and each refusal names the setting."""

from __future__ import annotations

import pytest

from mgr.errors import InvalidSettingError
from mgr.settings import load


def test_a_flag_beats_the_environment_and_that_beats_the_file(tmp_path):
    """Later wins; what nobody gave keeps its default."""
    file = tmp_path / "mgr.toml"
    file.write_text('cluster = "file"\nid = "file"\netcd = ["10.0.0.1:2379"]\n')

    given = load(
        file=str(file),
        environment={"MGR_CLUSTER": "variable", "MGR_ID": "variable", "MGR_HOSTS": "x"},
        flags={"id": "flag"},
    )

    assert (given.id, given.cluster, given.etcd) == ("flag", "variable", ("10.0.0.1:2379",))
    assert given.log_level == "info"


def test_text_becomes_the_kind_that_the_setting_has():
    """Variables and flags are text; lists are separated by commas."""
    given = load(
        environment={
            "MGR_ETCD": "10.0.0.1:2379, 10.0.0.2:2379",
            "MGR_LEASE_TTL_S": "9",
            "MGR_DRAIN_S": "0.5",
            "MGR_ETCD_UNTRUSTED": "true",
        }
    )

    assert given.etcd == ("10.0.0.1:2379", "10.0.0.2:2379")
    assert (given.lease_ttl_s, given.drain_s, given.etcd_untrusted) == (9, 0.5, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"etcd": "etcd-host"}, "etcd: 'etcd-host' is not host:port"),
        ({"etcd": ""}, "etcd: name at least one address"),
        ({"grpc_listen": "7400"}, "grpc_listen: '7400' is not host:port"),
        ({"http_advertise": "host:70000"}, "http_advertise: 'host:70000' is not host:port"),
        ({"lease_ttl_s": "900"}, "lease_ttl_s: Expected `int` <= 60"),
        ({"watchdog_s": "soon"}, "watchdog_s: "),
        ({"cluster": "a/b"}, "cluster 'a/b': use 1 to 63"),
        ({"id": ".hidden"}, "id '.hidden': use 1 to 63"),
        ({"etcd_cert": "c"}, "etcd_cert and etcd_key belong together"),
        ({"etcd_user": "u"}, "etcd_user needs etcd_password_file"),
        ({"grpc_hold_unacknowledged": "true"}, "grpc_hold_unacknowledged needs tls_ca"),
        ({"ceph_name": "client.mgrd"}, "ceph_name and ceph_keyring need ceph_conf"),
        ({"ceph_conf": "/c", "ceph_name": "mgrd"}, "ceph_name"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(flags, words):
    """One line: which setting, and what it may be."""
    with pytest.raises(InvalidSettingError) as refused:
        load(flags=flags)

    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_an_unknown_name_in_the_file_is_refused_with_the_nearest(tmp_path):
    """A misspelt setting is not silently the default."""
    file = tmp_path / "mgr.toml"
    file.write_text('clstr = "x"\n')

    with pytest.raises(InvalidSettingError, match="no setting 'clstr'; did you mean 'cluster'"):
        load(file=str(file))


@pytest.mark.parametrize("content", [None, "id = ", b"\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    """Absent, no TOML, no UTF-8: each says which file."""
    file = tmp_path / "mgr.toml"
    if isinstance(content, str):
        file.write_text(content)
    elif content is not None:
        file.write_bytes(content)

    with pytest.raises(InvalidSettingError, match=r"mgr\.toml"):
        load(file=str(file))


@pytest.mark.parametrize("source", ["flags", "environment"])
def test_an_empty_id_is_refused(source):
    """An unset variable in a unit must not make a manager without a name."""
    given = {"flags": {"id": ""}, "environment": {"MGR_ID": ""}}

    with pytest.raises(InvalidSettingError, match="id: it is empty; leave it out"):
        load(**{source: given[source]})
