"""Logging of a module: each module has its own logger, which writes to the manager's log.

By option it also writes to a file of the module and to the cluster log. The level is the option
``log_level`` or, if that is empty, the manager's ``debug_mgr``. The loggers of the module's files
(``logging.getLogger(__name__)``) are below it, with the same level and handlers.
"""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any, Final

LOGGERS: Final = "modules"
"""First name of the logger of each module: the package of the bundled ones."""
_FILE_FORMAT: Final = "%(asctime)s [%(threadName)s] [%(levelname)-4s] [%(name)s] %(message)s"


class ClusterLogPrio(IntEnum):
    """Priority of a line of the cluster log."""

    DEBUG = 0
    INFO = 1
    SEC = 2
    WARN = 3
    ERROR = 4


PRIORITIES: Final = {
    logging.DEBUG: ClusterLogPrio.DEBUG,
    logging.INFO: ClusterLogPrio.INFO,
    logging.WARNING: ClusterLogPrio.WARN,
    logging.ERROR: ClusterLogPrio.ERROR,
    logging.CRITICAL: ClusterLogPrio.ERROR,
}


class ManagerLogHandler(logging.Handler):
    """Passes a module's records to the manager's log, regardless of the root logger's level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record to the handlers of the root logger."""
        logging.getLogger().handle(record)


class CPlusPlusHandler(logging.Handler):
    """Passes texts, formatted as by ceph-mgr, to the module's ``_ceph_log``.

    For modules that add handlers to other loggers. ``MgrModule`` itself uses ``ManagerLogHandler``,
    which keeps a record's level and fields.
    """

    _label = ""

    def __init__(self, module_inst: Any) -> None:
        super().__init__()
        self._module = module_inst
        self._use_label(self._label or module_inst.module_name)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the text."""
        self._module._ceph_log(self.format(record))  # noqa: SLF001 - Ceph's name

    def _use_label(self, label: str) -> None:
        text = f"[{label} %(levelname)-4s %(name)s] %(message)s"
        self.setFormatter(logging.Formatter(text))


class MgrRootHandler(CPlusPlusHandler):
    """Like ``CPlusPlusHandler``, for records that do not come from a module's own logger."""

    _label = "mgr"

    def set_module(self, module_inst: Any) -> None:
        """Write through another module instance from now on."""
        self._module = module_inst


