"""Records when it received notifications of lines of the cluster log."""

import time
from typing import Any

from mgr_module import MgrModule, NotifyType


class Module(MgrModule):
    """See bench/between_modules.py."""

    NOTIFY_TYPES = (NotifyType.clog,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._notified_at: dict[str, float] = {}

    def notify(self, notify_type: NotifyType, notify_id: Any) -> None:
        if notify_type == NotifyType.clog:
            self._notified_at[notify_id["message"]] = time.perf_counter()

    def notified_at(self, message: str) -> float | None:
        """When it was told of ``message``; None if it was not. Forgotten once it is asked."""
        return self._notified_at.pop(message, None)

    def echo(self, value: Any) -> Any:
        """Give ``value`` back."""
        return value
