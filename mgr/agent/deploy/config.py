"""What one daemon is to run, as an order says it: checked before anything is done."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from mgr.agent.deploy.settings import DeploySettings, Kind
from mgr.deployment import Probe, Resources
from mgr.errors import InvalidArgumentError

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$"
FILES_BYTES_MAX: Final = 1 << 20
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Name = Annotated[str, Meta(pattern=NAME)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one daemon runs.

    Attributes:
        service: The service that it belongs to.
        command: Program and arguments; of a container, those that replace the image's.
        environment: Variables by name.
        secrets: Further variables, whose values are secrets.
        files: Contents by path, relative to the daemon's folder.
        ports: Ports that it listens on; a container's are published.
        probe: How to find out that it is ready; None: it is once it has run for ``settle_s``.
        start_s: It has failed if it is not ready within so many seconds.
        stop_s: It is killed so many seconds after it was asked to stop.

    """

    service: Name
    kind: Kind
    command: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    image: Annotated[str, Meta(max_length=1000)] = ""
    environment: dict[str, str] = {}
    secrets: dict[str, str] = {}
    files: dict[str, str] = {}
    ports: Annotated[tuple[Port, ...], Meta(max_length=100)] = ()
    resources: Resources = Resources()
    probe: Probe | None = None
    start_s: Seconds = 30.0
    settle_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    stop_s: Seconds = 10.0

    def check(self, allowed: DeploySettings) -> None:
        """Check it against what the host allows.

        Raises:
            InvalidArgumentError: It cannot be run by anybody.
            NotPermittedError: This host does not allow it.

        """
        allowed.check_kind(self.kind)
        if self.kind == "container":
            if not self.image:
                raise InvalidArgumentError(f"{self.service}: a container needs an image")
            allowed.check_image(self.image)
        else:
            if not self.command:
                raise InvalidArgumentError(f"{self.service}: a {self.kind} needs a command")
            allowed.check_program(self.command[0])
        if self.probe is not None and self.probe.command:
            allowed.check_program(self.probe.command[0])
        for name in (*self.environment, *self.secrets):
            if not _VARIABLE.fullmatch(name):
                raise InvalidArgumentError(f"{self.service}: {name!r} is no name of a variable")
            allowed.check_variable(name)
        for port in self.ports:
            allowed.check_port(port)
        self._check_texts()

    def _check_texts(self) -> None:
        for path in self.files:
            parts = path.split("/")
            if not path.isprintable() or path.startswith("/") or {"", ".", ".."} & set(parts):
                raise InvalidArgumentError(
                    f"{self.service}: {path!r} is no path inside the daemon's folder"
                )
        if sum(len(text) for text in self.files.values()) > FILES_BYTES_MAX:
            raise InvalidArgumentError(
                f"{self.service}: files have more than {FILES_BYTES_MAX} characters"
            )
        probing = () if self.probe is None else self.probe.command
        words = (*self.command, *probing, *self.environment.values(), *self.secrets.values())
        if any("\0" in word for word in words):
            raise InvalidArgumentError(f"{self.service}: a NUL character")


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order: what to do with one daemon.

    Attributes:
        key: The same in every repetition of this order, and in no other.
        revision: What the daemon then reports itself to be; for ``deploy``.

    """

    key: Annotated[str, Meta(min_length=1, max_length=500)]
    action: Literal["deploy", "stop", "remove"]
    daemon: Name
    revision: Annotated[str, Meta(max_length=100)] = ""
    config: DaemonConfig | None = None

    def __post_init__(self) -> None:
        """Refuse an order that says too little, or a name that leads out of the folder."""
        if self.action == "deploy" and (self.config is None or not self.revision):
            raise ValueError("deploy needs a revision and a config")
        if ".." in self.daemon:
            raise ValueError("a daemon's name has no two dots in a row")


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of the command ``orders apply``."""

    orders: Annotated[tuple[Order, ...], Meta(max_length=1000)]


def parse_orders(text: str) -> tuple[Order, ...]:
    """Return the orders in ``text``.

    Raises:
        InvalidArgumentError: They are malformed; the message names the place, not the values.

    """
    try:
        return msgspec.json.decode(text, type=Orders).orders
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"orders: {error}") from None