class ClusterLogHandler(logging.Handler):
    """Writes a module's messages to the cluster log, in the channel named after the module."""

    def __init__(self, module_inst: Any) -> None:
        super().__init__()
        self._module = module_inst
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message.

        Raises:
            KeyError: The level is not one of the five standard ones.

        """
        priority = PRIORITIES[record.levelno]
        self._module.cluster_log(self._module.module_name, priority, self.format(record))


class FileHandler(logging.FileHandler):
    """Writes to a file beside the manager's ``log_file``: ``mgr.log`` gives ``mgr.<module>.log``.

    The file is created when the first line is written.

    Raises:
        ValueError: The manager has no log file.

    """

    def __init__(self, module_inst: Any) -> None:
        base = str(module_inst.get_ceph_option("log_file") or "")
        if not base:
            raise ValueError("the manager's log_file is empty")
        stem, dot, _ = base.rpartition(".log")
        name = module_inst.module_name
        self.path = f"{stem}.{name}.log" if dot else f"{base}.{name}"
        super().__init__(self.path, delay=True)
        self.setFormatter(logging.Formatter(_FILE_FORMAT))


class MgrModuleLoggingMixin:
    """Gives a module its logger, and applies its log options to it."""

    module_name: str
    log_to_file = False
    log_to_cluster = False

    def _configure_logging(
        self,
        mgr_level: str,
        module_level: str,
        cluster_level: str,
        log_to_file: bool,  # noqa: FBT001 - ceph-mgr's signature
        log_to_cluster: bool,  # noqa: FBT001 - as above
    ) -> None:
        """Set up the logger's handlers, replacing those of an earlier instance."""
        # A name of its own: a module may have the name of a library's logger, or the name root.
        self._logger = self._module_logger = logging.getLogger(f"{LOGGERS}.{self.module_name}")
        self._adopt_package_logger()
        self._unconfigure_logging()
        self._logger.propagate = False
        self._mgr_log_handler = ManagerLogHandler()
        self._cluster_log_handler = ClusterLogHandler(self)
        self._file_log_handler: FileHandler | None = None
        self._logger.addHandler(self._mgr_log_handler)
        self._logs_to = (False, False)
        self._switch_logs(to_file=log_to_file, to_cluster=log_to_cluster)
        self._set_log_level(mgr_level, module_level, cluster_level)

    def _adopt_package_logger(self) -> None:
        """Put the loggers of the package that defines this class below the module's logger."""
        parts = type(self).__module__.split(".")
        if self.module_name not in parts:
            return
        package = ".".join(parts[: parts.index(self.module_name) + 1])
        logger = logging.getLogger(package)
        if logger is not logging.getLogger() and logger is not self._logger:
            logger.parent = self._logger

    def _unconfigure_logging(self) -> None:
        """Remove every handler of ours from the logger."""
        for handler in list(self._logger.handlers):
            if isinstance(handler, (ManagerLogHandler, ClusterLogHandler, FileHandler)):
                self._logger.removeHandler(handler)
                handler.close()

    def _set_log_level(self, mgr_level: str, module_level: str, cluster_level: str) -> None:
        """Apply the option texts ``debug_mgr``, ``log_level`` and ``log_to_cluster_level``."""
        level = module_level.upper() if module_level else self._ceph_log_level_to_python(mgr_level)
        self._mgr_log_handler.setLevel(level)
        if self._file_log_handler:
            self._file_log_handler.setLevel(level)
        self._cluster_log_handler.setLevel(cluster_level.upper() or logging.NOTSET)
        # As low as the lowest handler: no record is created that no handler writes.
        self._logger.setLevel(min(handler.level for handler in self._logger.handlers) or 1)

    def _enable_file_log(self) -> None:
        self.log_to_file = True
        try:
            handler = FileHandler(self)
        except ValueError as error:
            self._logger.warning("the module cannot log to its own file: %s", error)
            return
        self._file_log_handler = handler
        handler.setLevel(self._mgr_log_handler.level)
        self._logger.addHandler(handler)

    def _disable_file_log(self) -> None:
        self.log_to_file = False
        if self._file_log_handler is not None:
            self._logger.removeHandler(self._file_log_handler)
            self._file_log_handler.close()
            self._file_log_handler = None

    def _enable_cluster_log(self) -> None:
        self.log_to_cluster = True
        self._logger.addHandler(self._cluster_log_handler)

    def _disable_cluster_log(self) -> None:
        self.log_to_cluster = False
        self._logger.removeHandler(self._cluster_log_handler)

    def _switch_logs(self, *, to_file: bool, to_cluster: bool) -> None:
        # Not compared with self.log_to_*: modules that set an attribute for each of their options
        # have already overwritten those with the new value.
        was_to_file, was_to_cluster = self._logs_to
        self._logs_to = (to_file, to_cluster)
        if to_file != was_to_file:
            (self._enable_file_log if to_file else self._disable_file_log)()
        if to_cluster != was_to_cluster:
            (self._enable_cluster_log if to_cluster else self._disable_cluster_log)()

    @staticmethod
    def _ceph_log_level_to_python(log_level: str) -> str:
        """Return the Python level for a ``debug_mgr`` like ``1/5``; ERROR if it is invalid.

        A line is shown if its severity is not above the number: an error has 0, a warning 1, an
        info line 4, a debug line 20.
        """
        try:
            number = int(str(log_level).partition("/")[0])
        except ValueError:
            return "ERROR"
        for least, name in ((20, "DEBUG"), (4, "INFO"), (1, "WARNING")):
            if number >= least:
                return name
        return "ERROR"

    def _ceph_log(self, text: str) -> None:
        """Write a line to the manager's log, regardless of its level."""
        root = logging.getLogger()
        root.handle(root.makeRecord(self.module_name, logging.INFO, "", 0, text, (), None))

    def getLogger(self, name: str | None = None) -> logging.Logger:  # noqa: N802 - Ceph's
        """Return the module's logger, or its child ``name``."""
        return self._logger.getChild(name) if name else self._logger
