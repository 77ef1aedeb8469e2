"""Uses the module interface of a Ceph cluster as authors do, one command for each way."""

import collections
import errno
import json
import threading

from mgr_module import CLICommand, CommandResult, HandleCommandResult, MgrModule, NotifyType


class Module(MgrModule):
    """Holds handles of RADOS and CephFS from their first use on."""

    EFFECTS = "external"
    NOTIFY_TYPES = (
        *(NotifyType.command, NotifyType.osd_map, NotifyType.fs_map, NotifyType.mon_map),
        NotifyType.pg_summary,
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._noted = collections.Counter()
        self._fs = None
        self._lock = threading.Lock()

    def shutdown(self):
        with self._lock:
            files, self._fs = self._fs, None
        if files is not None:
            files.shutdown()
        super().shutdown()

    def notify(self, notify_type, notify_id):
        self._noted[f"{getattr(notify_type, 'value', notify_type)} {notify_id}".strip()] += 1

    def _files(self):
        with self._lock:
            if self._fs is None:
                import cephfs

                found = cephfs.LibCephFS(rados_inst=self.rados)
                found.init()
                found.mount(filesystem_name=b"files")
                self._ceph_register_client(found.get_addrs())
                self._fs = found
            return self._fs

    @CLICommand("keeper put")
    def put(self, pool: str, name: str, text: str) -> HandleCommandResult:
        """Write an object."""
        with self.rados.open_ioctx(pool) as pool_io:
            pool_io.write_full(name, text.encode())
        return HandleCommandResult()

    @CLICommand("keeper fetch", perm="r")
    def fetch(self, pool: str, name: str) -> HandleCommandResult:
        """Read an object."""
        try:
            with self.rados.open_ioctx(pool) as pool_io:
                return HandleCommandResult(stdout=pool_io.read(name).decode())
        except Exception as error:  # noqa: BLE001 - what the tests are about
            number = getattr(error, "errno", 0) or errno.EIO
            return HandleCommandResult(-abs(number), "", f"{type(error).__name__}: {error}")

    @CLICommand("keeper file put")
    def file_put(self, path: str, text: str) -> HandleCommandResult:
        """Write a file."""
        fs = self._files()
        handle = fs.open(path, "w", 0o644)
        fs.write(handle, text.encode(), 0)
        fs.fsync(handle, 0)
        fs.close(handle)
        return HandleCommandResult()

    @CLICommand("keeper file fetch", perm="r")
    def file_fetch(self, path: str) -> HandleCommandResult:
        """Read a file."""
        fs = self._files()
        handle = fs.open(path, "r")
        text = fs.read(handle, 0, 1 << 16).decode()
        fs.close(handle)
        return HandleCommandResult(stdout=text)

    @CLICommand("keeper mon", perm="rw")
    def mon(self, command: str, wants: str = "") -> HandleCommandResult:
        """Have the monitors run a command, given as JSON; then print a document, if one is named.

        The document is read at once.
        """
        answer = self.mon_command(json.loads(command))
        if answer.retval or not wants:
            return answer
        return HandleCommandResult(stdout=json.dumps(self.get(wants)))

    @CLICommand("keeper check", perm="rw")
    def check(self, command: str) -> HandleCommandResult:
        """The same with ``check_mon_command``; its exception is the answer."""
        try:
            return self.check_mon_command(json.loads(command))
        except Exception as error:  # noqa: BLE001 - as above
            return HandleCommandResult(-1, "", f"{type(error).__name__}: {error}")

    @CLICommand("keeper send", perm="rw")
    def send(self, kind: str, name: str, command: str, tag: str) -> HandleCommandResult:
        """Send a command to any target, with a tag; a name of ``-`` is none."""
        result = CommandResult(tag)
        self.send_command(result, kind, "" if name == "-" else name, command, tag)
        return HandleCommandResult(*result.wait())

    @CLICommand("keeper get", perm="r")
    def show(self, name: str) -> HandleCommandResult:
        """Print a document."""
        return HandleCommandResult(stdout=json.dumps(self.get(name)))

    @CLICommand("keeper metadata", perm="r")
    def metadata(self, kind: str, name: str) -> HandleCommandResult:
        """Print what a daemon tells of itself."""
        return HandleCommandResult(stdout=json.dumps(self.get_metadata(kind, name)))

    @CLICommand("keeper noted", perm="r")
    def noted(self) -> HandleCommandResult:
        """Print how often the module was notified, by kind and id."""
        return HandleCommandResult(stdout=json.dumps(self._noted))
