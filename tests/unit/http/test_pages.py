"""What the manager's HTTP port answers, on the active and on a standby."""

from __future__ import annotations

import asyncio
import socket
import ssl
import types

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.errors import InvalidSettingError
from mgr.host.cluster_view import LeaderView
from mgr.host.server_tls import ServerTls
from mgr.http.app import RULES, HttpPages, is_page
from mgr.http.server import serve
from mgr.settings import Settings
from tests.support.fake_fleet import OPEN
from tests.support.secured_etcd import Certificates

LEASE_S = 5.0


class View:
    """What this manager knows; a test sets it."""

    access = OPEN

    def __init__(self, leader=None, services=None, age=0.1):
        self.now = leader
        self.published = services or {}
        self.age = age
        self.waiting = []

    def leader(self):
        return self.now

    def services(self):
        return self.published if self.now else {}

    def presences(self):
        return self.waiting

    def age_s(self):
        return self.age


def leads(name, http="10.0.0.9:7480"):
    return LeaderView(
        name=name,
        incarnation="1",
        grpc_address="10.0.0.9:7400",
        http_address=http,
        version="1",
        term=7,
        since="2026-01-01T09:40:30.171072+00:00",
    )


def asking(view, part="standby"):
    """A client of manager ``a``."""
    registry = CollectorRegistry()
    Counter("hills", "How many", registry=registry).inc(7)
    pages = HttpPages(
        "a",
        "rome",
        role_of=lambda: types.SimpleNamespace(state=part),
        view=view,
        registry=registry,
        fresh_s=LEASE_S,
    )
    transport = httpx.ASGITransport(pages.application())
    return httpx.AsyncClient(transport=transport, base_url="http://evil.example")


async def test_a_process_that_answers_lives():
    """Whatever else is wrong."""
    async with asking(View(age=1e9)) as http:
        answer = await http.get("/livez")

    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize(("age", "code"), [(0.1, 200), (LEASE_S, 200), (5.1, 503)])
async def test_ready_means_that_the_picture_is_current(age, code):
    """One older than the lease may name a manager that is dead."""
    async with asking(View(age=age)) as http:
        answer = await http.get("/readyz")

    assert answer.status_code == code
    if code == 503:
        assert "5.1 s ago" in answer.text


async def test_a_load_balancer_learns_which_manager_is_active():
    """200 on the active alone; a standby says 503 and names it."""
    known = {"active": "a", "address": "10.0.0.9:7480", "term": 7}

    async with asking(View(leads("a")), part="active") as http:
        active = await http.get("/active")
    async with asking(View(leads("b"))) as http:
        standby = await http.get("/active")
    async with asking(View()) as http:
        nobody = await http.get("/active")

    assert (active.status_code, active.json()) == (200, known)
    assert (standby.status_code, standby.json()) == (503, known | {"active": "b"})
    assert (nobody.status_code, nobody.json()["active"]) == (503, None)
    assert nobody.headers["retry-after"] == "1"


@pytest.mark.parametrize("part", ["starting", "suspended", "draining"])
async def test_a_leader_that_does_not_serve_is_not_active(part):
    """It holds the leader key and answers nothing: no load balancer may send clients there."""
    async with asking(View(leads("a")), part=part) as http:
        answers = [await http.get(path) for path in ("/active", "/", "/any/page")]

    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "location" not in answer.headers


async def test_every_gated_page_is_refused_by_an_active_whose_gate_is_shut():
    """Its view names nobody then (``ClusterView.term_is_valid``), whatever pages are published."""
    gated = [path for path, rule in RULES.items() if rule.startswith("gated")]
    async with asking(View(services={"dash": "http://a:1/"}), part="suspended") as http:
        answers = [
            await http.get(path.replace("{module}", "dash").replace("{path:path}", "x"))
            for path in gated
        ]

    assert len(gated) == 3
    assert {(a.status_code, a.headers["retry-after"]) for a in answers} == {(503, "1")}


async def test_a_standby_leads_to_the_active():
    """Method, path and query are kept; the answer may not be."""
    async with asking(View(leads("b"))) as http:
        answer = await http.post("/some/page?x=1&y=a%20b", content=b"body")

    assert answer.status_code == 307
    assert answer.headers["location"] == "http://10.0.0.9:7480/some/page?x=1&y=a%20b"
    assert answer.headers["cache-control"] == "no-store"
    assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("//evil.example/x", "/evil.example/x"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/%2Fevil.example", "/%2Fevil.example"),
        ("/a%0d%0aSet-Cookie:x", "/a%0d%0aSet-Cookie:x"),
        ("/a/../../b", "/a/../../b"),
        ("/ü", "/%C3%BC"),
        ("/@evil.example", "/@evil.example"),
    ],
)
async def test_no_path_leads_anywhere_but_to_the_active(target, path):
    """Neither two slashes, nor an encoded line break, nor a host in the path."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    app = asking(View(leads("b")))._transport.app
    scope = {
        "type": "http",
        "method": "GET",
        "path": target,
        "raw_path": target.encode(),
        "query_string": b"",
        "headers": [(b"host", b"evil.example")],
        "scheme": "http",
        "server": ("evil.example", 80),
        "root_path": "",
        "http_version": "1.1",
    }

    await app(scope, receive, send)

    location = dict(sent[0]["headers"])[b"location"].decode()
    assert location == f"http://10.0.0.9:7480{path}"


@pytest.mark.parametrize("leader", [None, leads("b", http=""), leads("a")])
async def test_without_a_way_to_the_active_nobody_is_sent_anywhere(leader):
    """503 and when to come again: a guess would be worse."""
    async with asking(View(leader)) as http:
        answer = await http.get("/x")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "location" not in answer.headers


async def test_the_index_of_the_active_lists_pages_and_standbys():
    """Who it is, the modules' pages, who waits; texts of others are escaped."""
    view = View(leads("a"), services={"dash": "http://d/", "bad": "javascript:alert(1)"})
    view.waiting = [
        types.SimpleNamespace(name="<b>", grpc_address="b:1", warm=True, unprotected=()),
        types.SimpleNamespace(name="a", grpc_address="a:1", warm=True, unprotected=()),
    ]

    async with asking(view, part="active") as http:
        page = await http.get("/")
        head = await http.head("/")
        other = await http.get("/nothing")

    assert page.status_code == 200
    assert '<a href="http://d/">' in page.text
    assert ">2026-01-01 09:40:30 UTC<" in page.text
    assert "&lt;b&gt;" in page.text
    assert "<b>b" not in page.text
    assert "javascript" not in page.text
    assert "MGR_UNPROTECTED" not in page.text
    assert (head.status_code, head.text) == (200, "")
    assert other.status_code == 404


