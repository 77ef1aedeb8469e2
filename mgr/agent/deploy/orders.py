"""Applies the managers' orders and reports their results.

An order counts only if the active manager itself sent it, over this agent's own stream, in a term
that is not older than the newest one seen here, and only once. Only this host's settings decide
what it may ask for.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mgr.agent.deploy.config import Order, parse_orders
from mgr.agent.deploy.containers import Containers
from mgr.agent.deploy.processes import Processes
from mgr.agent.deploy.settings import DeploySettings
from mgr.agent.deploy.state import Record, StateFile
from mgr.agent.deploy.supervisor import (
    FAILED,
    REMOVING,
    STARTING,
    STOPPED,
    Supervised,
    Supervisor,
)
from mgr.agent.deploy.systemd import BOOTED, TransientUnits
from mgr.client.daemon.handlers import CommandOrigin
from mgr.client.daemon.program import Program
from mgr.clock import wall_s
from mgr.errors import MgrError, OverloadedError
from mgr.report_limits import TEXTS_BYTES_MAX

CommandResult = tuple[int, str, str]

STATUS: Final = "deployed"
"""The status text of the host's daemon that has the state of its deployed daemons."""
STATUS_BYTES_MAX: Final = TEXTS_BYTES_MAX - 2048
DETAIL_MAX: Final = 80
LINES: Final = 100

log = logging.getLogger(__name__)


class Orders:
    """The commands ``orders ...`` of one agent."""

    def __init__(
        self, settings: DeploySettings, program: Program, report_soon: Callable[[], None]
    ) -> None:
        """Add the commands to ``program``, and its state to its status.

        Raises:
            InvalidSettingError: The folder cannot be used.

        """
        self._settings = settings
        self._program = program
        self._report_soon = report_soon
        # It orders states in time, across restarts of the agent too.
        self._state = StateFile(Path(settings.folder), int(wall_s() * 1e6))
        with contextlib.suppress(OSError):  # said at the first order, if the disk is still full
            self._state.save()
        units, processes = TransientUnits(), Processes()
        self._supervisor = Supervisor(
            self._state,
            Path(settings.folder),
            {
                # systemd does all that the agent would do, and goes on when the agent ends.
                "process": units if BOOTED.is_dir() else processes,
                "systemd": units,
                "container": Containers(settings.engine),
            },
            self._changed,
        )
        self._changes = 0
        program.command("orders apply", "Carry out orders of the active manager", perm="rw")(
            self.apply
        )
        program.command("orders status", "Show the deployed daemons", perm="r")(self.status)
        program.command(
            "orders log name=daemon,type=CephString name=lines,type=CephInt,range=1|1000,req=false",
            "Show the last lines that a deployed daemon wrote",
            perm="r",
        )(self.log)
        self._changed()

    async def run(self) -> None:
        """Supervise the deployed daemons until cancelled."""
        await self._supervisor.run()

    async def apply(self, origin: CommandOrigin, inbuf: str = "") -> CommandResult:
        """Carry out orders; answer with the result of each and the state of all daemons."""
        if not origin.from_manager:
            return -errno.EPERM, "", "only the active manager gives orders: use mgrctl orch"
        if origin.term < self._state.term:
            log.warning(
                "orders of an old term refused",
                extra={"term": origin.term, "newest_term": self._state.term},
            )
            return (
                -errno.ESTALE,
                "",
                f"term {origin.term} is over: term {self._state.term} is known",
            )
        orders = parse_orders(inbuf)
        self._state.term = origin.term
        results = {order.key: self._result(order) for order in orders}
        try:
            self._state.save()  # before anything is done
        except OSError as error:
            return -(error.errno or errno.EIO), "", f"{self._settings.folder}: {error.strerror}"
        for order in orders:
            if not results[order.key]:
                self._begin(order)
        return 0, json.dumps({"results": results, "state": self._document()}), ""

    async def status(self) -> str:
        """Return the state of all daemons as JSON."""
        return json.dumps(self._document(), indent=4)

    async def log(self, daemon: str, lines: int = LINES) -> CommandResult:
        """Return the last lines that a daemon wrote."""
        record = self._state.daemons.get(daemon)
        if record is None:
            return -errno.ENOENT, "", f"no daemon {daemon!r} is deployed here"
        unit = self._supervisor.unit(daemon, record, record.revision)
        try:
            return 0, await self._supervisor.runtime(record).output(unit, lines), ""
        except OSError as error:
            return -(error.errno or errno.EIO), "", f"{daemon} has no log: {error.strerror}"
        except RuntimeError as error:
            return -errno.EIO, "", f"{daemon} has no log: {error}"

    def _result(self, order: Order) -> str:
        """Apply one order to the state unless that is done; return why it is refused, or ""."""
        if self._state.applied(order.key):
            return ""
        try:
            self._take(order)
        except MgrError as error:
            return str(error)
        self._state.add_key(order.key)
        log.info(
            "order accepted",
            extra={
                "action": order.action,
                "daemon": order.daemon,
                "revision": order.revision,
                "term": self._state.term,
                "key": order.key,
            },
        )
        return ""

    def _take(self, order: Order) -> None:
        daemons = self._state.daemons
        record = daemons.get(order.daemon)
        if order.action == "remove":
            if record is not None:
                record.removed = True
        elif order.action == "stop":
            if record is not None:
                record.running = False
        elif order.config is not None:
            order.config.check(self._settings)
            if record is None:
                self._check_room(order.daemon)
                daemons[order.daemon] = Record(config=order.config, revision=order.revision)
            else:
                record.config, record.revision = order.config, order.revision
                record.running, record.removed = True, False

    def _check_room(self, daemon: str) -> None:
        count = len(self._state.daemons)
        if count >= self._settings.daemons_max:
            raise OverloadedError(f"this host has {count} daemons, as many as its settings allow")
        used = len(self._text()) + len(daemon) + 2 * DETAIL_MAX
        if used > STATUS_BYTES_MAX:
            raise OverloadedError(f"this host has {count} daemons, more cannot be reported")

    def _begin(self, order: Order) -> None:
        if order.action == "deploy":
            record = self._state.daemons.get(order.daemon)
            if record is None or record.removed:
                return  # another order removes it: of the same message, or of an earlier one
            daemon = self._supervisor.add(order.daemon)
            if record.began == record.revision and daemon.state not in {STOPPED, FAILED, REMOVING}:
                return  # it runs, or is being started
            daemon.expect(STARTING)
        elif (known := self._supervisor.daemons.get(order.daemon)) is not None:
            known.wake()
        self._changed()

    # -- state ------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._changes += 1
        self._program.status[STATUS] = self._text()
        self._report_soon()

    def _text(self) -> str:
        return json.dumps(self._document(), separators=(",", ":"))

    def _document(self) -> dict[str, Any]:
        found = self._supervisor.daemons
        return {
            "version": [self._state.start, self._changes],
            "term": self._state.term,
            "kinds": list(self._settings.kinds),
            "daemons": {
                name: _row(record, found.get(name)) for name, record in self._state.daemons.items()
            },
        }


def _row(record: Record, daemon: Supervised | None) -> list[Any]:
    """Service, revision, state, restarts and detail of one daemon."""
    state, restarts, detail = STARTING, 0, ""
    if daemon is not None:
        state, restarts, detail = daemon.state, daemon.restarts, daemon.detail
    return [record.config.service, record.revision, state, restarts, detail[:DETAIL_MAX]]
