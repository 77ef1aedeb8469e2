"""What a program says to the fleet and answers: the part of a daemon that needs no connection."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack

from mgr.client.daemon.counters import Average, Counter, Counters, Gauge, Histogram
from mgr.client.daemon.handlers import Handlers
from mgr.client.daemon.reported_state import Device, ReportedState, StatusTexts
from mgr.client.daemon.serial_thread import SerialThread
from mgr.client.daemon.validation import check_metadata, check_name, check_text

F = TypeVar("F", bound=Callable[..., Any])


class CounterOptions(TypedDict, total=False):
    """What may be said of any counter.

    Attributes:
        description: One line for people.
        unit: ``bytes``, ``seconds`` or nothing.
        priority: 10 critical, 8 interesting (the default), 5 useful, 2 uninteresting, 0 for
            debugging. The manager says below which it wants none.
        nick: A few letters for the head of a column.
        group: What its path begins with; the daemon's type unless said.

    """

    description: str
    unit: str
    priority: int
    nick: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonIdentity:
    """Who joins."""

    type: str
    id: str
    host: str
    version: str
    metadata: Mapping[str, str]
    incarnation: str

    @property
    def name(self) -> str:
        """``type.id``."""
        return f"{self.type}.{self.id}"


class Program:
    """Counters, status and commands of one program. Every method may be called from any thread."""

    def __init__(
        self,
        type: str,  # noqa: A002 - its name on the wire
        id: str,  # noqa: A002 - as above
        *,
        host: str,
        version: str,
        metadata: Mapping[str, object] | None,
        on_replaced: Callable[[], None] | None,
    ) -> None:
        """Be ``<type>.<id>``.

        Raises:
            InvalidArgumentError: No daemon may be called so; host, version or metadata are too
                long, or hold a control character.

        """
        check_name(type, id)
        check_text("host", host)
        check_text("version", version)
        texts = {str(name): str(value) for name, value in (metadata or {}).items()}
        check_metadata(texts)
        self.identity = DaemonIdentity(
            type=type,
            id=id,
            host=host or socket.gethostname(),
            version=version,
            metadata=texts,
            incarnation=uuid.uuid4().hex,
        )
        self.counters = Counters(type)
        self.reported_state = ReportedState()
        self.command_thread = SerialThread(f"{type}.{id}-commands")
        self.gauge_thread = SerialThread(f"{type}.{id}-gauges", queue_max=1)
        self.handlers = Handlers(self.command_thread)
        self.on_replaced = on_replaced

    @property
    def name(self) -> str:
        """``type.id``, as ``tell`` takes it."""
        return self.identity.name

    # -- counters ---------------------------------------------------------------------------

    def counter(
        self, name: str, labels: Mapping[str, str] | None = None, **options: Unpack[CounterOptions]
    ) -> Counter:
        """What only grows. Asked for again with the same labels, the same is returned."""
        return self.counters.get(Counter, name, labels, **options)

    def gauge(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        function: Callable[[], float] | None = None,
        **options: Unpack[CounterOptions],
    ) -> Gauge:
        """What goes up and down; with ``function``, what that returns when a report is made.

        Functions are called on a thread of their own. A report waits a second for them at most.
        """
        gauge = self.counters.get(Gauge, name, labels, **options)
        if function is not None:
            gauge.function = function
        return gauge

    def average(
        self, name: str, labels: Mapping[str, str] | None = None, **options: Unpack[CounterOptions]
    ) -> Average:
        """The average of what is observed, and how often."""
        return self.counters.get(Average, name, labels, **options)

    def histogram(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        bounds: Iterable[float],
        **options: Unpack[CounterOptions],
    ) -> Histogram:
        """How many observations fell between which ``bounds``."""
        return self.counters.get(
            Histogram, name, labels, bounds=tuple(map(float, bounds)), **options
        )

    # -- how it stands ----------------------------------------------------------------------

    @property
    def status(self) -> StatusTexts:
        """A text for each thing worth knowing: ``daemon.status["state"] = "ok"``."""
        return self.reported_state.status

    @property
    def task_status(self) -> StatusTexts:
        """The same for what it is busy with."""
        return self.reported_state.task_status

    def health_metric(self, type: str, value: int, summary: str = "") -> None:  # noqa: A002 - its name on the wire
        """Raise the health check ``type`` while ``value``, summed over the fleet, is above 0.

        Raises:
            InvalidArgumentError: Type, value or summary cannot be, as in ``set_metric``;
                what was said before stays.

        """
        self.reported_state.set_metric(type, value, summary)

    def devices(self, devices: Iterable[Device]) -> None:
        """Say which devices it uses, instead of those it said before.

        Raises:
            InvalidArgumentError: More than 512, one without an id, a text above 255 characters
                or with a control character, a wear level beyond 0 to 1. What was said stays.

        """
        self.reported_state.devices = tuple(devices)

    # -- commands ---------------------------------------------------------------------------

    def command(self, descriptor: str, help: str = "", *, perm: str = "rw") -> Callable[[F], F]:  # noqa: A002 - as in ceph-mgr's
        """Make the decorated function answer ``tell <type>.<id> <descriptor's words>``.

        ``cache drop name=what,type=CephString`` are two words and an argument, in the language of
        the manager's own commands. The function is called with the arguments by name, and with
        ``inbuf`` if it has such a parameter; it returns ``(retval, stdout, stderr)``, a text, or
        nothing. Plain functions run one after another on a thread of their own, coroutines on the
        loop. What it raises is answered as ``-EINVAL`` with the traceback.

        Raises:
            InvalidArgumentError: The descriptor cannot be read, or there are 256 commands.
            TypeError: The function does not take these arguments.

        """
        return self.handlers.add(descriptor, help, perm=perm)
