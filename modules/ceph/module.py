"""Ceph: the managers' connection to the Ceph cluster that the setting ``ceph_conf`` names.

It keeps the documents current that modules written for ceph-mgr read with ``get`` (``osd_map``,
``fs_map``, ``df`` ...), runs the commands that modules send to monitors, OSDs and MDSs, and shows
the cluster's health beside the manager's own. It is a module so that whatever the native library
does stays in its process, if it has one, and ends with the term. No
``from __future__ import annotations`` here: commands are derived from annotations.
"""

import errno
import json
import threading
from time import perf_counter
from typing import Any

from mgr_module import CLIReadCommand, MgrModule, Option
from object_format import Responder

from . import checks, clients, maps
from .link import AbsentError, Answer, CephLink

REST = 9
"""A poll is followed by a pause at least so many times as long as it took: the module keeps a
cluster busy for a tenth of the time at most, however large that is. Commands that changed something
are followed by a poll at once, one for all that end during another poll."""
CLOSE_S = 1.0
"""How long commands under way may take to end before the connection is left as it is."""
FRESH_S = 5.0
"""How long a command that changed something waits for the maps to show it."""


class Module(MgrModule):
    """Polls the cluster on its own thread; commands come on the threads of their senders."""

    EFFECTS = "external"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        Option(
            "poll_interval",
            type="float",
            default=5.0,
            min=0.2,
            max=3600,
            runtime=True,
            desc="Seconds between two polls of the cluster; longer if a poll takes long",
        ),
        Option(
            "health",
            type="bool",
            default=True,
            runtime=True,
            desc="Whether health shows the checks of the Ceph cluster",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare ``serve``; nothing is connected yet."""
        super().__init__(*args, **kwargs)
        self._link = CephLink(self)
        self._turn = threading.Condition()
        self._stop = False
        self._wanted = self._polled = 0
        self._trouble = ""
        self._fsid = ""
        self._epochs: dict[str, Any] = {}
        self._published: dict[str, Any] = {}

    # -- polling, on the module's own thread ------------------------------------------------------

    def serve(self) -> None:
        """Poll until ``shutdown``."""
        while not self._stop:
            with self._turn:
                asked = self._wanted
            began = perf_counter()
            self._poll()
            # One that failed took its time-outs, which say nothing about the size of the cluster.
            rest_s = 0.0 if self._trouble else REST * (perf_counter() - began)
            pause_s = max(float(self.get_module_option("poll_interval")), rest_s)
            with self._turn:
                self._polled = asked
                self._turn.notify_all()
                self._turn.wait_for(self._is_wanted, pause_s)

    def _is_wanted(self) -> bool:
        return self._stop or self._wanted > self._polled

    def shutdown(self) -> None:
        """Let ``serve`` return, and close the connection if nobody uses it."""
        with self._turn:
            self._stop = True
            self._turn.notify_all()
        # Otherwise it ends with the process.
        if self._link.close(CLOSE_S):
            super().shutdown()

    def _poll(self) -> None:
        if not self.get_ceph_option("mgr_ceph_conf"):
            # Without it, modules do not record their clients, and nobody waits for documents.
            self._lost("the setting ceph_conf is empty: set it on every manager")
            return
        try:
            self._refuse_outlived()
            if not self._fsid:
                self._link.learn_commands()
            status = self._link.ask("mon", maps.STATUS.command)
            health = self._link.ask("mon", maps.HEALTH.command)
            self._read_maps(status)
        except AbsentError as error:
            self._lost(str(error))
            return
        if self._trouble or not self._fsid:
            self.log.info("connected to Ceph cluster %s", status["fsid"])
        self._fsid, self._trouble = status["fsid"], ""
        show = self.get_module_option("health")
        self.set_health_checks(checks.checks_of(health) if show else {})

    def _refuse_outlived(self) -> None:
        """Have the cluster refuse clients of earlier terms, and of instances that are over."""
        for key, text in self.get_store_prefix(clients.PREFIX).items():
            known = json.loads(text)
            over = clients.outlived(known, term=self.get_term())
            if not over:
                continue
            for one in over:
                self._link.tell(clients.refusal(one["address"]))
                self.log.info("Ceph refuses a client that is over: %s", one["address"])
            rest = [one for one in known if one not in over]
            # If another one was recorded meanwhile, the next poll finds these again.
            self.compare_and_set_store(key, text, json.dumps(rest) if rest else None)

    def _lost(self, why: str) -> None:
        if not self._trouble and not self._stop:
            self.log.warning("Ceph is not reachable: %s", why)
        self._trouble = why
        self.set_health_checks(checks.unreachable(why))

    def _read_maps(self, status: dict[str, Any]) -> None:
        documents = maps.status_documents(status)
        epochs = maps.epochs_of(status)
        for group, epoch in epochs.items():
            if self._epochs.get(group) != epoch:
                documents |= self._read(group, maps.leader_of(status))
        try:
            documents |= maps.devices_gone(self._published) | self._read(maps.PG)
        except AbsentError as error:
            # Ceph's own manager is down, which its health says; the other maps are current.
            self.log.debug("no placement groups: %s", error)
        self._publish(documents)
        # Only now: what was not published is read again.
        self._epochs = epochs

    def _read(self, group: str, leader: str = "") -> dict[str, Any]:
        answers = {
            each.name: self._link.ask(each.to, each.command, leader if each.leader else "")
            for each in maps.QUERIES[group]
        }
        return maps.documents_of(group, answers)

    def _publish(self, documents: dict[str, Any]) -> None:
        changed = {
            name: document
            for name, document in documents.items()
            if self._published.get(name) != document
        }
        try:
            if changed:
                self.set_ceph_documents(changed)
        except ValueError:
            # One of them is too large for a message to the worker: the others are not lost for it.
            self._publish_singly(changed)
        self._published |= changed

    def _publish_singly(self, documents: dict[str, Any]) -> None:
        for name, document in documents.items():
            try:
                self.set_ceph_documents({name: document})
            except ValueError as error:
                self.log.warning("document %s of Ceph is not published: %s", name, error)

    # -- for the manager, on the threads of those who send commands -------------------------------

    def run_command(self, kind: str, name: str, command: str, inbuf: str) -> Answer:
        """Send a command of a module to the cluster and return its answer.

        One that changed something is answered when the maps show it, or after ``FRESH_S`` seconds.
        """
        if self._trouble:
            return -errno.ETIMEDOUT, "", f"Ceph is not reachable: {self._trouble}"
        answer = self._link.send(kind, name, command, inbuf)
        if kind == maps.MONITORS and not answer[0] and self._link.changes(command):
            with self._turn:
                self._wanted += 1
                mine = self._wanted
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._stop or self._polled >= mine, FRESH_S)
        return answer

    # -- commands ---------------------------------------------------------------------------------

    @CLIReadCommand("ceph status")
    @Responder()
    def show(self) -> dict[str, Any]:
        """Show the connection to the Ceph cluster and how current its maps are."""
        return {
            "reachable": not self._trouble and bool(self._fsid),
            "reason": self._trouble,
            "fsid": self._fsid,
            "epochs": {group: epoch for group, epoch in self._epochs.items() if group != maps.MON},
            "documents": sorted(self._published),
        }
