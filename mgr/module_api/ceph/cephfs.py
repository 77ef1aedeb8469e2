"""Connections to Ceph's file systems, shared between users and counted.

Without Ceph, each use raises the error that modules expect from these classes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from mgr.clock import CLOCK
from mgr.module_api.ceph.bindings import NoCephError

Module_T = TypeVar("Module_T")

RELEASE_TIMEOUT_S: Final = 30.0
SLOW_LOCK_S: Final = 30.0
"""A message is logged if a lock could not be acquired for this long."""

log = logging.getLogger(__name__)


class CephfsConnectionException(Exception):  # noqa: N818 - Ceph's name
    """A file system cannot be reached: an errno (of either sign, as raised) and a text."""

    def __init__(self, error_code: int, error_message: str) -> None:
        super().__init__(error_code, error_message)
        self.errno = error_code
        self.error_str = error_message

    def to_tuple(self) -> tuple[int, str, str]:
        """Return the result of a command that got this error."""
        return self.errno, "", self.error_str

    def __str__(self) -> str:
        return f"{self.errno} ({self.error_str})"


@dataclass(slots=True)
class _Connection:
    handle: Any
    users: int = 0


class CephfsConnectionPool:
    """One mounted connection for each file system that is in use."""

    def __init__(self, mgr: Any) -> None:
        """Connect as ``mgr``, a module."""
        self.mgr = mgr
        self.lock = threading.Condition()
        self.connections: dict[str, _Connection] = {}

    def get_fs_handle(self, fs_name: str) -> Any:
        """Return a mounted ``cephfs.LibCephFS``; release it with ``put_fs_handle``.

        Raises:
            CephfsConnectionException: There is no such file system, or no Ceph at all.

        """
        with self.lock:
            connection = self.connections.get(fs_name)
            if connection is None:
                connection = self.connections[fs_name] = _Connection(self._mount(fs_name))
            connection.users += 1
            return connection.handle

    def put_fs_handle(self, fs_name: str, fs_handle: object = None) -> None:  # noqa: ARG002 - one a name
        """Release a handle that ``get_fs_handle`` returned."""
        with self.lock:
            if fs_name in self.connections:
                self.connections[fs_name].users -= 1
                self.lock.notify_all()

    def del_connections(self, fs_name: str, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - ceph-mgr's signature
        """Close the connection to a file system, if there is one.

        With ``wait``, first waits up to ``RELEASE_TIMEOUT_S`` seconds until all users released it.
        """
        with self.lock:
            connection = self.connections.get(fs_name)
            if connection is None:
                return
            if wait:
                self.lock.wait_for(lambda: not connection.users, RELEASE_TIMEOUT_S)
            self.connections.pop(fs_name, None)
        connection.handle.shutdown()

    def del_all_connections(self) -> None:
        """Close every connection."""
        for name in tuple(self.connections):
            self.del_connections(name)

    def _mount(self, fs_name: str) -> Any:
        names = [each["mdsmap"]["fs_name"] for each in self.mgr.get("fs_map")["filesystems"]]
        if fs_name not in names:
            raise CephfsConnectionException(-errno.ENOENT, f"FS '{fs_name}' not found")
        try:
            handle = self.mgr.new_cephfs()
        except NoCephError as error:
            raise CephfsConnectionException(-errno.ENOTCONN, str(error)) from error
        handle.mount(filesystem_name=fs_name.encode())
        self.mgr._ceph_register_client(handle.get_addrs())  # noqa: SLF001 - Ceph's name, which modules use
        return handle


class CephfsClient(Generic[Module_T]):
    """Base class or helper object of modules that work on file systems."""

    def __init__(self, mgr: Module_T) -> None:
        """Work for ``mgr``, a module."""
        self.mgr = mgr
        self.stopping = threading.Event()
        self.connection_pool = CephfsConnectionPool(mgr)

    def is_stopping(self) -> bool:
        """Return whether ``shutdown`` was called."""
        return self.stopping.is_set()

    def shutdown(self) -> None:
        """Close every connection."""
        self.stopping.set()
        self.connection_pool.del_all_connections()

    def get_fs(self, fs_name: str) -> Any:
        """Return the entry of a file system in ``fs_map``; None if there is none."""
        return next((each for each in self._all() if each["mdsmap"]["fs_name"] == fs_name), None)

    def get_mds_names(self, fs_name: str) -> list[str]:
        """Return the names of a file system's daemons."""
        filesystem = self.get_fs(fs_name)
        return [mds["name"] for mds in filesystem["mdsmap"]["info"].values()] if filesystem else []

    def get_metadata_pool(self, fs_name: str) -> Any:
        """Return the pool of a file system's metadata; None if there is none."""
        filesystem = self.get_fs(fs_name)
        return filesystem["mdsmap"]["metadata_pool"] if filesystem else None

    def get_all_filesystems(self) -> list[str]:
        """Return the names of all file systems."""
        return [each["mdsmap"]["fs_name"] for each in self._all()]

    def _all(self) -> Any:
        module: Any = self.mgr
        return module.get("fs_map")["filesystems"]


@contextlib.contextmanager
def open_filesystem(fsc: CephfsClient[Any], fs_name: str) -> Iterator[Any]:
    """Yield a mounted file system, and release it after the block.

    Raises:
        CephfsConnectionException: It cannot be reached.

    """
    handle = fsc.connection_pool.get_fs_handle(fs_name)
    try:
        yield handle
    finally:
        fsc.connection_pool.put_fs_handle(fs_name)


@contextlib.contextmanager
def lock_timeout_log(lock: threading.Lock, timeout: float = 5) -> Iterator[None]:
    """Hold ``lock`` during a block; log a message if acquiring it takes long."""
    began_s, logged = CLOCK.now(), False
    while not lock.acquire(timeout=timeout):
        if not logged and CLOCK.now() - began_s > SLOW_LOCK_S:
            log.info("possible deadlock acquiring %r", lock)
            logged = True
    try:
        yield
    finally:
        lock.release()
