"""Counters, status and commands of a program: the part of a daemon that needs no connection."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack

from mgr.client.daemon.collector import Collector
from mgr.client.daemon.counters import Average, Counter, Counters, Gauge, Histogram
from mgr.client.daemon.handlers import Handlers
from mgr.client.daemon.reported_state import Device, ReportedState, StatusTexts
from mgr.client.daemon.serial_thread import SerialThread
from mgr.client.daemon.validation import check_metadata, check_name, check_text

F = TypeVar("F", bound=Callable[..., Any])


class CounterOptions(TypedDict, total=False):
    """Options of any counter.

    Attributes:
        description: One line for people.
        unit: ``bytes``, ``seconds`` or empty.
        priority: 10 critical, 8 interesting (the default), 5 useful, 2 uninteresting, 0 for
            debugging. The manager configures the lowest priority that is reported.
        nick: A few letters for the head of a column.
        group: First part of its path; the daemon's type by default.

    """

    description: str
    unit: str
    priority: int
    nick: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonIdentity:
    """The identity with which a daemon joins."""

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
        """Make the program ``<type>.<id>``.

        Raises:
            InvalidArgumentError: Type or id is invalid; host, version or metadata are too long,
                or hold a control character.

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
        self._collectors: tuple[Collector, ...] = ()
        self.on_replaced = on_replaced

    @property
    def name(self) -> str:
        """``type.id``, as in the command ``tell``."""
        return self.identity.name

    # -- counters ---------------------------------------------------------------------------

    def counter(
        self, name: str, labels: Mapping[str, str] | None = None, **options: Unpack[CounterOptions]
    ) -> Counter:
        """Return the counter of that name and labels, made at the first call; it only grows."""
        return self.counters.get(Counter, name, labels, **options)

    def gauge(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        function: Callable[[], float] | None = None,
        **options: Unpack[CounterOptions],
    ) -> Gauge:
        """Return the gauge of that name and labels, made at the first call; it goes up and down.

        With ``function`` its value is what ``function`` returns for each report. Functions are
        called on a thread of their own. A report waits one second for them at most.
        """
        gauge = self.counters.get(Gauge, name, labels, **options)
        if function is not None:
            gauge.function = function
        return gauge

    def average(
        self, name: str, labels: Mapping[str, str] | None = None, **options: Unpack[CounterOptions]
    ) -> Average:
        """Return the average of that name and labels: the sum and the number of observations."""
        return self.counters.get(Average, name, labels, **options)

    def histogram(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        bounds: Iterable[float],
        **options: Unpack[CounterOptions],
    ) -> Histogram:
        """Return the histogram of that name and labels: observations counted by ``bounds``."""
        return self.counters.get(
            Histogram, name, labels, bounds=tuple(map(float, bounds)), **options
        )

    def before_report(self, collect: Callable[[], object]) -> None:
        """Call ``collect`` before each report: it sets counters to what is counted elsewhere.

        It is called on the thread of the functions of gauges, while a manager takes reports. A
        report waits one second for all of them at most. What it raises is logged, once until it
        works again.
        """
        self._collectors = (*self._collectors, Collector(collect))

    @property
    def is_sampled(self) -> bool:
        """Whether ``sample`` has something to call."""
        return bool(self._collectors or self.counters.function_gauges())

    def sample(self) -> None:
        """Call all collectors, then the functions of gauges. Never raises, and may take long."""
        for collector in self._collectors:
            collector.run()
        for gauge in self.counters.function_gauges():
            gauge.sample()

    # -- state ------------------------------------------------------------------------------

    @property
    def status(self) -> StatusTexts:
        """Status texts by name: ``daemon.status["state"] = "ok"``."""
        return self.reported_state.status

    @property
    def task_status(self) -> StatusTexts:
        """Status texts of running tasks, by the task's name."""
        return self.reported_state.task_status

    def health_metric(self, type: str, value: int, summary: str = "") -> None:  # noqa: A002 - its name on the wire
        """Raise the health check ``type`` while ``value``, summed over the fleet, is above 0.

        Raises:
            InvalidArgumentError: Type, value or summary is invalid, as in ``set_metric``; the
                metric is not changed.

        """
        self.reported_state.set_metric(type, value, summary)

    def devices(self, devices: Iterable[Device]) -> None:
        """Replace the list of devices that the program uses.

        Raises:
            InvalidArgumentError: More than 512, one without an id, a text above 255 characters
                or with a control character, a wear level outside 0 to 1. The list is not changed.

        """
        self.reported_state.devices = tuple(devices)

    # -- commands ---------------------------------------------------------------------------

    def command(self, descriptor: str, help: str = "", *, perm: str = "rw") -> Callable[[F], F]:  # noqa: A002 - as in ceph-mgr's
        """Make the decorated function answer ``tell <type>.<id> <descriptor's words>``.

        ``cache drop name=what,type=CephString`` is two words and an argument, in the language of
        the manager's own commands. The function is called with the arguments by name, and with
        ``inbuf`` if it has such a parameter; it returns ``(retval, stdout, stderr)``, a string, or
        None. Plain functions run one after another on a thread of their own, coroutine functions
        on the loop. An exception is answered as ``-EINVAL`` with the traceback.

        Raises:
            InvalidArgumentError: The descriptor is invalid, or there are 256 commands already.
            TypeError: The function does not take these arguments.

        """
        return self.handlers.add(descriptor, help, perm=perm)
