"""The dashboard in a real browser, before three real managers.

With ``MGR_SCREENSHOTS=1`` the pictures of the pages are written to ``docs/images``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from mgr.client.blocking import Client
from mgr.client.daemon.daemon import Daemon
from mgr.clock import CLOCK
from tests.support import process
from tests.support.cluster import MGRD, Cluster, wait_for
from tests.support.secured_etcd import Certificates

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = (
    "/", "/timeline", "/modules", "/modules/hello", "/fleet", "/fleet/host.db1", "/hosts", "/maps",
    "/maps/racks", "/options", "/crashes", "/commands", "/log", "/console",
)  # fmt: skip
IMAGES = Path(__file__).parents[2] / "docs/images"
SCREENSHOTS = bool(os.environ.get("MGR_SCREENSHOTS"))
SLOW_MS = 60_000
"""A browser on a loaded machine takes its time."""
EXPECTED = re.compile(r"ERR_(?:CONNECTION|INCOMPLETE|EMPTY)|Failed to load resource: net::")
"""What a browser's console says when a server is killed."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests of this file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Open an address in a new window; what its console says is collected in ``page.said``."""
    with contextlib.ExitStack() as opened:

        def new(url, *, dark=False, phone=False):
            size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 860}
            context = browser.new_context(
                viewport=size,
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
                ignore_https_errors=True,
            )
            opened.callback(context.close)
            context.set_default_timeout(SLOW_MS)
            page = context.new_page()
            page.said = []
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.goto(url)
            return page

        yield new


class Board:
    """A cluster with the dashboard on, each manager's pages on a port of its own."""

    def __init__(self, cluster, run, scheme="http"):
        self.cluster = cluster
        self.scheme = scheme
        self.ports = {name: process.free_port() for name in cluster.managers}
        for name, port in self.ports.items():
            answer = run("config", "set", "mgr", f"mgr/dashboard/{name}/server_port", str(port))
            assert answer.retval == 0, answer
        assert run("mgr", "module", "enable", "dashboard").retval == 0
        self.run = run

    def url(self, name):
        return f"{self.scheme}://127.0.0.1:{self.ports[name]}"

    def active(self):
        """The name of the manager that serves the pages, once it does."""
        services = json.loads(self.run("mgr", "services").text)
        url = services.get("dashboard", "").rstrip("/")
        return next((name for name in self.ports if self.url(name) == url), None)


@pytest.fixture(scope="module")
def board(tmp_path_factory, etcd):
    """One cluster for all tests of this file that need no other: each costs ten seconds."""
    folder = tmp_path_factory.mktemp("dashboard")
    with Cluster(folder, etcd.endpoints, cluster="demo") as cluster:
        cluster.settled(60)
        made = Board(cluster, cluster.run)
        cluster.enable("hello")
        with cluster.client() as client:
            client.maps.set("racks", {"r1": ["db1", "db2"]})
        cluster.run("config", "set", "mgr", "mgr_stats_period", "1")
        wait_for(made.active, "the dashboard", 60)
        with Daemon("host", "db1", cluster.hosts, version="2.1") as daemon:
            for number, name in enumerate(("load", "queue", "sessions")):
                wave = partial(_wave, number)
                daemon.gauge(name, function=wave, description=f"The {name} now")
            wait_for(lambda: daemon.joined, "the daemon to join")
            yield made


def _wave(number):
    """A value that changes, so that a chart has a shape."""
    return 40 + 20 * math.sin(CLOCK.now() / (2 + number)) + 6 * math.sin(CLOCK.now() * (3 + number))


def unexpected(page):
    return [line for line in page.said if not EXPECTED.search(line)]


def live(page):
    page.wait_for_selector("#link.on")


def test_every_page_is_live_accessible_and_still(board, open_page):
    """No error, no violation of the policy or of WCAG, no jump of the layout; on a phone, too."""
    from axe_playwright_python.sync_playwright import Axe

    base = board.url(board.active())
    problems = {}
    for path in PAGES:
        page = open_page(f"{base}{path}", dark=path == "/modules")
        live(page)
        page.evaluate(
            "() => { window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach("
            "each => { window.shift += each.value; })).observe("
            "{type: 'layout-shift', buffered: true}); }"
        )
        found = [each["id"] for each in Axe().run(page).response["violations"]]
        shift = page.evaluate("window.shift")
        page.set_viewport_size({"width": 390, "height": 844})
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        if found or wide or unexpected(page) or shift > 0.05:
            problems[path] = (found, wide, unexpected(page), shift)
        page.close()

    assert problems == {}


