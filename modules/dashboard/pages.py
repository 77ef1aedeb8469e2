"""Every page, in the order of the navigation."""

from __future__ import annotations

from typing import Final

from . import console, crashes, fleet, logs, maps, modules, options, overview, timeline
from .page import Page

PAGES: Final = (
    Page("overview", "/", "Overview", "status", overview.content),
    Page("timeline", "/timeline", "Timeline", "mgr history", timeline.content),
    Page("modules", "/modules", "Modules", "mgr module ls", modules.content),
    Page("module", "/modules/{name}", "Module", "mgr module ls", modules.detail,
         in_navigation=False, under="modules"),
    Page("fleet", "/fleet", "Daemons", "daemon ls", fleet.content),
    Page("daemon", "/fleet/{name}", "Daemon", "daemon ls", fleet.detail,
         in_navigation=False, under="fleet"),
    Page("hosts", "/hosts", "Hosts", "daemon ls", fleet.hosts),
    Page("maps", "/maps", "Maps", "map ls", maps.content),
    Page("map", "/maps/{name}", "Map", "map get", maps.detail, in_navigation=False, under="maps"),
    Page("options", "/options", "Options", "config dump", options.content),
    Page("option", "/options/{name:path}", "Option", "config dump", options.detail,
         in_navigation=False, under="options"),
    Page("crashes", "/crashes", "Crashes", "crash ls", crashes.content),
    Page("crash", "/crashes/{name}", "Crash", "crash info", crashes.detail,
         in_navigation=False, under="crashes"),
    Page("commands", "/commands", "Running", "command ls", logs.running),
    Page("log", "/log", "Log", "log last", logs.content),
    Page("audit", "/audit", "Audit", "audit ls", logs.audit),
    Page("console", "/console", "Console", "get_command_descriptions", console.content),
)  # fmt: skip
"""A page whose command does not exist is not in the navigation: nobody is permitted to run it."""
