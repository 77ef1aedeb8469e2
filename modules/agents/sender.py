"""Sends steps to the agents, one message for a host at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from .steps import Action, Step

HOSTS_MAX: Final = 64
"""Messages under way at a time: the manager has room for commands of other modules as well."""
ORDERS_MAX: Final = 100
BYTES_MAX: Final = 1 << 20
"""Orders in one message, and their size, unless it is a single one."""
REPEAT_S: Final = 10.0
"""A step that is still due so long after its order was answered is ordered again."""
RETRY_S: Final = 2.0
"""Likewise after an order that did not arrive."""


@dataclass(slots=True)
class _Sent:
    key: str
    again_s: float = 0.0
    under_way: bool = True


class Answers:
    """What ``send`` needs to know of the module."""

    def __init__(
        self,
        send: Callable[[str, str, Callable[[int, str, str], None]], None],
        done: Callable[[str, list[Step], int, str, str], None],
    ) -> None:
        """Send with ``send(host, input, complete)``; call ``done`` with what came back."""
        self.send = send
        self.done = done


class Sender:
    """Sends each step once, and again under the same key if it did not arrive."""

    def __init__(self, term: int, answers: Answers) -> None:
        """Send in ``term``."""
        self._term = term
        self._answers = answers
        self._lock = threading.Lock()
        self._number = 0
        self._sent: dict[Step, _Sent] = {}
        self._busy: set[str] = set()

    @property
    def orders(self) -> int:
        """How many orders were made in this term; repetitions are not counted."""
        return self._number

    def send(
        self, steps: Iterable[Step], config: Callable[[Step], dict[str, Any] | None], now_s: float
    ) -> None:
        """Send those of ``steps``, which are all that are due, that are not under way.

        ``config`` returns what a step deploys, None if it is not known any more.
        """
        by_host: dict[str, list[Step]] = {}
        with self._lock:
            due = list(steps)
            for gone in self._sent.keys() - set(due):
                if not self._sent[gone].under_way:
                    del self._sent[gone]
            for step in due:
                if step.host not in self._busy and self._is_due(step, now_s):
                    by_host.setdefault(step.host, []).append(step)
        for host, batch in by_host.items():
            with self._lock:
                if len(self._busy) >= HOSTS_MAX:
                    return  # the others wait for an answer, which wakes the module
            self._send_to(host, batch[:ORDERS_MAX], config, now_s)

    def _is_due(self, step: Step, now_s: float) -> bool:
        sent = self._sent.get(step)
        return sent is None or (not sent.under_way and now_s >= sent.again_s)

    def _send_to(
        self,
        host: str,
        steps: list[Step],
        config: Callable[[Step], dict[str, Any] | None],
        now_s: float,
    ) -> None:
        orders: list[tuple[Step, dict[str, Any]]] = []
        size = 0
        for step in steps:
            order: dict[str, Any] = {"action": step.action.value, "daemon": step.daemon}
            if step.action is Action.DEPLOY:
                deployed = config(step)
                if deployed is None:
                    continue
                order |= {"revision": step.revision, "config": deployed}
            size += len(json.dumps(order))
            if orders and size > BYTES_MAX:
                break  # the rest follows the answer
            orders.append((step, order))
        if not orders:
            return
        with self._lock:
            self._busy.add(host)
            for step, order in orders:
                order["key"] = self._key(step)
        text = json.dumps({"orders": [order for _, order in orders]})
        sent = [step for step, _ in orders]
        try:
            self._answers.send(host, text, partial(self._answers.done, host, sent))
        except Exception:
            self.settle(host, sent, now_s, arrived=False)
            raise

    def _key(self, step: Step) -> str:
        sent = self._sent.get(step)
        if sent is None:
            self._number += 1
            sent = self._sent[step] = _Sent(f"{self._term}/{self._number}")
        sent.under_way = True
        return sent.key

    def settle(
        self, host: str, steps: list[Step], now_s: float, *, arrived: bool
    ) -> dict[str, Step]:
        """Note that ``steps`` were answered, or did not arrive; return them by their keys."""
        with self._lock:
            self._busy.discard(host)
            found = {}
            for step in steps:
                if (sent := self._sent.get(step)) is not None:
                    sent.under_way = False
                    sent.again_s = now_s + (REPEAT_S if arrived else RETRY_S)
                    found[sent.key] = step
            return found
