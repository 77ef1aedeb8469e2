"""The dashboard's server over real connections: streams, limits, TLS, and the standby class."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from mgr_util import ServerConfigException
from modules.dashboard import server
from tests.support import dashboard, process

TIMEOUT_S = 20


@pytest.fixture
def host(mgr_host):
    options = {"server_addr": "127.0.0.1", "server_port": 0}
    mgr_host.load("modules.dashboard", options=options)
    dashboard.answer(mgr_host)
    return mgr_host


@pytest.fixture
def page(host):
    """The address of the active's pages."""
    with host.serving():
        host.wait_until(lambda: host.uri)
        yield host.uri.rstrip("/")


def events(response, count):
    """The first ``count`` events of a stream: name and data."""
    found, name = [], ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
            if len(found) == count:
                return found
    return found


def test_no_part_of_an_answer_waits_for_the_acknowledgement_of_another(host, monkeypatch):
    """Head and body are two writes: without TCP_NODELAY the body is sent 40 ms later."""
    set_on = []

    class Watched(server._Protocol):
        def connection_made(self, transport):
            accepted = transport.get_extra_info("socket")
            set_on.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().connection_made(transport)

    monkeypatch.setattr(server, "_Protocol", Watched)
    with host.serving():
        host.wait_until(lambda: host.uri)
        httpx.get(f"{host.uri}where", timeout=TIMEOUT_S)

    assert set_on == [1]


def test_an_open_page_is_sent_what_changed_and_signs_of_life(host, page):
    """The content once while nothing changes, and again when it does."""
    with httpx.Client(timeout=TIMEOUT_S) as client:
        client.get(f"{page}/timeline")
        with client.stream("GET", f"{page}/live/timeline") as response:
            first = events(response, 5)
        host.answer("mgr history", stdout=json.dumps(dashboard.HISTORY[1:]))
        with client.stream("GET", f"{page}/live/timeline") as response:
            later = events(response, 7)

    names = [name for name, _ in first]
    tick = first[0][1]
    assert names == ["tick", "main", "tick", "tick", "tick"]
    assert "mgr.a" in first[1][1]
    assert tick["current"] is True
    assert tick["peers"] == ["http://10.0.0.2:7490", "http://10.0.0.3:7490"]
    assert tick["sources"]["history"][0] > 0
    # Values are shared for a second, so the first content may still be the old one.
    assert "term-4711" not in dict(later)["main"]


def test_a_stream_without_a_session_says_only_that_the_page_is_gone(page):
    """And nothing else: another site cannot open a stream. Loaded again it is sent to sign in."""
    answer = httpx.get(f"{page}/live/timeline")

    assert (answer.status_code, answer.text) == (200, 'event: gone\ndata: ""\n\n')
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_hand_over_ends_open_pages_with_a_word_and_does_not_wait_for_them(host):
    """They look for the next active at once; ``serve`` returns."""
    seen = []
    with host.serving():
        host.wait_until(lambda: host.uri)
        client = httpx.Client(timeout=TIMEOUT_S, base_url=host.uri)
        client.get("/")
        opened = threading.Event()

        def follow():
            with client.stream("GET", "/live/") as response:
                opened.set()
                seen.extend(name for name, _ in events(response, 1000))

        thread = threading.Thread(target=follow)
        thread.start()
        assert opened.wait(TIMEOUT_S)
    thread.join(TIMEOUT_S)
    client.close()

    assert seen[-1] == "bye"


def test_a_standby_redirects_to_the_same_page_and_names_the_active(host, page):
    """For browsers a redirect, for open pages of other managers an answer they may read."""
    standby = host.standby()
    port = process.free_port()
    standby._context.stored_options["dashboard/server_port"] = str(port)
    with host.serving(standby):
        base = f"http://127.0.0.1:{port}"
        host.wait_until(lambda: _answers(base))
        led = httpx.get(f"{base}/modules/hello?x=1%2F")
        pressed = httpx.post(f"{base}/do/fail", data={"csrf": "x"})
        where = httpx.get(f"{base}/where")
        forged = httpx.get(f"{base}//evil.example/x", headers={"host": "evil.example"})
        standby._context.active_uri = ""
        nobody = httpx.get(f"{base}/modules")

    assert (led.status_code, led.headers["location"]) == (307, f"{page}/modules/hello?x=1%2F")
    assert led.headers["cache-control"] == "no-store"
    assert pressed.status_code == 303
    assert where.json() == {"serving": False, "manager": "b", "active": f"{page}/"}
    assert where.headers["access-control-allow-origin"] == "*"
    assert urlsplit(forged.headers["location"]).netloc == urlsplit(page).netloc
    assert nobody.status_code == 503
    assert "No manager is active" in nobody.text


def _answers(base):
    try:
        return httpx.get(f"{base}/where").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"], ids=["nothing", "part"])
