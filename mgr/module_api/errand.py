"""Commands that a module has others run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgr.clock import CLOCK
from mgr.module_api.declared import ActiveHalf
from mgr.module_api.result import HandleCommandResult, MonCommandFailed


class Errands(ActiveHalf):
    """The part of ``MgrModule`` that runs commands."""

    def mon_command(
        self, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """Run one of the manager's own commands and wait for its answer.

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
        """As ``mon_command``, for one that must succeed.

        Raises:
            MonCommandFailed: It did not; the text says why.

        """
        result = self.mon_command(cmd_dict, inbuf)
        if result.retval:
            why = f"{result.stderr} retval: {result.retval}"
            raise MonCommandFailed(f"{cmd_dict['prefix']} failed: {why}")
        return result
