"""Measure the dashboard: its size, its first load and what open pages cost with a large fleet.

And how long an open page stands still when its manager is killed. That is measured in a browser,
by the page's own script; without one it is left out.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from playwright.sync_api import sync_playwright

from bench import cores
from bench.probe import Shape, pause, simulated
from bench.report import Report
from bench.setting import PATIENT, Setting
from mgr.clock import CLOCK
from tests.support import process
from tests.support.cluster import wait_for

DAEMONS: Final = 10_000
LOADS: Final = 30
WINDOW_S: Final = 15.0
START_S: Final = 240.0
SETTLE_S: Final = 5.0
KILLS: Final = 20
PAGES: Final = (("overview", "/"), ("daemons", "/fleet"), ("timeline", "/timeline"))
ACCEPTS: Final = {"accept-encoding": "gzip"}
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync")
SLOW_MS: Final = 240_000


class Board:
    """The dashboards of a cluster's managers, each on a port of its own."""

    def __init__(self, setting: Setting) -> None:
        self._cluster = setting.cluster
        self._ports = {name: process.free_port() for name in setting.cluster.managers}
        for name, port in self._ports.items():
            self._cluster.run(
                "config", "set", "mgr", f"mgr/dashboard/{name}/server_port", str(port)
            )
        self._cluster.enable("dashboard")

    def active(self) -> str:
        """The name of the manager that serves the pages; waits for it."""
        return wait_for(self._active, "the dashboard", 60)

    def url(self) -> str:
        """The address of its pages."""
        return self._url(self.active())

    def _active(self) -> str | None:
        services = json.loads(self._cluster.run("mgr", "services").text)
        url = services.get("dashboard", "").rstrip("/")
        return next((name for name in self._ports if self._url(name) == url), None)

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"


def _loads(url: str, path: str, pid: int) -> tuple[list[float], list[float], float]:
    """Milliseconds of a first load of a page with all its files, and of the manager's CPU; KiB."""
    took, used, sent = [], [], 0
    for _ in range(LOADS):
        sent, used_s = 0, cores.cpu_s(pid)
        with httpx.Client(base_url=url, headers=ACCEPTS, timeout=30) as client:
            begun = CLOCK.now()
            page = client.get(path)
            for name in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
                sent += client.get(name).num_bytes_downloaded
            took.append((CLOCK.now() - begun) * 1e3)
            used.append((cores.cpu_s(pid) - used_s) * 1e3)
            sent += page.num_bytes_downloaded
    return took, used, sent / 1024


@contextmanager
def _open_page(url: str, path: str) -> Iterator[None]:
    """Follow a page's events on a thread, as a browser does."""
    closing = threading.Event()

    def follow() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            client.get(path)
            with client.stream("GET", f"/live{path}") as response:
                for _ in response.iter_lines():
                    if closing.is_set():
                        return

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()


def _share(pid: int) -> float:
    """How much of a core the manager uses, in percent."""
    pause(SETTLE_S)
    used_s, begun = cores.cpu_s(pid), CLOCK.now()
    pause(WINDOW_S)
    return (cores.cpu_s(pid) - used_s) / (CLOCK.now() - begun) * 100


def _stillness() -> list[float]:
    """Milliseconds for which an open page had no manager, by its own script, for each kill."""
    found = []
    # A worker that is killed is noticed at once, however patient its guard is.
    with Setting(**PATIENT) as setting, sync_playwright() as playwright:
        setting.cluster.settled(START_S)
        board = Board(setting)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page()
        page.set_default_timeout(SLOW_MS)
        page.goto(f"{board.url()}/timeline")
        for _ in range(KILLS):
            page.wait_for_selector("#link.on")
            setting.cluster.settled(START_S)
            name = board.active()
            setting.cluster.managers[name].signal(signal.SIGKILL, worker=True)
            page.wait_for_selector(f".notice:has-text('from mgr.{name} after')")
            text = page.locator(".notice").first.inner_text()
            seconds = re.search(r"after ([0-9.]+) s", text)
            assert seconds, text
            found.append(float(seconds[1]) * 1e3)
        browser.close()
    return found


def run() -> Report:
    """Measure size, loads, processor time and stillness."""
    report = Report("The dashboard", "python -m bench dashboard")
    with Setting(names=("a",), **PATIENT) as setting:
        setting.cluster.active(START_S)
        board = Board(setting)
        url, pid = board.url(), setting.cluster.managers["a"].worker_pid
        with simulated([setting.cluster.managers["a"].grpc_address], Shape(DAEMONS)) as fleet:
            fleet.ask("join")
            fleet.ask("report")
            for name, path in PAGES:
                took, used, kib = _loads(url, path, pid)
                report.add(f"first load of {name}", took, target="p50 <= 100")
                report.add(f"first load of {name}: CPU of the manager", used)
                report.add(f"size of {name}, as sent", [kib], unit="KiB", target="<= 100")
            idle = _share(pid)
            report.add("reference: the manager without an open page", [idle], unit="%")
            for name, path in PAGES:
                with _open_page(url, path):
                    report.add(f"an open page more: {name}", [_share(pid) - idle], unit="%")
    report.notes.append(f"{DAEMONS} daemons report; % of one core")
    if CHROMIUM is None:
        report.notes.append("no chromium: stillness was not measured")
        return report
    try:
        report.add("stillness of an open page at kill -9", _stillness(), target="p50 <= 1000")
    except (TimeoutError, PlaywrightTimeoutError) as error:
        report.notes.append(f"stillness was not measured: {error}")
    return report
