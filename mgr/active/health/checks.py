"""Computes the manager's own health checks and puts them on the board whenever they change."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from mgr.active.health.audit_checks import audit_checks
from mgr.active.health.certificate_checks import (
    ExpiryLimits,
    certificate_checks,
    signer_checks,
    unprotected_checks,
)
from mgr.active.health.command_checks import command_checks, slow_commands
from mgr.active.health.fleet_checks import fleet_checks
from mgr.active.health.install_checks import InstallWatch, Missing, install_checks
from mgr.active.health.limit_checks import limit_checks
from mgr.active.health.manager_checks import (
    abandoned_checks,
    client_limit_checks,
    endpoint_checks,
    module_checks,
    not_standby_checks,
    option_checks,
    outdated_checks,
    space_checks,
    standby_checks,
    standby_module_checks,
    store_checks,
)
from mgr.active.health.quarantine_checks import quarantine_checks
from mgr.active.term_parts import TermParts
from mgr.clock import utc_now
from mgr.command.running import RunningCommand
from mgr.config.installed_modules import installed_modules
from mgr.config.manager_options import CERTIFICATE_ERROR, CERTIFICATE_WARN, COMMAND_SLOW
from mgr.config.module_limits import COMMAND_WARN, limit_of
from mgr.election.records import Presence
from mgr.health.board import MANAGER_SOURCE
from mgr.health.check import Check
from mgr.host.finder import module_reports
from mgr.link import ModuleReport
from mgr.pki.record import read_authority
from mgr.store.mirror import CURRENT_WITHIN_S

STORE_CHECK_EVERY_S: Final = 1.0
"""How often to check that the store still answers."""
STANDBY_GRACE_S: Final = 15.0
"""A manager that runs is given so long to become a standby before health names it."""
SIGNER_GRACE_S: Final = 60.0
"""Health says that no manager signs when none has run for so long."""


class ManagerChecks:
    """The checks that the manager itself raises. Use it on the loop."""

    def __init__(self, parts: TermParts, running: Callable[[], Iterable[RunningCommand]]) -> None:
        """Raise the checks on the board of ``parts``; nothing is raised before ``update``.

        ``running`` returns the commands that run.
        """
        self._running = running
        self._manager = manager = parts.manager
        self._modules = parts.modules
        self._fleet = parts.fleet
        self._board = parts.board
        # Kept between updates: reading every stored option again at each change would be slow.
        self._option_checks: list[Check] = []
        self._store_silent = False
        self._not_standby_since: dict[str, float] = {}
        self._not_standby: frozenset[str] = frozenset()
        self._left: tuple[str, ...] = ()
        self._silent_endpoints: tuple[str, ...] = ()
        self._slow_commands: tuple[str, ...] = ()
        self._limits_reached: dict[str, str] = {}
        self._module_limits: tuple[tuple[str, str, str], ...] = ()
        self._scarce = False
        self._installs = InstallWatch()
        self._missing: tuple[Missing, ...] = ()
        self._expiring: tuple[Check, ...] = ()
        self._signer_seen_s = manager.clock.now()

    def follow(self) -> None:
        """Update the checks, from now on, when records or options they depend on change.

        Call it after the modules have subscribed: the checks are about the modules' new state.
        """
        mirror, keys = self._manager.mirror, self._manager.keys
        for prefix in (
            keys.modules,
            keys.quarantines,
            keys.module_deaths,
            keys.managers,
            keys.installed,
        ):
            mirror.subscribe(prefix, self.update)
        self._manager.config.subscribe(self.update_options)
        self._manager.identity.subscribe(self.update)
        if self._manager.audit_sinks is not None:
            self._manager.audit_sinks.subscribe(self.update)

    def update(self, _changes: object = None) -> None:
        """Compute all checks again, except those of options, and replace those on the board."""
        own = self._manager.id
        self._missing = self._missing_modules()
        standbys = sum(p.warm for p in self._manager.view.presences() if p.name != own)
        checks = [
            *module_checks(self._modules.states()),
            *quarantine_checks(self._manager.quarantine_reasons(), self._modules.enabled),
            *abandoned_checks(map(str, self._manager.abandoned_instances.all()), self._left),
            *standby_checks(own, standbys),
            *not_standby_checks(self._not_standby),
            *standby_module_checks(self._failed_standbys()),
            *outdated_checks(self._outdated()),
            *install_checks(self._missing),
            *command_checks(self._slow_commands),
            *limit_checks(self._module_limits),
            *store_checks(silent=self._store_silent, foreign=self._manager.identity.foreign),
            *endpoint_checks(self._silent_endpoints),
            *client_limit_checks(self._limits_reached),
            *space_checks(scarce=self._scarce),
            *unprotected_checks(self._manager.view.presences()),
            *self._expiring,
            *fleet_checks(self._fleet.health),
            *self._audit_checks(),
            *self._option_checks,
        ]
        self._board.set(MANAGER_SOURCE, checks)

    def update_options(self, _changes: object = None) -> None:
        """Check every stored option again."""
        invalid_values = self._manager.config.invalid_values()
        checks = option_checks(
            (f"{option.section} {option.name} = '{option.value}'", reason)
            for option, reason in invalid_values
        )
        # The command that changed an option waits for this: skip the rest if nothing is new.
        if checks != self._option_checks:
            self._option_checks = checks
            self.update()

    async def watch_store(self) -> None:
        """Check once a second what changes with time only, for as long as the term lasts.

        Whether the store still answers and has room, which managers have not become standbys in
        time, what stopped modules left behind, which commands do not end, which limits clients
        reached, and which certificates are about to end.
        """
        seen: tuple[object, ...] = ()
        while True:
            before, seen = seen, self._observe()
            if seen != before:
                self.update()
            await asyncio.sleep(STORE_CHECK_EVERY_S)

    def _observe(self) -> tuple[object, ...]:
        manager = self._manager
        self._store_silent = manager.mirror.age_s() > CURRENT_WITHIN_S
        self._not_standby = self._overdue_standbys()
        self._left = self._modules.leftovers()
        self._silent_endpoints = manager.endpoints.silent
        reached = manager.limits.recent()
        # The caller is kept from the first sight: a flood of many callers is not a flood of checks.
        self._limits_reached = {
            name: self._limits_reached.get(name, each.caller) for name, each in reached.items()
        }
        self._scarce = manager.space is not None and manager.space.is_scarce
        self._missing = self._missing_modules()
        self._slow_commands = slow_commands(self._running(), self._command_slow_s)
        processes = manager.processes
        self._module_limits = () if processes is None else processes.reached_limits()
        self._expiring = self._expiring_certificates()
        return (
            self._expiring,
            self._store_silent,
            self._not_standby,
            self._left,
            self._silent_endpoints,
            self._limits_reached,
            self._scarce,
            self._missing,
            self._slow_commands,
            self._module_limits,
        )

    def _audit_checks(self) -> list[Check]:
        sinks = self._manager.audit_sinks
        return [] if sinks is None else audit_checks(sinks.trouble, sinks.troubles)

    def _expiring_certificates(self) -> tuple[Check, ...]:
        option = self._manager.config.manager_option
        limits = ExpiryLimits(
            *(
                dt.timedelta(seconds=float(str(option(name))))
                for name in (CERTIFICATE_WARN, CERTIFICATE_ERROR)
            )
        )
        managers = self._manager.view.presences()
        expiring = certificate_checks(managers, utc_now(), limits)
        return (*expiring, *self._missing_signer(managers))

    def _missing_signer(self, managers: list[Presence]) -> list[Check]:
        authority = read_authority(self._manager.mirror, self._manager.keys)
        missing = signer_checks(
            managers, cluster_signs=authority is not None and bool(authority.sealed_key)
        )
        now_s = self._manager.clock.now()
        if not missing:
            self._signer_seen_s = now_s
        # One that is restarted is missing for some seconds, which does no harm.
        return missing if now_s - self._signer_seen_s >= SIGNER_GRACE_S else []

    def _overdue_standbys(self) -> frozenset[str]:
        manager, now_s = self._manager, self._manager.clock.now()
        presences = [each for each in manager.view.presences() if each.name != manager.id]
        # Its worker may be started again and again, so the manager counts and not the worker.
        self._not_standby_since = {
            each.name: self._not_standby_since.get(each.name, now_s)
            for each in presences
            if not each.warm
        }
        since = self._not_standby_since.items()
        return frozenset(name for name, at_s in since if now_s - at_s >= STANDBY_GRACE_S)

    def _command_slow_s(self, module: str) -> float:
        option = self._manager.config.manager_option
        slow_s = limit_of(module, COMMAND_WARN, option) or option(COMMAND_SLOW)
        return float(slow_s) if isinstance(slow_s, int | float) else 0.0

    def _failed_standbys(self) -> Iterator[tuple[str, str, str]]:
        for presence in self._manager.view.presences():
            # The active's own record may still show an error of its time as a standby.
            for report in presence.modules if presence.name != self._manager.id else ():
                if report.standby_error:
                    yield presence.name, report.name, report.standby_error

    def _reports(self, presences: Iterable[Presence]) -> dict[str, Sequence[ModuleReport]]:
        """Return what these managers and this one say of their modules now."""
        found: dict[str, Sequence[ModuleReport]] = {each.name: each.modules for each in presences}
        # Its own record may still be of its time as a standby.
        return {**found, self._manager.id: module_reports(self._manager.catalogue)}

    def _missing_modules(self) -> tuple[Missing, ...]:
        manager = self._manager
        installed = installed_modules(manager.mirror, manager.keys)
        if not installed:
            return ()
        # Only of those that may lead: what is not warm has not had the time to fetch it.
        reports = self._reports(each for each in manager.view.presences() if each.warm)
        return self._installs.missing(installed, reports, manager.clock.now())

    def _outdated(self) -> Iterator[tuple[str, str, str]]:
        missing = {(manager, name) for name, _, manager, _ in self._missing}
        for manager, modules in self._reports(self._manager.view.presences()).items():
            for report in modules:
                if report.outdated and (manager, report.name) not in missing:
                    yield manager, report.name, report.outdated
