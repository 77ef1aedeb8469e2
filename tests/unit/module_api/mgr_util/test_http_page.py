"""The HTTP server that modules use for their pages."""

import http.client
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from mgr.module_api.mgr_util import http_page
from mgr_util import HttpPage, HttpReply, redirect_to_active, request_path, text_reply
from mgr_util import ServerConfigException as ConfigError

TIMEOUT_S = 10


@contextmanager
def running(page):
    """The page serves on a free port; its port."""
    ports, bound = [], threading.Event()
    thread = threading.Thread(
        target=lambda: page.run(
            "127.0.0.1", 0, ready=lambda port: (ports.append(port), bound.set())
        )
    )
    thread.start()
    try:
        assert bound.wait(TIMEOUT_S)
        yield ports[0]
    finally:
        page.close()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def ask(port, target="/", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_each_request_is_answered_with_what_the_module_makes_of_its_target():
    """Path and query; a body in pieces is one response, and HEAD is answered without it."""
    page = HttpPage(lambda target: HttpReply(200, {"X-Target": target}, [b"one ", b"two"]))

    with running(page) as port:
        status, headers, body = ask(port, "/a?b=c")
        head = ask(port, "/a?b=c", "HEAD")

    assert (status, headers["X-Target"], body) == (200, "/a?b=c", b"one two")
    assert headers["Content-Length"] == head[1]["Content-Length"] == "7"
    assert head[2] == b""


@pytest.mark.parametrize(("methods", "status"), [({}, 200), ({"methods": ("GET",)}, 501)])
def test_a_page_may_take_some_methods_only(methods, status):
    """By default it takes those that a standby has to redirect."""
    with running(HttpPage(lambda _: text_reply(200, ""), **methods)) as port:
        assert ask(port)[0] == 200
        assert ask(port, method="POST")[0] == status


def test_a_port_that_is_taken_is_an_error_that_names_it():
    """The module is reported, and restarted."""
    with (
        running(HttpPage(lambda _: text_reply(200, ""))) as port,
        pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"),
    ):
        HttpPage(lambda _: text_reply(200, "")).run("127.0.0.1", port, ready=pytest.fail)


def test_a_page_that_was_closed_early_never_opens():
    """A module may be stopped before its ``serve`` has begun."""
    page = HttpPage(lambda target: text_reply(200, target))
    page.close()
    page.close()

    page.run("127.0.0.1", 0, ready=pytest.fail)


def test_a_text_is_not_cached():
    """Another manager may be active at the next request."""
    status, headers, body = text_reply(503, "wait\n", retry_after_s=3)

    assert (status, body) == (503, [b"wait\n"])
    assert headers == {
        "Content-Type": "text/plain; charset=utf-8",
        "Retry-After": "3",
        "Cache-Control": "no-store",
    }
    assert text_reply(200, "", html=True).headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/", "http://a/"),
        ("/a/b?c=d", "http://a/a/b?c=d"),
        ("//evil.example/x", "http://a/x"),
        ("http://evil.example/x", "http://a/x"),
        ("http://[broken", "http://a/"),
        ("", "http://a/"),
    ],
)
def test_no_request_says_where_others_are_sent(target, location):
    """Only path and query are taken from it."""
    reply = redirect_to_active("http://a/", target)

    assert (reply.status, reply.headers["Location"]) == (307, location)


def test_without_an_active_the_client_is_asked_to_retry():
    """There is nobody to be redirected to."""
    reply = redirect_to_active("", "/x")

    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert "Location" not in reply.headers


@pytest.mark.parametrize(
    ("target", "path"), [("/metrics?x=1", "/metrics"), ("/", "/"), ("http://[broken", "")]
)
def test_the_path_of_a_request_is_without_its_query(target, path):
    """A malformed target has none."""
    assert request_path(target) == path


def test_idle_connections_keep_nobody_out(monkeypatch):
    """The oldest without a request is closed for each that comes."""
    monkeypatch.setattr(http_page, "CONNECTIONS_MAX", 4)
    with running(HttpPage(lambda _: text_reply(200, "fine"))) as port, ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
            for _ in range(6)
        ]
        idle[-1].send(b"GET / HT")

        assert ask(port)[2] == b"fine"
        assert idle[0].recv(10) == b""
        idle[-1].send(b"TP/1.0\r\n\r\n")
        assert idle[-1].recv(12) == b"HTTP/1.0 200"