def test_a_client_that_sends_no_whole_request_is_disconnected(host, monkeypatch, sent):
    """It would hold a place for as long as it likes."""
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    with host.serving():
        host.wait_until(lambda: host.uri)
        with socket.create_connection(("127.0.0.1", urlsplit(host.uri).port), TIMEOUT_S) as slow:
            slow.sendall(sent)
            assert slow.recv(1) == b""


def test_a_head_has_a_size_limit(page):
    """Else a client could fill the memory."""
    with socket.create_connection(("127.0.0.1", urlsplit(page).port), TIMEOUT_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * (64 << 10))
        assert b" 400 " in client.recv(100)


CHUNKED = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
NEXT = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def test_a_request_with_two_lengths_is_refused_and_none_follows_it(page):
    """A proxy that goes by the other length would send a second request without knowing it."""
    address = urlsplit(page)
    with socket.create_connection((address.hostname, address.port), TIMEOUT_S) as connection:
        connection.sendall(CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + NEXT)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_that_breaks_off_leaves_no_traceback(page, caplog, at_once):
    """Anybody could fill the log with them: no sign-in comes before."""
    address = urlsplit(page)
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port), TIMEOUT_S) as connection:
            connection.sendall(CHUNKED + b"\r\n" + (b"nonsense\r\n" if at_once else b""))
            with contextlib.suppress(OSError):
                connection.sendall(b"nonsense\r\n" * 10)
                assert b"HTTP/1.1" in connection.recv(65536)
    assert httpx.get(page).status_code in {200, 303, 307}
    assert [each for each in caplog.records if each.exc_info] == []


def test_a_port_that_is_taken_is_named(mgr_host):
    """The error says where it could not listen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        mgr_host.load(
            "modules.dashboard", options={"server_addr": "127.0.0.1", "server_port": port}
        )
        with pytest.raises(ServerConfigException, match=f"cannot listen on 127.0.0.1 port {port}"):
            mgr_host.module.serve()


@pytest.fixture
def certificates(tmp_path):
    """An authority, a certificate of the server, and one of a client."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert(
        "ada@example.org", common_name="ada"
    ).private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    return tmp_path


def secure(mgr_host, folder, **more):
    options = {"server_addr": "127.0.0.1", "server_port": 0, **more}
    options |= {"tls_cert": folder / "server.pem", "tls_key": folder / "server.pem"}
    mgr_host.load("modules.dashboard", options=options)
    dashboard.answer(mgr_host)


def test_a_certificate_signs_in_without_a_token(mgr_host, certificates):
    """The manager says whose it is; a browser without one is asked for a token."""
    secure(mgr_host, certificates, tls_ca=certificates / "ca.pem")
    shown = []
    real = mgr_host.context.people.identify

    def identify(token, certificate, address, *, encrypted):
        shown.append(certificate)
        return real("ada" if certificate else token, b"", address, encrypted=encrypted)

    mgr_host.context.people.tokens = {"ada": {"name": "ada", "may": frozenset(dashboard.TABLE)}}
    mgr_host.context.people.identify = identify
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with mgr_host.serving():
        mgr_host.wait_until(lambda: mgr_host.uri)
        without = httpx.get(mgr_host.uri, verify=context)
        context.load_cert_chain(certificates / "client.pem")
        with_it = httpx.get(mgr_host.uri, verify=context)

    assert mgr_host.uri.startswith("https://")
    assert without.status_code == 303
    assert with_it.status_code == 200
    assert "Secure" in with_it.headers["set-cookie"]
    assert with_it.headers["strict-transport-security"]
    assert any(certificate.startswith(b"\x30\x82") for certificate in shown)


@pytest.mark.parametrize(("tls", "scheme"), [(True, "https"), (False, "http")])
def test_the_managers_own_certificate_is_used_unless_it_is_off(mgr_host, certificates, tls, scheme):
    """Nobody has to set up a second one."""
    options = {"server_addr": "127.0.0.1", "server_port": 0, "tls": tls}
    mgr_host.load("modules.dashboard", options=options)
    for name in ("mgr_tls_cert", "mgr_tls_key"):
        mgr_host.context.native[name] = str(certificates / "server.pem")
    fresh = mgr_host.fail_over()
    with mgr_host.serving(fresh):
        mgr_host.wait_until(lambda: mgr_host.uri)

    assert mgr_host.uri.startswith(f"{scheme}:")


def test_a_certificate_that_cannot_be_used_is_named(mgr_host, tmp_path):
    """With the file, not as a port that is taken."""
    (tmp_path / "server.pem").write_text("nothing")
    secure(mgr_host, tmp_path)
    with pytest.raises(ServerConfigException, match=r"cannot use tls_cert '.*server.pem'"):
        mgr_host.module.serve()
