"""Managers over an etcd with users: their rights, and what an operator changes meanwhile."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.cluster import Cluster
from tests.support.secured_etcd import USER, Administrator, secured
from tests.support.tree import ROOT

pytestmark = pytest.mark.etcd


@pytest.fixture
def password_file(tmp_path):
    """The file that ``etcd_password_file`` names."""
    file = tmp_path / "password"
    file.write_text(f"{USER[1]}\n")
    return file


@pytest.fixture
def as_user(password_file):
    """The settings of a manager that logs in as the ordinary user."""
    return {"etcd_user": USER[0], "etcd_password_file": str(password_file)}


def test_a_manager_leads_with_the_rights_that_the_page_recommends(
    etcd_program, etcd_directory, tmp_path, as_user
):
    """It joins, leads, stores an option and hands over: nothing of that needs root."""
    with (
        secured(etcd_directory, users=True) as etcd,
        Cluster(tmp_path, etcd.endpoints, names=("a", "b"), **as_user) as cluster,
    ):
        first = cluster.settled()
        assert cluster.run("config-key", "set", "k", "v").retval == 0
        assert cluster.run("mgr", "fail").retval == 0
        assert cluster.settled() is not first


def test_the_lines_of_the_page_give_a_manager_its_rights(
    own_etcd, etcd_tools, tmp_path, as_user, password_file
):
    """Exactly these: a manager of that cluster leads, and its user may read nothing else."""
    page = (ROOT / "docs/how-to/secure-etcd.md").read_text()
    [block] = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    cluster = Cluster(tmp_path, own_etcd.endpoints, names=("a",), **as_user)
    (tmp_path / "root").write_text("of-root\n")
    password_file.write_text("of-mgr\n")
    environment = {
        "PATH": etcd_tools,
        "ETCDCTL_ENDPOINTS": own_etcd.address,
        "ROOT_PASSWORD_FILE": str(tmp_path / "root"),
        "PASSWORD_FILE": str(password_file),
    }

    def shell(lines):
        command = ["sh", "-ec", lines]
        return subprocess.run(
            command, env=environment, timeout=60, capture_output=True, text=True, check=False
        )

    done = shell(block.replace("/mgr/prod/", f"/mgr/{cluster.name}/"))
    assert done.returncode == 0, done.stderr
    with cluster:
        assert cluster.active().name == "a"

    login = f'etcdctl --user "mgr:$(cat {password_file})"'
    assert shell(f"{login} get --prefix /mgr/{cluster.name}/").returncode == 0
    assert "permission denied" in shell(f"{login} get --prefix /mgr/").stderr


def test_users_that_are_switched_on_under_a_running_manager_cost_no_term(
    etcd_program, etcd_directory, tmp_path, as_user
):
    """It has a login in its settings, as an operator prepares it, and needs no restart."""
    with (
        secured(etcd_directory, users=False) as etcd,
        Cluster(tmp_path, etcd.endpoints, names=("a",), **as_user) as cluster,
    ):
        active = cluster.active()
        with cluster.client() as client:
            term = client.status().active.term
        with Administrator(etcd, None) as root:
            root.enable_users()

        for number in range(3):
            assert cluster.run("config-key", "set", f"k{number}", "v").retval == 0
        assert cluster.active() is active
        with cluster.client() as client:
            assert client.status().active.term == term


def test_a_password_that_is_rotated_costs_no_term(
    etcd_program, etcd_directory, tmp_path, as_user, password_file
):
    """The file first, then etcd, which ends every token."""
    with (
        secured(etcd_directory, users=True) as etcd,
        Cluster(tmp_path, etcd.endpoints, names=("a",), **as_user) as cluster,
    ):
        cluster.active()
        with cluster.client() as client:
            term = client.status().active.term
        password_file.write_text("renewed\n")
        with Administrator(etcd, None) as root:
            root.log_in()
            root.call(
                "Auth",
                "UserChangePassword",
                name=USER[0],
                password=password_file.read_text().strip(),
            )

        for number in range(3):
            assert cluster.run("config-key", "set", f"k{number}", "v").retval == 0
        with cluster.client() as client:
            assert client.status().active.term == term
