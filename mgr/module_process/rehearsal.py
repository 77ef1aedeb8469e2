"""What the zygote does once, so that no process of a module has to do it again for itself.

A process shares the memory of the zygote until either writes to it. The interpreter writes when it
runs code for the first time: it specialises the code and fills its caches of types. So the zygote
goes through the start of a module: it imports, declares and constructs the class below and runs
its command, on a thread as a module's process does. Nothing of it is left but warm memory.
"""

from __future__ import annotations

import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from mgr.clock import CLOCK
from mgr.host.execution import CommandRequest, check_may_begin, run_command
from mgr.host.finder import ModuleLocation, load
from mgr.module_api.command import CLICommand
from mgr.module_api.confined_context import confined
from mgr.module_api.context import ModuleContext
from mgr.module_api.module import MgrModule
from mgr.module_api.option import Option
from mgr.module_api.result import HandleCommandResult as Result
from mgr.module_process.child_context import ChildContext
from mgr.module_process.child_link import ChildLink
from mgr.module_process.declarations import encode_declarations, plain_fields
from mgr.module_process.messages import Kind, MessageBuffer, dumps, encode

NAME: Final = "rehearsal"
ROUNDS: Final = 10
"""The interpreter specialises code that has run some times."""


class Module(MgrModule):
    """Has one of everything that most modules have."""

    MODULE_OPTIONS = (Option("place", default="World", runtime=True),)
    NOTIFY_TYPES = ("health",)
    EFFECTS = "none"

    @CLICommand("rehearsal", perm="r")
    def answer(self) -> Result:
        """Answer."""
        place = self.get_module_option("place")
        self.log.debug("asked for %s", place)
        return Result(stdout=f"{place}{self.get_store('key') or ''}")


def rehearse() -> None:
    """Go through the start of a module and its first commands."""
    thread = threading.Thread(target=_rehearse, name=NAME)
    thread.start()
    thread.join()


def _rehearse() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        location = ModuleLocation(NAME, __name__, str(Path(__file__)))
        found = load(location, alone=True)
        encode(Kind.RESULT, 1, encode_declarations(found, ""))
        context = ChildContext(ChildLink(theirs), _seed(found.options))
        context.apply_config([])
        context.apply_entries([("key", "value")])
        seen: Any = confined(cast("ModuleContext", context), NAME, None)
        module = Module(NAME, seen, 0)
        for _ in range(ROUNDS):
            _run(module)
    sys.modules.pop(NAME, None)


def _run(module: Module) -> None:
    """Take a command as ``mgr.module_process.child`` does."""
    call = encode(Kind.CALL, 1, ("command", (NAME, {"prefix": NAME}, "", 0.0)))
    for _, number, (_, (prefix, arguments, inbuf, _)), _ in MessageBuffer().feed(call):
        command: Any = _Command(prefix)
        request = CommandRequest(command, arguments, inbuf, CLOCK.now() + 60)
        check_may_begin(request, NAME, lambda: True, CLOCK)
        handle = partial(getattr(module, "_handle_command"), inbuf, arguments)  # noqa: B009 - Ceph's name
        answer: Any = run_command(handle, NAME, command)
        encode(Kind.RESULT, number, (answer.retval, answer.stdout, answer.stderr))


class _Command:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.module = NAME


def _seed(options: Any) -> dict[str, Any]:
    return {
        "module": NAME,
        "manager_id": NAME,
        "cluster": NAME,
        "mgr_ips": dumps({"ips": []}),
        "readonly": {},
        "options": [plain_fields(each) for each in options],
        "config": [],
        "entries": {},
        "term": 1,
        "counters": "",
    }
