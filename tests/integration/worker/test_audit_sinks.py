"""A full disk, and a syslog that reads nothing: the leadership goes to whoever can keep records."""

from __future__ import annotations

import contextlib
import socket
import subprocess

import pytest

from mgr.election.records import Presence, encode
from mgr.errors import AuditUnavailableError, OutcomeUnknownError
from mgr.link import AuditTrouble, Resign
from mgr.store.api import Put

DISK_BYTES = 64 << 10
CHANGE = ("config", "set", "mgr", "mgr_stats_period")


class Disk:
    """A small file system of its own; the audit is in a file there."""

    why = "No space left on device"

    def __init__(self, folder, ends):
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a small file system here")
        ends.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
        self.settings = {"audit_file": str(folder / "audit.log"), "audit_required": ("file",)}

    def injure(self):
        """Fill it."""
        with contextlib.suppress(OSError), (self.folder / "full").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)


class Syslog:
    """A socket with the kernel's short queue of messages."""

    why = "a write takes longer than"

    def __init__(self, folder, ends):
        self.socket = ends.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.socket.bind(path := str(folder / "log"))
        self.settings = {"audit_syslog": path, "audit_required": ("syslog",)}

    def injure(self):
        """Read nothing: after some messages, who sends another one waits."""
        while self.takes_more():
            pass

    def takes_more(self):
        """Send until the kernel refuses; whether it took anything. A sender has a limit as well."""
        sent = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.connect(self.socket.getsockname())
            with contextlib.suppress(BlockingIOError):
                while sender.send(b"x"):
                    sent += 1
        return sent


@pytest.fixture(params=[Disk, Syslog])
def sink(request, tmp_path_factory):
    with contextlib.ExitStack() as ends:
        yield request.param(tmp_path_factory.mktemp("s"), ends)


def standby(name, *, audit_trouble=""):
    """The presence of a warm standby."""
    return Presence(
        name=name,
        incarnation=f"{name}-1",
        host="h",
        boot_id="b",
        pid_namespace="n",
        pid=1,
        pid_started=1,
        grpc_address="127.0.0.1:1",
        http_address="127.0.0.1:1",
        version="1",
        warm=True,
        audit_trouble=audit_trouble,
    )


async def change_often(worker):
    """The last page of a file on a full disk has room for some records more."""
    for value in range(10, 100):
        assert (await worker.ask(*CHANGE, str(value), timeout_s=40)).retval == 0


@pytest.mark.timeout(120)
async def test_leadership_goes_to_a_standby_that_can_keep_the_audit(workers, sink):
    """Nothing is changed meanwhile, reads go on, and a standby in the same state is passed over."""
    worker = await workers(audit_timeout_s=5.0, **sink.settings)
    await worker.ready()
    await worker.lead()
    assert (await worker.ask(*CHANGE, "7", timeout_s=40)).retval == 0
    for name, trouble in (("b", "full as well"), ("c", "")):
        record = encode(standby(name, audit_trouble=trouble))
        await worker.store.commit([Put(worker.keys.manager(name), record)])

    sink.injure()
    with pytest.raises((OutcomeUnknownError, AuditUnavailableError), match=sink.why):
        await change_often(worker)
    reported = await worker.receive(AuditTrouble)
    resign = await worker.receive(Resign)
    with pytest.raises(AuditUnavailableError, match="nothing can be changed now"):
        await worker.ask(*CHANGE, "9", timeout_s=40)

    assert sink.why in reported.why
    assert resign.successor == "c"
    assert "MGR_AUDIT_SINK" in (await worker.ask("health", "detail", timeout_s=40)).stdout
