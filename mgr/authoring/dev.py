"""``mgrctl module dev``: runs one module in this process, with a prompt and a reload on save.

Commands run on the main thread, so that ``breakpoint()`` in one of them opens the debugger on this
terminal; ``serve`` has its own thread. Options and entries outlive a reload, as with a manager.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pdb  # noqa: T100 - opened on request: --pdb
import select
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self, TextIO

from mgr.authoring.source import ModuleSource
from mgr.module_api.result import HandleCommandResult
from mgr.testing.host import Host

LOOK_EVERY_S: Final = 0.5
"""How often the files are looked at while nothing is typed."""
STOP_S: Final = 5.0
"""How long the old instance may take to stop at a reload."""
PROMPT: Final = "> "
HELP: Final = """\
The module's own commands, and these:
  help                          this text, and the module's commands
  config set OPTION VALUE       set an option of the module; config rm OPTION removes it
  config show                   the module's options
  config-key ls                 its stored entries; config-key get KEY, set KEY VALUE, rm KEY
  health                        its health checks
  log last                      the lines it wrote to the cluster log
  notify KIND                   notify it
  publish MAP JSON              publish a map
  mgr fail                      a failover: the next instance has what was stored
  mgr services                  the address that it published
  reload                        import its files again; done by itself after a save
  quit
"""


class Session:
    """One run of ``mgrctl module dev``."""

    def __init__(self, source: ModuleSource, *, out: TextIO, post_mortem: bool = False) -> None:
        """Write to ``out``; with ``post_mortem`` open the debugger where a command raised."""
        self._source = source
        self._out = out
        self._post_mortem = post_mortem
        self._serving = contextlib.ExitStack()
        self._host: Host | None = None
        self._seen: Mapping[Path, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def host(self) -> Host | None:
        """The host that runs the module; None as long as its files have not loaded."""
        return self._host

    # -- lifecycle --------------------------------------------------------------------------

    def start(self) -> None:
        """Import the files and construct the module; what was stored stays.

        If that fails, the error is written and the instance of before goes on.
        """
        self._seen = self._stamps()
        before = self._host
        # Its files leave Python's table of modules, otherwise the old ones would be found.
        self._close()
        fresh = Host()
        if before is not None:
            fresh.inherit(before)
        try:
            fresh.load(self._source.folder)
        except Exception as error:  # noqa: BLE001 - the module's code may raise anything
            fresh.close()
            self._say(describe(error))
        else:
            self._host = fresh
            self._say(f"module {self._source.name} runs; type help")
        self._serve()

    def reload_if_changed(self) -> None:
        """Load the module again if one of its files was saved since the last time."""
        if self._stamps() != self._seen:
            self._say("files changed: reloading")
            self.start()

    def _fail_over(self) -> None:
        if self._host is not None:
            self._serving.close()
            other = "b" if self._host.context.manager_id == "a" else "a"
            module = self._host.fail_over(other)
            self._say(f"manager {other} is active in term {module.get_term()}")
            self._serve()

    def _serve(self) -> None:
        if self._host is not None:
            self._serving.enter_context(self._served(self._host))

    @contextlib.contextmanager
    def _served(self, host: Host) -> Iterator[None]:
        try:
            with host.serving(limit_s=STOP_S):
                yield
        except Exception as error:  # noqa: BLE001 - what serve raised, or that it did not stop
            self._say(f"serve: {describe(error)}")

    def _close(self) -> None:
        self._serving.close()
        if self._host is not None:
            self._host.close()

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        stamps = {}
        for path in self._source.files():
            with contextlib.suppress(OSError):
                status = path.stat()
                stamps[path] = (status.st_mtime_ns, status.st_size)
        return stamps

    # -- commands ---------------------------------------------------------------------------

    def run(self, line: str) -> bool:
        """Run one line; return False if it ends the session."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            self._say(f"Error: {error}")
            return True
        if words[:1] in (["quit"], ["exit"]):
            return False
        if not words:
            return True
        if words == ["reload"]:
            self.start()
        elif words == ["mgr", "fail"]:
            self._fail_over()
        elif words == ["help"]:
            usages = self._host.usages() if self._host is not None else []
            self._say(HELP + "".join(f"  {usage}\n" for usage in usages))
        elif self._host is None:
            self._say("the module does not load: repair it, and save")
        else:
            self._say(self._answer(self._host, words, line))
        return True

    def _answer(self, host: Host, words: list[str], line: str) -> str:
        command = next((each for each in COMMANDS if tuple(words[: len(each)]) == each), None)
        try:
            if command is None:
                return _shown(host.run(line, catch=not self._post_mortem))
            return COMMANDS[command](host, *words[len(command) :])
        except Exception as error:  # noqa: BLE001 - the module's code may raise anything
            if self._post_mortem and command is None:
                traceback.print_exc()
                pdb.post_mortem(error.__traceback__)
            wrong_words = command is not None and isinstance(error, TypeError)
            return (
                "Error: the number of words is wrong; see: help" if wrong_words else describe(error)
            )

    def _say(self, text: str) -> None:
        if text:
            self._out.write(text.rstrip("\n") + "\n")
            self._out.flush()


