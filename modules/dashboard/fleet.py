"""Hosts and daemons: lists that can be searched, and one daemon with its counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from .chart import Chart, chart
from .page import NotFoundError, PageRequest
from .paging import paged
from .reader import Reader, Sourced

FILTERS: Final = ("q", "type", "state", "host")
STATES: Final = ("reporting", "awaited", "silent")
CHARTS: Final = 24


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``fleet.html``."""
    daemons = request.reader.daemons()
    filters = {name: request.text(name) for name in FILTERS}
    rows = [each for each in daemons.value or () if _matches(each, filters)]
    types = sorted({each["type"] for each in daemons.value or ()})
    return {
        "daemons": daemons,
        "filters": filters,
        "types": types,
        "states": STATES,
        "listed": paged(rows, request.number("page")),
        "base": f"/fleet?{urlencode({name: text for name, text in filters.items() if text})}",
    }


def hosts(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``hosts.html``."""
    daemons = request.reader.daemons()
    wanted = request.text("q").lower()
    by_host: dict[str, Counter[str]] = {}
    for each in daemons.value or ():
        if wanted in each["hostname"].lower():
            by_host.setdefault(each["hostname"], Counter()).update([each["state"], "all"])
    rows = [{"name": name, **{state: counts[state] for state in (*STATES, "all")}}
            for name, counts in sorted(by_host.items())]  # fmt: skip
    return {
        "daemons": daemons,
        "q": request.text("q"),
        "listed": paged(rows, request.number("page")),
        "base": f"/hosts?{urlencode({'q': request.text('q')})}",
    }


def detail(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``daemon.html``."""
    reader, name = request.reader, request.params["name"]
    daemons = reader.daemons()
    found = next((each for each in daemons.value or () if each["name"] == name), None)
    if found is None:
        raise NotFoundError(f"there is no daemon {name!r}")
    wanted = request.text("q").lower()
    charts = counters(reader, found)
    matching = [each for each in charts.value or () if wanted in each.path.lower()]
    return {
        "title": name,
        "daemons": daemons,
        "daemon": found,
        "metadata": reader.metadata(found["type"], found["id"]),
        "daemon_status": reader.daemon_status(found["type"], found["id"]),
        "counters": charts,
        "q": request.text("q"),
        "listed": paged(matching, request.number("page"), CHARTS),
        "base": f"/fleet/{name}?{urlencode({'q': request.text('q')})}",
        "may": request.viewer.permitted({"daemon rm"}),
    }


def counters(reader: Reader, daemon: Mapping[str, Any]) -> Sourced:
    """Return a chart of each counter of a daemon."""

    def read() -> list[Chart]:
        return [
            chart(path, spec, points) for path, spec, points in reader.counters(
                daemon["type"], daemon["id"]
            )
        ]  # fmt: skip

    return reader.shared(f"counters of {daemon['name']}", "the daemon's last 20 reports", read)


def _matches(daemon: Mapping[str, Any], filters: Mapping[str, str]) -> bool:
    text = filters["q"].lower()
    fields: Sequence[str] = (daemon["name"], daemon["hostname"], daemon["version"])
    return (
        filters["type"] in {"", daemon["type"]}
        and filters["state"] in {"", daemon["state"]}
        and filters["host"] in {"", daemon["hostname"]}
        and (not text or any(text in field.lower() for field in fields))
    )