def test_a_page_goes_on_at_the_next_active_when_its_manager_is_killed(board, open_page):
    """By itself, at the same page, and it says so; a button works there."""
    first = board.active()
    page = open_page(f"{board.url(first)}/timeline")
    live(page)
    board.cluster.managers[first].signal(signal.SIGKILL, worker=True)
    page.wait_for_selector(".notice")
    shown = page.locator(".notice").first.inner_text()
    live(page)
    second = board.active()
    page.click("text=Overview")
    live(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Hand over")
    page.wait_for_selector(f"text=This page went on here from mgr.{second}")

    assert second != first
    assert f"mgr.{second} leads now. This page went on here from mgr.{first}" in shown
    assert unexpected(page) == []


def test_a_page_follows_one_failover_after_another(board, open_page):
    """Also to a manager that was not there when the page was loaded, right after a failover."""
    page = open_page(f"{wait_for(lambda: board.active() and board.url(board.active()), 'it', 60)}/")
    for _ in range(4):
        live(page)
        board.cluster.settled(60)
        name = board.active()
        for other in board.ports.keys() - {name}:
            page.wait_for_selector(f"body[data-peers~='{board.url(other)}']")
        board.cluster.managers[name].signal(signal.SIGKILL, worker=True)
        page.wait_for_selector(f".notice:has-text('from mgr.{name} after')")
    assert not unexpected(page)


def test_a_page_that_may_ask_nobody_is_redirected_by_the_standby_at_its_own_address(
    board, open_page
):
    """A page loaded while the list of managers could not be read."""
    first = wait_for(board.active, "the dashboard", 60)
    board.cluster.settled(60)
    page = open_page("about:blank")

    def without_peers(route):
        answer = route.fetch(max_redirects=0)
        policy = answer.headers["content-security-policy"]
        policy = re.sub("(connect-src|form-action) 'self'[^;]*", r"\1 'self'", policy)
        body = re.sub('data-peers="[^"]*"', 'data-peers=""', answer.text())
        headers = {**answer.headers, "content-security-policy": policy}
        route.fulfill(response=answer, body=body, headers=headers)

    page.route(f"{board.url(first)}/", without_peers)
    page.goto(f"{board.url(first)}/")
    live(page)
    board.cluster.managers[first].signal(signal.SIGKILL, worker=True)
    page.wait_for_selector(f".notice:has-text('from mgr.{first} after')")


def test_an_option_is_changed_and_rolled_back(board, open_page):
    """By a typed form, and by one button of the history; what is being typed is left alone."""
    base = board.url(board.active())
    page = open_page(f"{base}/modules/hello")
    live(page)
    field = page.get_by_label("place", exact=True)
    field.fill("Oslo")
    page.locator("#option-mgr-hello-place button", has_text="Save").click()
    page.wait_for_selector("#option-mgr-hello-place.changed")
    stored = board.run("hello").text
    field.fill("half a wo")
    page.wait_for_timeout(2500)
    kept = field.input_value()
    page.goto(f"{base}/options")
    live(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("text=Go back to this").first.click()
    page.wait_for_selector(".notice")

    assert "Oslo" in stored
    assert kept == "half a wo"
    wait_for(lambda: "World" in board.run("hello").text, "the default again")


def test_the_console_completes_and_runs(board, open_page):
    """With the keyboard alone."""
    page = open_page(f"{board.url(board.active())}/console")
    live(page)
    page.keyboard.type("mgr sta")
    page.wait_for_selector('#suggestions li[data-words="mgr stat"]')
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#output pre")

    assert "active_name" in page.locator("#output pre").inner_text()
    assert unexpected(page) == []


@pytest.mark.skipif(not SCREENSHOTS, reason="MGR_SCREENSHOTS=1 writes docs/images/dashboard-*.png")
def test_the_pictures_of_the_pages_are_taken(board, open_page):
    """As they are now, with a failover and a hand-over behind them."""
    board.run("config", "set", "mgr", "mgr/hello/place", " ")
    first = board.active()
    board.cluster.managers[first].signal(signal.SIGKILL, worker=True)
    wait_for(lambda: board.active() not in {None, first}, "a successor", 60)
    board.cluster.settled(60)
    board.run("mgr", "fail")
    board.cluster.settled(60)
    base = wait_for(lambda: board.active() and board.url(board.active()), "the dashboard", 60)
    board.run("config", "set", "mgr", "mgr/hello/emphatic", "false")
    for name, path, options in (
        ("overview", "/", {}),
        ("timeline", "/timeline", {}),
        ("module", "/modules/hello", {"dark": True}),
        ("daemon", "/fleet/host.db1", {}),
        ("phone", "/", {"phone": True}),
    ):
        page = open_page(f"{base}{path}", **options)
        live(page)
        page.wait_for_timeout(20_000 if name == "daemon" else 2500)
        page.screenshot(path=IMAGES / f"dashboard-{name}.png")


class Guarded(Cluster):
    """One manager that demands certificates; tests speak to it as ``ops``."""

    pki: Certificates

    def client(self):
        return Client(self.hosts, tls=self.pki.tls_of("ops"))


def test_a_person_signs_in_with_a_token_and_a_viewer_may_not_operate(tmp_path, etcd, open_page):
    """No buttons, and a refusal for who sends the form all the same."""
    pki = Certificates.make(tmp_path / "pki")
    settings = pki.settings(mutual=True)
    cluster = Guarded(tmp_path, etcd.endpoints, names=("a",), **settings)
    cluster.pki = pki
    recover = [MGRD, "recover-admin", "ops", "--etcd", ",".join(etcd.endpoints)]
    subprocess.run([*recover, "--cluster", cluster.name], check=True)
    with cluster:
        cluster.settled(60)
        board = Board(cluster, cluster.run, "https")
        assert cluster.run("auth", "caps", "token:vera", "allow role viewer").retval == 0
        made = cluster.run("auth", "token", "create", "vera", format="json")
        token = re.search(r"[a-z0-9]{12}\.[A-Za-z0-9_-]{43}", made.text)[0]
        wait_for(board.active, "the dashboard", 60)
        page = open_page(f"{board.url('a')}/modules")
        page.fill("#token", "wrong")
        page.click("button.primary")
        page.wait_for_selector("[role=alert]")
        page.fill("#token", token)
        page.keyboard.press("Enter")
        live(page)
        buttons = page.locator("main button").count()
        refused = page.evaluate(
            "async () => (await fetch('/do/fail', {method: 'POST', headers: {'HX-Request': 'true',"
            " 'Content-Type': 'application/x-www-form-urlencoded'}, body: new URLSearchParams("
            "{csrf: document.querySelector('.viewer input').value})})).status"
        )
        cluster.run("auth", "token", "rm", token.partition(".")[0])
        page.wait_for_selector("#token")

    assert (buttons, refused) == (0, 403)
