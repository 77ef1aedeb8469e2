"""What a person with curl, or a load balancer, gets from a manager that does not lead."""

from __future__ import annotations

import json
import shutil
import subprocess

import httpx
import pytest

from tests.support import process
from tests.support.cluster import Cluster, wait_for


def curl(*arguments):
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl on this machine")
    done = subprocess.run(
        [program, "-sS", "--max-time", "10", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def hello(cluster):
    """The module's page on every manager, each on a port of its own; its addresses by name."""
    ports = {name: process.free_port() for name in cluster.managers}
    for name, port in ports.items():
        set_port = cluster.run("config", "set", "mgr", f"mgr/hello/{name}/server_port", str(port))
        assert set_port.retval == 0, set_port
    cluster.enable("hello")
    pages = {name: f"http://127.0.0.1:{port}/" for name, port in ports.items()}
    active = cluster.settled()
    wait_for(lambda: answers(pages[active.name]), "the page of the module")
    return pages


def answers(url):
    try:
        return httpx.get(url, timeout=1)
    except httpx.TransportError:
        return None


def test_curl_follows_a_standby_to_the_actives_module_page(cluster, hello):
    """``curl -L`` of any manager's module port shows the page of the active."""
    active = cluster.settled()
    standby = next(name for name in cluster.managers if name != active.name)
    wait_for(lambda: answers(hello[standby]), "the standby's page")

    page = curl("-L", hello[standby])

    assert page == curl(hello[active.name])


def test_after_a_failover_the_standby_names_the_new_active(cluster, hello):
    """The redirect follows leadership, not the memory of it."""
    first = cluster.settled()
    assert cluster.run("mgr", "fail").retval == 0
    wait_for(lambda: cluster.active().name != first.name, "another active")
    second = cluster.settled()

    def led_to_second():
        found = answers(hello[first.name])
        return found is not None and found.headers.get("location") == hello[second.name]

    assert wait_for(led_to_second, "the redirect to the successor")


def test_a_managers_own_port_tells_a_load_balancer_who_is_active(cluster):
    """``/active``: 200 on the active; 503 and its address on a standby. The rest redirects."""
    active = cluster.settled()
    standby = next(m for m in cluster.managers.values() if m.name != active.name)

    assert answers(f"http://{active.http_address}/active").status_code == 200
    refused = answers(f"http://{standby.http_address}/active")
    led = answers(f"http://{standby.http_address}/anything?x=1")

    assert refused.status_code == 503
    assert active.http_address in refused.text
    assert led.status_code == 307
    assert led.headers["location"].startswith(f"http://{active.http_address}/")
    assert led.headers["cache-control"] == "no-store"


def test_with_no_active_a_manager_asks_for_patience(own_etcd, tmp_path):
    """Etcd gone, the view older than the lease: 503 with ``Retry-After``, never a guess."""
    with Cluster(tmp_path, own_etcd.endpoints, lease_ttl_s=2) as cluster:
        active = cluster.settled()
        own_etcd.kill()
        pages = [f"http://{m.http_address}/" for m in cluster.managers.values()]

        def refuses(page):
            found = answers(page)
            return found is not None and found.status_code == 503 and found

        found = [wait_for(lambda page=page: refuses(page), f"503 of {page}") for page in pages]

        assert all(int(answer.headers["retry-after"]) > 0 for answer in found)
        assert all(active.http_address not in answer.text for answer in found)


def test_metrics_and_probes_answer_on_every_manager(cluster):
    """A standby lives and is ready too."""
    for manager in cluster.managers.values():
        base = f"http://{manager.http_address}"
        assert answers(f"{base}/livez").status_code == 200
        assert answers(f"{base}/readyz").status_code == 200
        assert "mgr_" in answers(f"{base}/metrics").text


def test_status_is_answered_as_json(cluster):
    """What ``mgr stat`` prints is a document."""
    stat = json.loads(cluster.run("mgr", "stat").text)

    assert stat["active_name"] == cluster.active().name
