"""Lets several modules of one process serve HTTP with CherryPy, which has only one engine."""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Final

from mgr.module_api.mgr_util.optional_import import library

THREADS: Final = 10
SERVER: Final = "Ceph-Mgr"
QUIET: Final = {
    "engine.autoreload.on": False,
    "checker.on": False,
    "tools.log_headers.on": False,
    "log.screen": False,
}
"""Turns off what the engine must not do in a manager: restart the process, write to stdout."""


class CherryPyMgr:
    """Runs one CherryPy server for each module, with its own tree and address.

    CherryPy is imported at the first use.
    """

    _trees: ClassVar[dict[str, Any]] = {}
    _starting: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def mount(
        cls,
        tree: Any,
        name: str,
        bind_addr: tuple[str, int],
        ssl_info: dict[str, Any] | None = None,
    ) -> tuple[Any, Any]:
        """Serve ``tree`` at ``bind_addr``; return the started adapter and the tree.

        To end it, ``stop`` and ``unsubscribe`` the adapter and ``unregister`` the name.
        ``ssl_info`` turns on TLS: paths ``cert`` and ``key``, optionally a ``context``.

        Raises:
            OSError: The address cannot be had.
            ImportError: CherryPy is not installed.

        """
        engine = library("cherrypy", "CherryPyMgr").engine
        with cls._starting:
            if engine.state not in (engine.states.STARTED, engine.states.STARTING):
                cls._start_engine()
        cls.configure_logging()
        adapter = cls.create_adapter(tree, bind_addr, ssl_info)
        adapter.subscribe()
        try:
            adapter.start()
        except BaseException:
            adapter.unsubscribe()
            raise
        cls._trees[name] = tree
        return adapter, tree

    @classmethod
    def get_server_config(cls, name: str, mount_point: str = "/") -> Any:
        """Return the configuration of the application at ``mount_point``; None if there is none."""
        apps = cls._trees[name].apps if name in cls._trees else {}
        # CherryPy stores the root under an empty name.
        for place in (mount_point, mount_point.rstrip("/")):
            if place in apps:
                return apps[place].config
        return None

    @classmethod
    def unregister(cls, name: str) -> None:
        """Remove the tree; no error if it is unknown."""
        cls._trees.pop(name, None)

    @staticmethod
    def configure_logging() -> None:
        """Keep each request out of the manager's log."""
        log = library("cherrypy", "CherryPyMgr").log
        log.access_log.propagate = False
        log.error_log.propagate = False

    @staticmethod
    def create_adapter(
        app: Any, bind_addr: tuple[str, int], ssl_info: dict[str, Any] | None = None
    ) -> Any:
        """Make a server for the WSGI application ``app`` that the engine can start and stop."""
        wsgi = library("cheroot.wsgi", "CherryPyMgr")
        server = wsgi.Server(bind_addr, app, numthreads=THREADS, server_name=SERVER)
        if ssl_info:
            builtin = library("cheroot.ssl.builtin", "CherryPyMgr")
            server.ssl_adapter = builtin.BuiltinSSLAdapter(ssl_info["cert"], ssl_info["key"])
            if ssl_info.get("context"):
                server.ssl_adapter.context = ssl_info["context"]
        servers = library("cherrypy.process.servers", "CherryPyMgr")
        return servers.ServerAdapter(library("cherrypy", "CherryPyMgr").engine, server, bind_addr)

    @staticmethod
    def subscribe_adapter(adapter: Any) -> None:
        """Make the engine stop ``adapter`` when the engine stops."""
        adapter.subscribe()

    @staticmethod
    def _start_engine() -> None:
        cherrypy = library("cherrypy", "CherryPyMgr")
        cherrypy.server.unsubscribe()
        for part in ("autoreload", "signal_handler"):
            plugin = getattr(cherrypy.engine, part, None)
            if plugin is not None:
                plugin.unsubscribe()
        cherrypy.config.update(QUIET)
        cherrypy.engine.start()
