"""Where a module's page listens, and its certificate."""

from __future__ import annotations

import http.client
import ssl
import threading
from types import SimpleNamespace

import pytest

from mgr_util import HttpPage, listen_address, manager_tls, page_options, page_url, text_reply
from mgr_util import ServerConfigException as ConfigError
from tests.support.certificates import Authority


def module(*, cert="", key="", **options):
    """A module whose manager has the address 10.0.0.7, and perhaps a certificate."""
    files = {"mgr_tls_cert": cert, "mgr_tls_key": key}
    return SimpleNamespace(
        get_localized_module_option=lambda name, default=None: options.get(name, default),
        get_ceph_option=files.get,
        get_mgr_ip=lambda: "10.0.0.7",
    )


@pytest.fixture
def files(tmp_path):
    settings = Authority().settings(tmp_path)
    return {"cert": settings["tls_cert"], "key": settings["tls_key"], "ca": settings["tls_ca"]}


def test_a_page_listens_where_the_options_say():
    """Else on the manager's own address, on any port."""
    assert listen_address(module()) == ("10.0.0.7", 0)
    assert listen_address(module(server_addr="::", server_port=81)) == ("::", 81)


def test_the_options_of_a_page_are_those_that_are_read():
    """A default port of the module's own; each option says when it is read."""
    options = {option["name"]: option for option in page_options(9283)}
    defaults = {name: option["default"] for name, option in options.items()}

    assert defaults == {"server_addr": "", "server_port": 9283, "tls": True}
    assert listen_address(module(**defaults)) == ("10.0.0.7", 9283)
    assert all("when the module starts" in option["desc"] for option in options.values())


@pytest.mark.parametrize(("host", "url"), [("::", "10.0.0.7"), ("10.0.0.8", "10.0.0.8")])
def test_every_interface_is_published_as_the_managers_address(host, url):
    """Nobody can connect to it."""
    assert page_url(module(), host, 81) == f"http://{url}:81/"


def test_a_page_speaks_tls_with_the_managers_certificate(files):
    """Its address says so; a client that speaks none, or stays silent, holds up nobody."""
    of = module(cert=files["cert"], key=files["key"])
    page, bound, ports = HttpPage(lambda _: text_reply(200, "safe")), threading.Event(), []

    def ready(port):
        ports.append(port)
        bound.set()

    serving = threading.Thread(
        target=lambda: page.run("127.0.0.1", 0, ready=ready, tls=manager_tls(of))
    )
    serving.start()
    try:
        assert bound.wait(10)
        plain = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=10)
        plain.request("GET", "/")
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            plain.getresponse()
        trusted = ssl.create_default_context(cafile=files["ca"])
        safe = http.client.HTTPSConnection("127.0.0.1", ports[0], timeout=10, context=trusted)
        safe.request("GET", "/")
        answer = safe.getresponse()
        assert (answer.status, answer.read()) == (200, b"safe")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        safe.close()
    finally:
        page.close()
        serving.join(10)
    assert page_url(of, "127.0.0.1", 1).startswith("https://")


def test_a_client_that_leaves_before_its_answer_is_no_error(files, capsys):
    """A load balancer that only checks does so all the time; with TLS it is an error of its own."""
    tls = manager_tls(module(cert=files["cert"], key=files["key"]))
    asked, left, bound, ports = threading.Event(), threading.Event(), threading.Event(), []

    def answer(_target):
        asked.set()
        assert left.wait(10)
        return text_reply(200, "late")

    page = HttpPage(answer)

    def ready(port):
        ports.append(port)
        bound.set()

    serving = threading.Thread(target=lambda: page.run("127.0.0.1", 0, ready=ready, tls=tls))
    before = set(threading.enumerate())
    serving.start()
    try:
        assert bound.wait(10)
        trusted = ssl.create_default_context(cafile=files["ca"])
        client = http.client.HTTPSConnection("127.0.0.1", ports[0], timeout=10, context=trusted)
        client.request("GET", "/")
        assert asked.wait(10)
        client.close()
        left.set()
        for thread in set(threading.enumerate()) - before - {serving}:
            thread.join(10)
    finally:
        page.close()
        serving.join(10)
    assert capsys.readouterr().err == ""


def test_without_a_certificate_or_if_it_is_not_wanted_a_page_speaks_plain_http(files):
    """The option ``tls`` of the module."""
    unwanted = module(cert=files["cert"], key=files["key"], tls=False)

    assert manager_tls(module()) is manager_tls(unwanted) is None
    assert page_url(unwanted, "::", 1).startswith("http://")


def test_a_certificate_that_cannot_be_read_is_named(files):
    """The module does not fall back to plain http."""
    with pytest.raises(ConfigError, match=r"nothing\.pem"):
        manager_tls(module(cert="/nothing.pem", key=files["key"]))
