"""HAProxy reads its certificate again: the script that the deployments run it with."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
import yaml

from tests.support.cluster import wait_for
from tests.support.tree import ROOT

SCRIPT = ROOT / "deploy/haproxy-reload.sh"
FAKE = """#!/bin/bash
trap 'echo reload >> "$LOG"' USR2
trap 'echo end >> "$LOG"; exit 0' TERM
echo "$@" > "$LOG.arguments"
while :; do read -rt 0.1 <> <(:); done
"""


@pytest.fixture
def running(tmp_path):
    """The script, with a program in place of HAProxy that writes down its signals."""
    (tmp_path / "haproxy").write_text(FAKE)
    (tmp_path / "haproxy").chmod(0o755)
    (tmp_path / "manager.pem").write_text("first")
    (tmp_path / "log").write_text("")
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "HAPROXY_CONFIG": "the.cfg",
        "HAPROXY_CERTIFICATE": str(tmp_path / "manager.pem"),
        "HAPROXY_CHECK_EVERY": "0.1",
    }
    program = subprocess.Popen(["bash", SCRIPT], env=environment)
    yield program, tmp_path
    program.terminate()
    program.wait(10)


def test_a_changed_certificate_is_read_again_and_a_missing_one_is_waited_for(running):
    """Once for each change. A file that is being replaced, or is not there, changes nothing."""
    _, folder = running
    log, pem = folder / "log", folder / "manager.pem"
    wait_for((folder / "log.arguments").exists, "the program", 20)
    assert (folder / "log.arguments").read_text() == "-W -db -f the.cfg\n"

    pem.unlink()
    (folder / "next").write_text("second")
    (folder / "next").replace(pem)
    wait_for(lambda: log.read_text() == "reload\n", "the reload", 20)
    pem.write_text("third")
    wait_for(lambda: log.read_text() == "reload\n" * 2, "the second reload", 20)


def test_it_ends_with_its_program(running):
    """At once when it is asked to, as a container is."""
    program, folder = running
    wait_for((folder / "log.arguments").exists, "the program", 20)

    program.send_signal(signal.SIGTERM)

    assert program.wait(20) == 0
    assert (folder / "log").read_text() == "end\n"


def test_kubernetes_has_the_same_script():
    """One is tested, both are used."""
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/active.yaml").read_text())
    [found] = [each["data"] for each in documents if each["kind"] == "ConfigMap"]

    assert found["reload.sh"] == SCRIPT.read_text()
