"""What is wanted, as it is stored: services, hosts, secrets. The module's lock protects it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec

from mgr_orchestrator import OrchestratorError, OrchestratorValidationError

from . import parts
from .records import (
    HOST,
    PAUSED,
    SECRET,
    SERVICE,
    HostRecord,
    SecretRecord,
    ServiceRecord,
    Version,
)
from .specification import Specification

SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")
SECRET_MAX: Final = 64 << 10
HOST_NAME: Final = re.compile(r"(?=.{1,128}$)[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")

T = TypeVar("T")


class Store(Protocol):
    """The part of a module that stores."""

    def get_store_prefix(self, key_prefix: str) -> dict[str, str]:
        """See ``MgrModule``."""
        ...

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None] = ...
    ) -> bool:
        """See ``MgrModule``."""
        ...


class Desired:
    """What is wanted. Each change is stored before it counts.

    Attributes:
        services: By name.
        hosts: By name, removed ones among them.
        paused: Whether steps are not to be carried out.
        generation: Grows with each change.
        doubtful: A write failed, and may have arrived all the same: read it all again.

    """

    def __init__(self, store: Store) -> None:
        """Read everything that is stored."""
        self._store = store
        self.generation = 0
        self.doubtful = False
        self._parts: dict[str, int] = {}
        self.services = self._load(SERVICE, ServiceRecord)
        self.hosts = self._load(HOST, HostRecord)
        self._secrets = self._load(SECRET, SecretRecord)
        self.paused = PAUSED in store.get_store_prefix(PAUSED)

    def service(self, name: str) -> ServiceRecord:
        """Return a service.

        Raises:
            OrchestratorError: There is none.

        """
        found = self.services.get(name)
        if found is None:
            raise OrchestratorError(f"there is no service {name!r}: see orch ls", -errno.ENOENT)
        return found

    def applied(self, spec: Specification) -> ServiceRecord:
        """Return the service of ``spec`` as it is after ``spec`` was applied."""
        before = self.services.get(spec.service)
        if before is None:
            return ServiceRecord(current=Version(generation=1, spec=spec))
        return before.applied(spec)

    def store_services(self, after: Mapping[str, ServiceRecord | None]) -> None:
        """Store services; None removes one."""
        changed = {name: each for name, each in after.items() if each != self.services.get(name)}
        self._commit(SERVICE, changed, self.services)

    # -- hosts ------------------------------------------------------------------------------

    def host(self, name: str) -> HostRecord:
        """Return a host.

        Raises:
            OrchestratorError: There is none.

        """
        found = self.hosts.get(name)
        if found is None or found.excluded:
            raise OrchestratorError(f"there is no host {name!r}: see orch host ls", -errno.ENOENT)
        return found

    def join(self, names: Iterable[str]) -> None:
        """Add hosts that are new; one whose name cannot be part of a daemon's is left out."""
        new = {name for name in names if name not in self.hosts and HOST_NAME.fullmatch(name)}
        self.store_hosts({name: HostRecord() for name in sorted(new)})

    def note_joined(self, names: Iterable[str]) -> None:
        """Note that these take orders: hosts that an operator added before they did."""
        new = [n for n in names if (record := self.hosts.get(n)) is not None and not record.joined]
        for name in new:
            self.store_hosts({name: msgspec.structs.replace(self.hosts[name], joined=True)})

    def change_host(self, name: str, **fields: object) -> None:
        """Change some fields of a host."""
        self.store_hosts({name: msgspec.structs.replace(self.host(name), **fields)})

    def store_hosts(self, after: Mapping[str, HostRecord]) -> None:
        """Store hosts."""
        for name in after:
            if not HOST_NAME.fullmatch(name):
                raise OrchestratorValidationError(f"{name!r} is no name of a host")
        self._commit(HOST, after, self.hosts)

    def set_paused(self, *, paused: bool) -> None:
        """Pause the sending of orders, or end that."""
        self._store.commit_store({PAUSED: "true" if paused else None})
        self.paused = paused
        self.generation += 1

    # -- secrets ----------------------------------------------------------------------------

    def secrets(self, spec: Specification) -> dict[str, str]:
        """Return the secrets that ``spec`` refers to, by name; one that is gone is empty."""
        found = {}
        for name in spec.secrets.values():
            record = self._secrets.get(name)
            found[name] = "" if record is None else record.value
        return found

    def check_secrets(self, spec: Specification) -> None:
        """Check that the secrets of ``spec`` are there.

        Raises:
            OrchestratorValidationError: One is not.

        """
        for name in spec.secrets.values():
            if name not in self._secrets:
                raise OrchestratorValidationError(
                    f"{spec.service}: there is no secret {name!r}: store it with 'orch secret set'"
                )

    def secret_users(self) -> dict[str, list[str]]:
        """Return the services that use each secret, by its name."""
        return {name: self._users(name) for name in sorted(self._secrets)}

    def set_secret(self, name: str, value: str | None) -> list[str]:
        """Store a secret, or remove it with None; return the services that are deployed again.

        Raises:
            OrchestratorError: A service needs it, or it is not there.
            OrchestratorValidationError: The name or the value is invalid.

        """
        users = self._users(name)
        if value is None:
            if users:
                raise OrchestratorError(f"{name} is used by {', '.join(users)}", -errno.EBUSY)
            if name not in self._secrets:
                raise OrchestratorError(f"there is no secret {name!r}", -errno.ENOENT)
        elif not SECRET_NAME.fullmatch(name):
            raise OrchestratorValidationError("a secret's name is letters, digits, _ and -")
        elif len(value) > SECRET_MAX or "\0" in value:
            raise OrchestratorValidationError(
                f"a secret is at most {SECRET_MAX} characters of text"
            )
        if value is not None and self._secrets.get(name) == SecretRecord(value=value):
            return []
        after = {name: None if value is None else SecretRecord(value=value)}
        self._commit(SECRET, after, self._secrets)
        self.store_services({user: self.services[user].renewed() for user in users})
        return users

    def _users(self, name: str) -> list[str]:
        return sorted(
            service
            for service, record in self.services.items()
            if not record.removed
            and any(
                name in version.spec.secrets.values()
                for version in (record.current, record.good)
                if version is not None
            )
        )

    # -- storing ----------------------------------------------------------------------------

    def _load(self, prefix: str, kind: type[T]) -> dict[str, T]:
        stored = self._store.get_store_prefix(prefix)
        pieces = parts.joined({key.removeprefix(prefix): text for key, text in stored.items()})
        self._parts |= {prefix + name: len(each) for name, each in pieces.items()}
        return {name: msgspec.json.decode("".join(it), type=kind) for name, it in pieces.items()}

    def _commit(self, prefix: str, after: Mapping[str, Any], known: dict[str, Any]) -> None:
        """Store records, None removes one; ``known`` follows, transaction by transaction."""
        self.generation += bool(after)
        entries = {}
        for name, each in after.items():
            text = None if each is None else msgspec.json.encode(each).decode()
            key = prefix + name
            entries[name] = parts.changes(key, text, self._parts.get(key, 0))
        for batch in parts.batches(entries):
            try:
                self._store.commit_store({k: v for each in batch.values() for k, v in each.items()})
            except BaseException:
                self.doubtful = True
                raise
            for name, changed in batch.items():
                self._parts[prefix + name] = sum(text is not None for text in changed.values())
                if after[name] is None:
                    known.pop(name, None)
                else:
                    known[name] = after[name]