async def test_the_index_says_that_a_manager_is_open_to_everybody():
    """Any of them: whoever reaches it controls the cluster."""
    view = View(leads("a"))
    view.waiting = [
        types.SimpleNamespace(name="a", grpc_address="a:1", warm=True, unprotected=()),
        types.SimpleNamespace(name="b", grpc_address="b:1", warm=True, unprotected=("grpc",)),
    ]

    async with asking(view, part="active") as http:
        page = await http.get("/")

    assert "MGR_UNPROTECTED" in page.text


async def test_any_manager_leads_to_a_modules_page():
    """To the address the module published, and to no other kind of address."""
    view = View(leads("b"), services={"dash": "https://d:8443/ü\r\nX: y", "bad": "file:///etc"})

    async with asking(view) as http:
        found = await http.get("/services/dash")
        missing = await http.get("/services/none")
        bad = await http.get("/services/bad")
        view.now = None
        nobody = await http.get("/services/dash")

    assert found.status_code == 307
    assert found.headers["location"] == "https://d:8443/%C3%BC%0D%0AX:%20y"
    assert (missing.status_code, bad.status_code) == (404, 404)
    assert (nobody.status_code, nobody.headers["retry-after"]) == (503, "1")


async def test_metrics_are_prometheus_text():
    """On every manager."""
    async with asking(View()) as http:
        answer = await http.get("/metrics")

    assert "hills_total 7.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("uri", "fine"),
    [
        ("http://a/", True),
        ("https://a:1/x", True),
        ("javascript:x", False),
        ("//a/", False),
        ("a:1", False),
        ("", False),
        ("http://[::1/", False),
    ],
)
def test_only_an_address_of_the_web_is_a_page(uri, fine):
    """What a module publishes is shown and followed by browsers."""
    assert is_page(uri) is fine


async def running(tasks, listen="127.0.0.1:0", tls=None, **settings):
    return await serve(
        Settings(id="a", http_listen=listen, **settings),
        role_of=lambda: types.SimpleNamespace(state="standby"),
        view=View(leads("b")),
        registry=CollectorRegistry(),
        limits=ClientLimits(CLOCK.now),
        tasks=tasks,
        tls=tls,
    )


async def test_the_server_runs_on_the_loop_it_is_given_and_closes():
    """A port of 0 is one that was free; the address says which."""
    async with asyncio.TaskGroup() as tasks:
        server = await running(tasks)
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://{server.address}//evil.example/?q=1")
        await server.close()

    assert answer.status_code == 307
    assert answer.headers["location"] == "http://10.0.0.9:7480/evil.example/?q=1"
    assert "server" not in answer.headers
    with socket.socket() as probe:
        host, port = server.address.split(":")
        assert probe.connect_ex((host, int(port))) != 0


async def test_a_port_that_is_taken_is_named():
    """As the setting is called."""
    async with asyncio.TaskGroup() as tasks:
        server = await running(tasks)
        with pytest.raises(InvalidSettingError, match=f"http_listen: .*{server.address}"):
            await running(tasks, server.address)
        await server.close()


async def test_with_a_certificate_it_speaks_https_and_sends_on_in_it(tmp_path):
    """And asks nobody for one: a probe has none."""
    made = Certificates.make(tmp_path)
    files = {"tls_cert": str(tmp_path / "server.pem"), "tls_key": str(tmp_path / "server.key")}
    trusted = ssl.create_default_context(cadata=made.ca.decode())
    async with asyncio.TaskGroup() as tasks:
        server = await running(tasks, **files, tls_ca=str(tmp_path / "ca.pem"))
        async with httpx.AsyncClient(verify=trusted) as http:
            answer = await http.get(f"https://{server.address}/page")
        await server.close()

    assert answer.status_code == 307
    assert answer.headers["Location"].startswith("https://")


async def test_only_certificates_of_the_ca_of_now_are_accepted(tmp_path):
    """OpenSSL keeps each CA that it was given: one that was replaced must go."""
    old = Certificates.make(tmp_path)
    old.write_client()
    settings = old.settings(mutual=True)
    tls = ServerTls.of(Settings(id="a", **settings))
    async with asyncio.TaskGroup() as tasks:
        server = await running(tasks, tls=tls, **settings)
        new = Certificates.make(tmp_path)
        new.write_client()
        await tls.check()

        assert await status(server, new, new) == 200
        with pytest.raises(httpx.TransportError):
            await status(server, new, old)
        await server.close()


async def status(server, trusted, own):
    """The status of a probe for a client with the certificate of ``own``."""
    context = ssl.create_default_context(cadata=trusted.ca.decode())
    own.tls(with_client=True).load_into(context)
    async with httpx.AsyncClient(verify=context) as http:
        return (await http.get(f"https://{server.address}/livez")).status_code
