"""A cluster whose etcd is set back to a backup, as operators do it, behind cables to be cut."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import grpc

from mgr.client.messages import Status
from mgr.errors import MgrError
from mgr.store import etcd3_stubs
from tests.support.cluster import Cluster
from tests.support.etcd import Etcd, EtcdCluster
from tests.support.faults.proxy import Mode
from tests.support.faults.wires import Wires

COMPACT = etcd3_stubs.method("KV", "Compact")
PUT = etcd3_stubs.method("KV", "Put")
RANGE = etcd3_stubs.method("KV", "Range")
RAISED_BY = 500
"""How far above every revision that there was; ``etcdutl --bump-revision`` takes far more."""


class Restorable(contextlib.ExitStack):
    """Three etcds with backups, three managers. Use as a context manager.

    With ``foreign`` the managers name a fourth address: an etcd of another cluster.
    """

    def __init__(self, directory: Path, *, foreign: bool = False) -> None:
        """Start everything."""
        super().__init__()
        self._data, self._backup = directory / "etcd", directory / "backup"
        try:
            flags = {"heartbeat-interval": "50", "election-timeout": "500"}
            self.etcd = self.enter_context(EtcdCluster(self._data, flags=flags))
            addresses = list(self.etcd.endpoints)
            if foreign:
                self.foreign = self.enter_context(Etcd(directory / "foreign", name="foreign"))
                addresses += self.foreign.endpoints
            names = ("a", "b", "c")
            self.cables = self.enter_context(Wires(dict.fromkeys(names, addresses)))
            own = {name: {"etcd": ",".join(self.cables.addresses(name))} for name in names}
            self.cluster = self.enter_context(
                Cluster(directory, (), names=names, own=own, profile="fast")
            )
            self.cluster.settled(40)
        except BaseException:
            self.close()
            raise

    def back_up(self) -> None:
        """Copy the data of every etcd, all of them at one moment."""
        self._stop()
        shutil.copytree(self._data, self._backup)
        self._start()
        self.cluster.settled(40)

    def restore(self, *, above: int = 0) -> None:
        """Let every etcd go on from the backup; no manager is connected meanwhile.

        With ``above``, a revision, as ``etcdutl snapshot restore --bump-revision
        --mark-compacted`` does it: the next revision is larger, and whoever wants to know what
        came before it has to read everything again.
        """
        for name in self.cluster.managers:
            self.cables.set(name, Mode.REFUSE)
            self.cables.reset(name)
        self._stop()
        shutil.rmtree(self._data)
        shutil.copytree(self._backup, self._data)
        self._start()
        if above:
            with grpc.insecure_channel(self.etcd.endpoints[0]) as channel:
                while (revision := self.revision(channel)) < above:
                    for _ in range(above - revision):
                        ask(channel, PUT, key=b"/raised", value=b"")
                ask(channel, COMPACT, revision=revision, physical=True)
        self.cables.mend()

    def revision(self, channel: grpc.Channel | None = None) -> int:
        """The newest revision of etcd."""
        with contextlib.ExitStack() as opened:
            if channel is None:
                channel = opened.enter_context(grpc.insecure_channel(self.etcd.endpoints[0]))
            return int(ask(channel, RANGE, key=b"/raised").header.revision)

    def keys_of_managers(self, etcd: Etcd) -> list[str]:
        """What managers wrote there."""
        with grpc.insecure_channel(etcd.address) as channel:
            found = ask(channel, RANGE, key=b"/mgr/", range_end=b"/mgr0", keys_only=True)
        return [pair.key.decode() for pair in found.kvs]

    def term(self) -> int:
        """The term in which a command is answered now; 0 if none is."""
        try:
            return int(self.cluster.run("mgr", "stat", timeout_s=2).term)
        except MgrError:
            return 0

    def statuses(self) -> dict[str, Status | str]:
        """What each manager says of itself."""
        with self.cluster.client() as client:
            return client.statuses()

    def _stop(self) -> None:
        for member in self.etcd.members:
            member.kill()

    def _start(self) -> None:
        for member in self.etcd.members:
            member.start()
        for member in self.etcd.members:
            member.wait_ready()


def ask(channel: grpc.Channel, method: Any, **fields: Any) -> Any:
    """One request to one etcd."""
    call = channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    return call(method.request(**fields), timeout=10)
