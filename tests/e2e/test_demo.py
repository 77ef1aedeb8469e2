"""``make demo``, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mgr.demo.machine import ETCD_PORT, GRPC_PORTS, HELLO_PORTS, HTTP_PORTS
from tests.support import process
from tests.support.cluster import wait_for

DEMO = Path(sys.executable).with_name("mgr-demo")
PORTS = [ETCD_PORT, *GRPC_PORTS.values(), *HTTP_PORTS.values(), *HELLO_PORTS.values()]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def demo(tmp_path):
    """Start the demo with its data under the test's folder; ended with the test."""
    started = []

    def start(*arguments):
        log = tmp_path / f"demo{len(started)}.log"
        command = [DEMO, "--dir", tmp_path / "data", *arguments]
        running = process.start(command, log=log)
        running.log = log
        started.append(running)
        return running

    yield start
    for running in started:
        process.end(running, patience_s=15)


def said(running):
    return running.log.read_text()


def ready(running):
    wait_for(lambda: "Ctrl-C" in said(running) or running.poll() is not None, "the demo", 60)
    assert "Ctrl-C" in said(running), said(running)
    return said(running)


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def all_free():
    return all(free(port) for port in PORTS)


def test_the_demo_says_who_leads_and_each_of_its_five_things_works(demo):
    """Every command it prints is pasted into a shell, in order."""
    running = demo()
    page = ready(running)
    assert re.search(r"^[abc] leads, term \d+: gRPC 127\.0\.0\.1:74\d\d, HTTP", page, re.MULTILINE)
    lines = [line.strip() for line in page.splitlines()]
    export = next(line for line in lines if line.startswith("export "))
    things = [lines[n + 1] for n, line in enumerate(lines) if re.match(r"\d\. ", line)]
    assert len(things) == 5

    answers = [shell(export, thing) for thing in things[:4]]

    assert "Ada" in answers[0]
    assert "Rome" in answers[1]
    assert "active_name" in answers[2]
    assert answers[3].strip()
    follow = shell(export, f"timeout 3 {things[4]} || test $? = 124")
    assert follow is not None
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 0
    assert all_free()


def shell(export, line):
    done = subprocess.run(
        ["bash", "-ec", f"{export}\n{line}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def test_a_second_start_finds_what_the_first_one_left(demo):
    """The data are in the folder; everybody comes back to them, each standby with its address."""
    first = demo()
    export = next(line for line in ready(first).splitlines() if "export " in line)
    shell(export, "mgrctl config-key set kept yes")
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0

    received = ready(demo())

    assert len(re.findall(r"stands by: gRPC \S+:\d+, HTTP \S+:\d+$", received, re.MULTILINE)) == 2
    assert shell(export, "mgrctl config-key get kept").strip() == "yes"


def test_once_starts_asks_and_stops(demo):
    """What a test of the installation needs: exit status 0, and nothing left."""
    running = demo("--once")

    assert running.wait(90) == 0, said(running)

    assert all_free()


def test_killing_the_demo_leaves_nothing_behind(demo):
    """The kernel kills what it started."""
    running = demo()
    ready(running)
    family = descendants(running.pid)
    assert len(family) >= 7

    os.kill(running.pid, signal.SIGKILL)

    wait_for(lambda: all(process.gone(pid) for pid in family), "every process to die")
    wait_for(all_free, "the ports to be free")


def descendants(pid):
    below = process.children(pid)
    return below + [deeper for child in below for deeper in descendants(child)]


@pytest.mark.parametrize("port", [7402, 7483, 7421])
def test_a_taken_port_is_one_clear_line_and_nothing_is_started(demo, port):
    """Exit status 1; the line says which port and for what."""
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        running = demo()

        assert running.wait(20) == 1

    assert len(said(running).splitlines()) == 1
    assert str(port) in said(running)
    assert all_free()


def test_an_etcd_that_cannot_start_is_one_clear_line(demo, tmp_path):
    """Here: its folder is a file."""
    (tmp_path / "data" / "etcd").mkdir(parents=True)
    (tmp_path / "data" / "etcd" / "member").write_text("not a folder")
    running = demo()

    assert running.wait(60) == 1

    assert "mgr-demo: etcd ended" in said(running).splitlines()[-1]
    assert all_free()
