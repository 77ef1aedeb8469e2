"""What the host's owner lets the managers deploy here: the table ``[deploy]`` of the settings."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from mgr.errors import InvalidSettingError, NotPermittedError

Kind = Literal["process", "systemd", "container"]
FOLDER: Final = "/var/lib/mgr-agent/deploy"
LOADER: Final = ("LD_", "DYLD_")
"""Variables of the loader would let an allowed program run any code."""


class DeploySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be deployed to this host. Nothing by default.

    Attributes:
        kinds: Which kinds of daemons; empty: none, and every order is refused.
        commands: Programs that processes may run, by absolute path; ``*`` as in file names.
        images: Images that containers may run, likewise.
        environment: Names of variables that daemons may get; those of the loader never.
        ports: Ports that daemons may publish or be told to listen on: first and last.
        daemons_max: How many daemons at most.
        folder: Where each daemon has a folder of its own, and the agent keeps its state.
        engine: The program that runs containers; empty: podman or docker, whichever is there.

    """

    kinds: tuple[Kind, ...] = ()
    commands: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    environment: tuple[str, ...] = ("*",)
    ports: tuple[int, int] = (1024, 65535)
    daemons_max: Annotated[int, Meta(ge=1, le=200)] = 100
    folder: str = FOLDER
    engine: str = ""

    def __post_init__(self) -> None:
        """Refuse kinds of which nothing may run, and programs that are no paths."""
        if {"process", "systemd"} & set(self.kinds) and not self.commands:
            raise InvalidSettingError("deploy: kinds has processes, and commands is empty")
        if "container" in self.kinds and not self.images:
            raise InvalidSettingError("deploy: kinds has container, and images is empty")
        for program in self.commands:
            if not program.startswith("/"):
                raise InvalidSettingError(f"deploy: commands: {program!r} is no absolute path")
        if not self.folder.startswith("/"):
            raise InvalidSettingError(f"deploy: folder: {self.folder!r} is no absolute path")

    def check_kind(self, kind: str) -> None:
        """Raise ``NotPermittedError`` unless daemons of ``kind`` may run here."""
        if kind not in self.kinds:
            allowed = ", ".join(self.kinds) or "nothing"
            raise NotPermittedError(
                f"this host allows {allowed}, not {kind}: see [deploy] in the settings of mgr-agent"
            )

    def check_program(self, program: str) -> None:
        """Raise ``NotPermittedError`` unless processes may run ``program``."""
        # Normal form only: /opt/app/../../bin/sh also begins with /opt/app/.
        if ".." in program.split("/") or not _fits(program, self.commands):
            raise NotPermittedError(
                f"this host does not allow {program!r}: list it in commands of [deploy]"
            )

    def check_image(self, image: str) -> None:
        """Raise ``NotPermittedError`` unless containers may run ``image``."""
        if image.startswith("-") or not _fits(image, self.images):
            raise NotPermittedError(
                f"this host does not allow the image {image!r}: list it in images of [deploy]"
            )

    def check_variable(self, name: str) -> None:
        """Raise ``NotPermittedError`` unless daemons may get the variable ``name``."""
        if name.startswith(LOADER) or not _fits(name, self.environment):
            raise NotPermittedError(
                f"this host does not allow the variable {name!r}: see environment of [deploy]"
            )

    def check_port(self, port: int) -> None:
        """Raise ``NotPermittedError`` unless daemons may have ``port``."""
        first, last = self.ports
        if not first <= port <= last:
            raise NotPermittedError(f"this host allows ports {first} to {last}, not {port}")


def _fits(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)
