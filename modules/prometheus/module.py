"""Prometheus: exports counters of all daemons, which daemons are up, health, and map versions.

Each manager listens; an option sets what a standby answers. A command prints where, in the form
that Prometheus reads from a file.

No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import html
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from mgr_module import (
    CLIReadCommand,
    HandleCommandResult,
    MgrModule,
    MgrStandbyModule,
    Option,
)
from mgr_util import (
    HttpPage,
    HttpReply,
    listen_address,
    manager_tls,
    page_options,
    page_url,
    redirect_to_active,
    request_path,
    text_reply,
    warning_html,
)

from .scrape import ExportData, ScrapeCache, Stale, render
from .text import CONTENT_TYPE

METRICS: Final = "/metrics"
INDEX: Final = '<!doctype html><title>prometheus</title><a href="{}">metrics</a>{}\n'
DEFAULT_PORT: Final = 9283
METHODS: Final = ("GET", "HEAD")
REDIRECT, EMPTY, ERROR = "redirect", "default", "error"

SERVER_OPTIONS: Final = [
    *page_options(DEFAULT_PORT),
    Option(
        "standby_behaviour",
        default=EMPTY,
        enum_allowed=[EMPTY, ERROR, REDIRECT],
        runtime=True,
        desc="what standbys answer: an empty text, an error, or a redirect to the active",
    ),
    Option(
        "standby_error_status_code",
        type="int",
        default=500,
        min=400,
        max=599,
        runtime=True,
        desc="the HTTP status of that error",
    ),
]


class Module(MgrModule):
    """Answers scrapes. Data is collected only when it is scraped."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        *SERVER_OPTIONS,
        Option(
            "scrape_interval",
            type="float",
            default=15.0,
            min=0.1,
            runtime=True,
            desc="for how many seconds a text is cached before the next one is made",
        ),
        Option(
            "cache",
            type="bool",
            default=True,
            runtime=True,
            desc="if false, each scrape makes a new text",
        ),
        Option(
            "stale_cache_strategy",
            default="log",
            enum_allowed=["log", "fail"],
            runtime=True,
            desc="while the next text is being made: answer with the last one, or an error",
        ),
        Option(
            "exclude_perf_counters",
            type="bool",
            default=False,
            runtime=True,
            desc="leave out the counters of daemons",
        ),
        Option(
            "stats_threshold",
            type="int",
            default=5,
            min=0,
            max=11,
            runtime=True,
            desc="the lowest priority of the counters that are exported",
        ),
        Option(
            "metadata_labels",
            default="",
            runtime=True,
            desc="what of a daemon's metadata mgr_daemon_info shows: names, separated by commas",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the page; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._page = HttpPage(self._reply, methods=METHODS)
        self._scrape_cache = ScrapeCache(lambda: list(render(self._export_data())))

    def serve(self) -> None:
        """Answer until ``shutdown``."""
        host, port = listen_address(self)
        self._page.run(
            host,
            port,
            ready=lambda bound: self.set_uri(page_url(self, host, bound)),
            tls=manager_tls(self),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._page.close()

    @CLIReadCommand("prometheus file_sd_config")
    def file_sd_config(self) -> HandleCommandResult:
        """Show the address of every manager's exporter, for file_sd_configs of Prometheus."""

        def port(manager: str) -> int:
            return int(self._get_module_option("server_port", DEFAULT_PORT, manager))

        targets = [
            f"{server['hostname']}:{port(each['id'])}"
            for server in self.list_servers()
            for each in server["services"]
            if each["type"] == "mgr"
        ]
        return HandleCommandResult(stdout=json.dumps([{"targets": sorted(targets), "labels": {}}]))

    # -- inside -----------------------------------------------------------------------------

    def _reply(self, target: str) -> HttpReply:
        path = request_path(target)
        if path == "/":
            return text_reply(HTTPStatus.OK, INDEX.format(METRICS, warning_html(self)), html=True)
        if path != METRICS:
            return text_reply(HTTPStatus.NOT_FOUND, f"there is {METRICS}\n")
        interval_s = self.get_module_option("scrape_interval")
        allow_stale = self.get_module_option("stale_cache_strategy") == "log"
        try:
            text = self._scrape_cache.read(
                interval_s if self.get_module_option("cache") else 0, allow_stale=allow_stale
            )
        except Stale:
            why = "the last text is old, and the next one is being made\n"
            return text_reply(HTTPStatus.SERVICE_UNAVAILABLE, why, retry_after_s=1)
        return HttpReply(HTTPStatus.OK, {"Content-Type": CONTENT_TYPE}, text)

    def _export_data(self) -> ExportData:
        daemons = self.get_daemons()
        wanted = (name.strip() for name in self.get_module_option("metadata_labels").split(","))
        names = [name for name in wanted if name]
        counters = (
            []
            if self.get_module_option("exclude_perf_counters")
            else self.get_counter_rows(prio_limit=self.get_module_option("stats_threshold"))
        )
        return ExportData(
            health=self.get("health"),
            daemons=daemons,
            metadata={each["name"]: self._metadata(each, names) for each in daemons if names},
            maps=self.get_map_versions(),
            counters=counters,
        )

    def _metadata(self, daemon: Mapping[str, Any], names: list[str]) -> dict[str, str]:
        known = self.get_metadata(daemon["type"], daemon["id"]) or {}
        return {f"metadata_{name}": known.get(name, "") for name in names}


class StandbyModule(MgrStandbyModule):
    """The standby class. It exports nothing, so that scraping all managers counts nothing twice."""

    MODULE_OPTIONS = [*SERVER_OPTIONS]  # noqa: RUF012 - the host appends to it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the page; ``serve`` opens it."""
        super().__init__(*args, **kwargs)
        self._page = HttpPage(self._reply, methods=METHODS)

    def serve(self) -> None:
        """Answer as configured until ``shutdown``."""
        host, port = listen_address(self)
        self._page.run(
            host,
            port,
            ready=lambda bound: self.log.info("answers on %d", bound),
            tls=manager_tls(self),
        )

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._page.close()

    def _reply(self, target: str) -> HttpReply:
        path = request_path(target)
        if path not in {"/", METRICS}:
            return text_reply(HTTPStatus.NOT_FOUND, f"there is {METRICS}\n")
        behaviour = self.get_module_option("standby_behaviour")
        if behaviour == ERROR:
            status = self.get_module_option("standby_error_status_code")
            return text_reply(status, "this manager is a standby\n")
        active_uri = self.get_active_uri()
        if behaviour == REDIRECT or (path == "/" and not active_uri):
            return redirect_to_active(active_uri, path)
        if path == "/":
            link = html.escape(active_uri.rstrip("/") + METRICS)
            return text_reply(HTTPStatus.OK, INDEX.format(link, warning_html(self)), html=True)
        return HttpReply(HTTPStatus.OK, {"Content-Type": CONTENT_TYPE})
