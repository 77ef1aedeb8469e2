"""Settings of ``mgr-agent``: one frozen struct, from a TOML file, ``MGR_HOSTS`` and flags.

A later source wins. A remote command can do to the host only what is allowed here.
"""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from mgr.agent.deploy.settings import DeploySettings
from mgr.client.peers import addresses_in
from mgr.errors import InvalidSettingError
from mgr.tls import Tls

Seconds = Annotated[float, Meta(ge=1, le=86_400)]
Action = Literal["status", "restart", "log"]

HOST: Final = "host"
"""The type of the agent's own daemon."""
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\-]{1,128}")


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A systemd unit, or a program by its name, that is reported as a daemon of its own.

    Attributes:
        unit: The unit's name: ``nginx.service``.
        process: Or the name of a program, as ``ps`` shows it.
        type: Of the daemon; ``unit`` or ``process`` by default.
        id: Of the daemon; by default the name and this host's id, joined by ``@``.
        allow: Commands that are allowed for a unit.

    """

    unit: str = ""
    process: str = ""
    type: str = ""
    id: str = ""
    allow: tuple[Action, ...] = ("status",)

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if bool(self.unit) == bool(self.process):
            raise InvalidSettingError("watch: each entry names either a unit or a process")
        # It becomes an argument of systemctl, where it must be neither an option nor a pattern.
        if self.unit and (not _UNIT.fullmatch(self.unit) or self.unit.startswith("-")):
            raise InvalidSettingError(f"watch: {self.unit!r} is not the name of a unit")
        if self.process and self.allow != ("status",):
            raise InvalidSettingError(f"watch: process {self.process!r}: allow is for units only")

    def daemon(self, host: str) -> tuple[str, str]:
        """Return type and id of its daemon on the host with the id ``host``."""
        kind = self.type or ("unit" if self.unit else "process")
        return kind, self.id or f"{self.unit or self.process}@{host}"


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one agent.

    Attributes:
        hosts: Some managers, ``host:port``.
        tls_ca: File with the CA that signed the managers' certificates; turns TLS on.
        tls_cert: File with the certificate shown to them, where they ask for one.
        tls_key: File with its private key.
        token_file: File with a token to show to them, instead of a certificate.
        tls_dir: Folder made by ``mgr-agent join``, instead of the three; the certificate in it
            renews itself.
        id: The host's name in the fleet: it becomes ``host.<id>``.
        read_every_s: Seconds between two readings of the host and of watched units.
        top: Whether the command ``top`` exists: it shows the names of all processes.
        smart: Whether the wear level of disks is read, if smartctl is installed.
        smart_every_s: Seconds between two readings of wear levels.
        crash_dir: Folder in which programs leave crash reports; empty: none.
        watch: Units and programs that are reported as daemons of their own.
        deploy: What the managers may deploy to this host: nothing by default.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``text`` for people, ``json`` for collectors.

    """

    hosts: tuple[str, ...] = ("127.0.0.1:7400",)
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    token_file: str = ""
    tls_dir: str = ""
    id: str = ""
    read_every_s: Seconds = 5.0
    top: bool = True
    smart: bool = True
    smart_every_s: Seconds = 3600.0
    crash_dir: str = ""
    watch: tuple[Watch, ...] = ()
    deploy: DeploySettings = DeploySettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        """Refuse invalid addresses, certificates without a CA, and two daemons of one name."""
        addresses_in(self.hosts)
        if (self.tls_cert or self.tls_key or self.token_file) and not self.tls_ca:
            raise InvalidSettingError(
                "tls_cert, tls_key and token_file need tls_ca: it turns TLS on"
            )
        if self.tls_dir and self.tls_ca:
            raise InvalidSettingError("tls_dir stands for tls_ca: set one of them only")
        seen = set()
        for watch in self.watch:
            # Two daemons of one name would replace each other for as long as the agent runs.
            name = ".".join(watch.daemon(self.id))
            if name == f"{HOST}.{self.id}":
                raise InvalidSettingError(f"watch: {name} is the host itself: give it another id")
            if name in seen:
                raise InvalidSettingError(f"watch: two entries are {name}: give one another id")
            seen.add(name)

    def tls(self) -> Tls | None:
        """Return the certificates for the managers; None means plaintext.

        Raises:
            InvalidSettingError: A file cannot be read.

        """
        if self.tls_dir:
            return Tls.from_folder(self.tls_dir)
        if not self.tls_ca:
            return None
        found = Tls.read(self.tls_ca, self.tls_cert, self.tls_key, purpose="TLS to the managers")
        return found.with_token(self.token_file) if self.token_file else found

    def unit(self, name: str, action: Action) -> Watch | None:
        """Return the entry that allows ``action`` on the unit ``name``; None if there is none."""
        return next((w for w in self.watch if w.unit == name and action in w.allow), None)


def load(file: str | None, flags: Mapping[str, Any]) -> AgentSettings:
    """Merge defaults, ``file`` and ``flags``; ``flags`` holds only options that were given.

    Raises:
        InvalidSettingError: A value is invalid or a name is unknown; the message names it.

    """
    merged: dict[str, Any] = {"id": socket.gethostname().split(".")[0]}
    merged |= _from_file(file) if file else {}
    merged |= dict(flags)
    if isinstance(merged.get("hosts"), str):
        merged["hosts"] = [part.strip() for part in merged["hosts"].split(",") if part.strip()]
    try:
        return msgspec.convert(merged, AgentSettings)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidSettingError):
            raise error.__cause__ from None
        what, _, path = str(error).partition(" - at `$.")
        raise InvalidSettingError(f"{path.rstrip('`') or 'settings'}: {what}") from None


def _from_file(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettingError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"{file}: {error}") from None
