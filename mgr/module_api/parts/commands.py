"""Lets a module run commands of the manager and of daemons, and programs on the host."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any, Final, Protocol

from mgr.clock import CLOCK
from mgr.module_api.declared import ActiveModuleBase
from mgr.module_api.result import CommandResult, HandleCommandResult, MonCommandFailed

KEYRING: Final = "/etc/ceph/keyring"
TOOL_TIMEOUT_S: Final = 10
"""Default timeout of a program that a module starts."""
PLACEMENT_GROUP: Final = re.compile(r"-?\d+\.[0-9a-fA-F]+")
KNOWN_TYPES: Final = ("mon", "osd", "pg", "mds")
"""Targets that are always accepted: ``mon`` for the manager's commands, and Ceph's own types, even
if no daemon of that type reports."""


class Completion(Protocol):
    """Receives the result of a command: a ``CommandResult``, or an object like it."""

    def complete(self, r: int, outb: str, outs: str) -> None:
        """Receive return value, data and status text."""
        ...


class CommandsMixin(ActiveModuleBase):
    """Gives a module methods to run commands (of the manager or a daemon) and host programs."""

    def send_command(  # noqa: PLR0913 - ceph-mgr's signature
        self,
        result: Completion,
        svc_type: str,
        svc_id: str,
        command: str,
        tag: str,
        inbuf: str | None = None,
        *,
        one_shot: bool = False,  # noqa: ARG002 - as above; commands share no connection here
    ) -> None:
        """Start a command, given as JSON with a ``prefix``, and return at once.

        ``result.complete(retval, data, status)`` is called on another thread; then every module
        that has ``command`` in its ``NOTIFY_TYPES`` is notified with ``tag``. With ``svc_type``
        ``mon``, the manager and its modules run the command; with any other type, the daemon does,
        as with ``mgrctl tell``. The result is ``ENXIO`` if the daemon is unknown and
        ``EHOSTUNREACH`` if it does not report.

        Raises:
            ValueError: The service type is unknown, or the id is invalid.

        """
        if svc_type == "osd" and not svc_id.isdecimal():
            raise ValueError(f'invalid osd_id: "{svc_id}"')
        if svc_type == "pg" and not PLACEMENT_GROUP.fullmatch(svc_id):
            raise ValueError(f'invalid pgid: "{svc_id}"')
        if svc_type not in KNOWN_TYPES and self._context.get(f"{svc_type}_metadata") is None:
            raise ValueError(f"unknown service type: {svc_type}")
        request, absent = json.loads(command), ""
        # One monitor of a real Ceph may be meant; the manager itself is none.
        if svc_type != "mon" or (svc_id and self._context.get_native_option("mgr_ceph_conf")):
            name = f"{svc_type}.{svc_id}"
            request["prefix"] = f"tell {name} {request.get('prefix', '')}"
            if not self._context.get_metadata(svc_type, svc_id):
                absent = f"{name} is not known here"
        self._context.send_command(request, inbuf, tag, absent=absent, complete=result.complete)

    def mon_command(
        self, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """Run one of the manager's own commands and wait for its result.

        Raises:
            KeyError: There is no ``prefix``.

        """
        prefix = cmd_dict["prefix"]
        began_at = CLOCK.now()
        result = HandleCommandResult(*self._context.mon_command(cmd_dict, inbuf))
        took_s = CLOCK.now() - began_at
        self.log.debug("mon_command: %r -> %d in %.3fs", prefix, result.retval, took_s)
        return result

    def check_mon_command(
        self, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """Run a command as ``mon_command`` does, and raise if it fails.

        Raises:
            MonCommandFailed: The command failed; the text contains its status text.

        """
        # A module, or its test, may have replaced mon_command by one that returns a plain tuple.
        result = HandleCommandResult(*self.mon_command(cmd_dict, inbuf))
        if result.retval:
            why = f"{result.stderr} retval: {result.retval}"
            raise MonCommandFailed(f"{cmd_dict['prefix']} failed: {why}")
        return result

    def osd_command(
        self, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> tuple[int, str, str]:
        """Run ``tell_command`` for the OSD whose number is in ``id``.

        Raises:
            KeyError: There is no ``id``.

        """
        return self.tell_command("osd", cmd_dict["id"], cmd_dict, inbuf)

    def tell_command(
        self,
        daemon_type: str,
        daemon_id: str,
        cmd_dict: Mapping[str, Any],
        inbuf: str | None = None,
        one_shot: bool = False,  # noqa: FBT001, FBT002 - ceph-mgr's signature
    ) -> tuple[int, str, str]:
        """Run a command as ``send_command`` does, and wait; return value, data and status text."""
        result = CommandResult()
        self.send_command(
            result,
            daemon_type,
            str(daemon_id),
            json.dumps(dict(cmd_dict)),
            "",
            inbuf,
            one_shot=one_shot,
        )
        return result.wait()

    def tool_exec(
        self, args: list[str], timeout: int = TOOL_TIMEOUT_S, stdin: bytes | None = None
    ) -> tuple[int, str, str]:
        """Run one of Ceph's programs as this manager; return exit status, stdout and stderr.

        The first word is removed from ``args``, as in ceph-mgr. The status is ``-ETIMEDOUT`` if it
        takes longer than ``timeout`` seconds.

        Raises:
            OSError: There is no such program.

        """
        program = args.pop(0)
        words = [program, "-k", self._keyring(), "-n", self._user(), *args]
        self.log.debug("exec: %s", " ".join(words))
        try:
            done = subprocess.run(  # noqa: S603 - chosen by the module, which could start it itself
                words,
                timeout=timeout,
                capture_output=True,
                input=stdin,
                check=False,
                env=self._program_environment(),
            )
        except subprocess.TimeoutExpired:
            late = f"Timed out after {timeout} s: {' '.join(words)}"
            self.log.exception("%s", late)
            return -errno.ETIMEDOUT, "", late
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def send_rgwadmin_command(
        self,
        args: list[str],
        stdout_as_json: bool = True,  # noqa: FBT001, FBT002 - ceph-mgr's signature
    ) -> tuple[int, Any, str]:
        """Run ``radosgw-admin``; return exit status, stdout (parsed as JSON on success), stderr.

        Raises:
            OSError: There is no such program.
            subprocess.TimeoutExpired: It took more than ``TOOL_TIMEOUT_S`` seconds.

        """
        done = subprocess.run(  # noqa: S603 - as above
            ["radosgw-admin", "-n", self._user(), *args],  # noqa: S607 - found where Ceph is installed
            capture_output=True,
            timeout=TOOL_TIMEOUT_S,
            check=False,
            env=self._program_environment(),
        )
        output, errors = done.stdout.decode(), done.stderr.decode()
        if not done.returncode and stdout_as_json:
            return done.returncode, json.loads(output), errors
        return done.returncode, output, errors

    def _user(self) -> str:
        name = self._context.get_native_option("mgr_ceph_name")
        return str(name or f"mgr.{self.get_mgr_id()}")

    def _keyring(self) -> str:
        configured = self._context.get_native_option("mgr_ceph_keyring")
        return str(configured or os.environ.get("CEPH_KEYRING", KEYRING))

    def _program_environment(self) -> dict[str, str]:
        """Return the environment of Ceph's programs, which find the configuration by it."""
        configured = str(self._context.get_native_option("mgr_ceph_conf") or "")
        return {**os.environ, "CEPH_CONF": configured} if configured else dict(os.environ)