def run(source: ModuleSource, *, post_mortem: bool) -> None:
    """Run the module until its user ends the session or its input."""
    # Files that are saved twice within a second would be found compiled as they were before.
    sys.dont_write_bytecode = True
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    with Session(source, out=sys.stdout, post_mortem=post_mortem) as session:
        while (line := _read_line(sys.stdin, session.reload_if_changed)) is not None:
            # A save and a command right after it: the command means the new code.
            session.reload_if_changed()
            try:
                if not session.run(line):
                    return
            except KeyboardInterrupt:
                sys.stdout.write("interrupted\n")


def _read_line(source: TextIO, idle: Callable[[], None]) -> str | None:
    """Return the next line, None at the end; on a terminal call ``idle`` twice a second."""
    if source.isatty():
        sys.stdout.write(PROMPT)
        sys.stdout.flush()
        # A terminal gives one line at a time, so none waits in a buffer that select cannot see.
        while not select.select([source], [], [], LOOK_EVERY_S)[0]:
            idle()
    line = source.readline()
    return line.strip() if line else None


def _shown(answer: HandleCommandResult) -> str:
    lines = [answer.stdout] if answer.stdout else []
    if answer.retval < 0:
        lines.append(f"Error {-answer.retval}: {answer.stderr}")
    elif answer.stderr:
        lines.append(answer.stderr)
    return "\n".join(lines)


def describe(error: BaseException) -> str:
    """Return an error for people: one line where that says all, else with its traceback."""
    if isinstance(error, ImportError | TimeoutError):
        return f"Error: {error}"
    return "".join(traceback.format_exception(error))


def _set_option(host: Host, name: str, value: str) -> str:
    # Also as an operator writes it: config set mgr mgr/hello/place Rome.
    short = name.rpartition("/")[2]
    try:
        host.context.set_option(host.module.module_name, short, value)
    except ValueError as error:
        return f"Error 22: {error}"
    host.set_option(short, value)
    return ""


def _remove_option(host: Host, name: str) -> str:
    host.set_option(name.rpartition("/")[2], None)
    return ""


def _options(host: Host) -> str:
    values = {each: host.module.get_module_option(each) for each in host.option_names()}
    return "\n".join(f"{name} = {value!r}" for name, value in values.items())


def _services(host: Host) -> str:
    return host.uri or "no address is published"


def _health(host: Host) -> str:
    lines = []
    for code, check in host.health.items():
        lines.append(f"{code} ({check.get('severity')}): {check.get('summary')}")
        lines += [f"    {line}" for line in check.get("detail", ())]
    return "\n".join(lines) or "HEALTH_OK"


def _log(host: Host) -> str:
    return "\n".join(f"{channel} {priority} {text}" for channel, priority, text in host.cluster_log)


def _get_entry(host: Host, key: str) -> str:
    return host.store.get(key, f"Error 2: there is no key {key!r}")


def _set_entry(host: Host, key: str, value: str) -> str:
    host.context.set_store(key, value)
    return ""


def _remove_entry(host: Host, key: str) -> str:
    host.context.set_store(key, None)
    return ""


def _notify(host: Host, kind: str, notify_id: str = "") -> str:
    host.notify(kind, notify_id)
    return ""


def _publish(host: Host, name: str, document: str) -> str:
    return f"version {host.publish(name, json.loads(document))}"


COMMANDS: Final[Mapping[tuple[str, ...], Callable[..., str]]] = {
    ("config", "set", "mgr"): _set_option,
    ("config", "set"): _set_option,
    ("config", "rm", "mgr"): _remove_option,
    ("config", "rm"): _remove_option,
    ("config", "show"): _options,
    ("config-key", "ls"): lambda host: "\n".join(sorted(host.store)),
    ("config-key", "get"): _get_entry,
    ("config-key", "set"): _set_entry,
    ("config-key", "rm"): _remove_entry,
    ("health",): _health,
    ("log", "last"): _log,
    ("notify",): _notify,
    ("publish",): _publish,
    ("mgr", "services"): _services,
}
