"""The tutorial module: greets, counts, serves a page; its waiting half redirects."""

import http.client
import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from mgr_util import ServerConfigException
from modules.hello.module import Module, StandbyModule
from tests.support.context import Context, command, run

TIMEOUT_S = 10


@contextmanager
def serving(module, context):
    """The module serves in a thread of its own, as under the host."""
    published = threading.Event()
    set_uri = context.set_uri
    context.set_uri = lambda uri: (set_uri(uri), published.set())
    with ThreadPoolExecutor(1) as thread:
        served = thread.submit(module.serve)
        served.add_done_callback(lambda _: published.set())
        try:
            assert published.wait(TIMEOUT_S)
            yield
        finally:
            module.shutdown()
            served.result(TIMEOUT_S)


class LogWaiter(logging.Handler):
    """Waits for a line of the log."""

    def __init__(self, words):
        super().__init__()
        self.words = words
        self.event = threading.Event()

    def emit(self, record):
        if self.words in record.getMessage():
            self.event.set()


def ask(port, path="/", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def port_of(uri):
    return int(uri.rpartition(":")[2].strip("/"))


# -- commands ---------------------------------------------------------------------------------


def test_it_greets_a_place_or_a_person():
    """As the options say."""
    hello, context = run(Module, "hello")

    assert command(hello, "hello") == (0, "Hello, World!", "")
    assert command(hello, "hello", person_name="Ann").stdout == "Hello, Ann!"
    context.set_option("hello", "place", "Rome")
    context.set_option("hello", "emphatic", "false")
    assert command(hello, "hello").stdout == "Hello, Rome"


def test_it_counts_across_instances():
    """The count is stored: the next manager's instance goes on where this one stopped."""
    hello, context = run(Module, "hello")

    assert command(hello, "hello count").stdout == "1"
    assert command(hello, "hello count", by=4).stdout == "5"
    assert command(Module("hello", context), "hello count").stdout == "6"
    assert command(hello, "hello reset") == (0, "", "count is reset")
    assert context.store == {}


def test_it_does_not_count_backwards():
    """Nothing changed, and it says what would have been right."""
    hello, context = run(Module, "hello")

    assert command(hello, "hello count", by=0) == (-22, "", "cannot count by 0: use 1 or more")
    assert context.store == {}


def test_it_shows_what_it_knows_in_any_format():
    """All of it, or one item."""
    hello, _ = run(Module, "hello", place="Rome")

    shown = json.loads(command(hello, "hello show")[1])
    assert shown == {"place": "Rome", "emphatic": True, "count": 0, "manager": "a", "term": 1}
    assert command(hello, "hello show", item="count", format="yaml") == (0, "count: 0\n", "")
    retval, _, words = command(hello, "hello show", item="age")
    assert retval == -2
    assert words.startswith("no item 'age': there are place,")


def test_it_warns_while_there_is_nobody_to_greet():
    """Raised and cleared when the option changes."""
    hello, context = run(Module, "hello", place=" ")
    assert context.health["MGR_HELLO_NOBODY"]["severity"] == "warning"

    context.set_option("hello", "place", "Rome")
    hello._config_notify()

    assert context.health == {}


# -- the page ---------------------------------------------------------------------------------


def test_its_page_is_published_and_greets():
    """Not to be cached: another manager may serve it the next moment."""
    hello, context = run(Module, "hello", place="<Rome>")

    with serving(hello, context):
        status, headers, body = ask(port_of(context.uri))
        context.native["mgr_unprotected"] = "grpc_listen"
        assert "MGR_UNPROTECTED" in ask(port_of(context.uri))[2]
        context.native["mgr_unprotected"] = ""
        head = ask(port_of(context.uri), method="HEAD")

    assert status == HTTPStatus.OK
    assert headers["Cache-Control"] == "no-store"
    assert "Hello, &lt;Rome&gt;!" in body
    assert "served by manager a" in body
    assert "MGR_UNPROTECTED" not in body
    assert head[2] == ""
    assert head[1]["Content-Length"] == headers["Content-Length"]


def test_a_manager_may_have_a_port_of_its_own():
    """Three managers share one machine in the demo."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    hello, context = run(Module, "hello")
    context.set_option("hello", "server_port", "1")
    context.set_option("hello", "server_port", str(port), localized=True)

    with serving(hello, context):
        assert context.uri == f"http://127.0.0.1:{port}/"


def test_listening_everywhere_is_published_as_somewhere():
    """Nobody can go to 0.0.0.0."""
    hello, context = run(Module, "hello", server_addr="0.0.0.0")

    with serving(hello, context):
        assert context.uri.startswith("http://127.0.0.1:")


def test_a_taken_port_is_named():
    """The operator sees it in health."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        hello, _ = run(Module, "hello", server_port=port)

        with pytest.raises(ServerConfigException, match=f"cannot listen on 127.0.0.1 port {port}"):
            hello.serve()


# -- the waiting half -------------------------------------------------------------------------


def test_a_standby_sends_everybody_to_the_active():
    """With the path they asked for; and says so when nobody is active."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = Context("hello", Module, manager_id="b")
    context.set_option("hello", "server_port", str(port), localized=True)
    waiting = StandbyModule("hello", context)
    log_waiter = LogWaiter("redirects on")
    waiting.log.addHandler(log_waiter)
    with ThreadPoolExecutor(1) as thread:
        served = thread.submit(waiting.serve)
        try:
            assert log_waiter.event.wait(TIMEOUT_S)
            nobody = ask(port, "/x")
            context.active_uri = "http://a.example:8080/"
            somebody = ask(port, "/x?y=1", "POST")
        finally:
            waiting.shutdown()
            waiting.log.removeHandler(log_waiter)
            served.result(TIMEOUT_S)

    assert nobody[0] == HTTPStatus.SERVICE_UNAVAILABLE
    assert nobody[1]["Retry-After"] == "1"
    assert somebody[0] == HTTPStatus.TEMPORARY_REDIRECT
    assert somebody[1]["Location"] == "http://a.example:8080/x?y=1"
    assert somebody[1]["Cache-Control"] == "no-store"
