"""Faults that a module causes in its own process, and the result of each.

``tests/e2e/test_injuries.py`` does each of them to a real cluster and checks the other columns;
``docs/reference/isolation.md`` is made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

DIES, FAILS, HANGS, LIVES = "dies", "fails", "hangs", "lives"


@dataclass(frozen=True)
class Injury:
    """One injury.

    Attributes:
        name: What happens, for the page.
        code: Run by a command of the module.
        fate: ``DIES``: the process ends and is started again at once. ``FAILS``: the command fails,
            the module lives. ``HANGS``: the module does not answer until it is reloaded, which
            kills its process. ``LIVES``: the command succeeds and the module lives.
        said: What health says of a death, or the command's answer of a failure.
        code_shown: The health code of the limit that was reached.
        limited: Whether the module has the limits of ``LIMITS``.

    """

    name: str
    code: str
    fate: str
    said: str = ""
    code_shown: str = ""
    limited: bool = True


LIMITS = {
    "mgr_module_memory_max": "victim=1G",
    "mgr_module_command_max": "victim=20",
}
"""The options under which the module is injured."""

INJURIES = (
    Injury(
        "a read of address 0 (SIGSEGV)",
        "import ctypes; ctypes.string_at(0)",
        DIES,
        "its process ended by SIGSEGV in a command 'victim run'",
    ),
    Injury(
        "`os._exit(3)`",
        "import os; os._exit(3)",
        DIES,
        "its process ended by exit status 3 in a command 'victim run'",
    ),
    Injury(
        "`os.abort()`",
        "import os; os.abort()",
        DIES,
        "its process ended by SIGABRT in a command 'victim run'",
    ),
    Injury(
        "SIGKILL, as by the kernel for lack of memory",
        "import os; os.kill(os.getpid(), 9)",
        DIES,
        "its process ended by SIGKILL (by the kernel for lack of memory, or by hand)",
    ),
    Injury(
        "recursion to the end of the stack",
        "import sys; sys.setrecursionlimit(1 << 30)\ndef f(_): sorted([0], key=f)\nf(0)",
        DIES,
        "its process ended by SIGSEGV in a command 'victim run'",
    ),
    Injury(
        "a daemon in a session of its own that ignores SIGTERM, then SIGSEGV",
        "import ctypes, os, signal, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    if os.fork(): os._exit(0)\n"
        "    file = self.get_module_option('file')\n"
        "    with open(file + '.new', 'w') as new: new.write(str(os.getpid()))\n"
        "    os.rename(file + '.new', file)\n"
        "    time.sleep(1000)\n"
        "while not os.path.exists(self.get_module_option('file')): time.sleep(0.01)\n"
        "ctypes.string_at(0)",
        DIES,
        "its process ended by SIGSEGV in a command 'victim run'",
    ),
    Injury(
        "memory above its limit, `mgr_module_memory_max`, at once",
        "bytearray(1 << 31)",
        FAILS,
        "MemoryError",
        "MGR_MODULE_MEMORY",
    ),
    Injury(
        "memory that grows until there is no more, in what it starts, too",
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        kept = b'x' * (300 << 20)\n"
        "        time.sleep(1000)\n"
        "time.sleep(1000)",
        DIES,
        "its limit of memory is 1 GiB (mgr_module_memory_max)",
        "MGR_MODULE_MEMORY",
    ),
    Injury(
        "a command above its limit of time, `mgr_module_command_max`",
        "import time; time.sleep(1000)",
        DIES,
        "'victim run' ran for more than 20 s (mgr_module_command_max)",
        "MGR_MODULE_COMMAND_TIME",
    ),
    Injury(
        "all descriptors closed, those to the manager too",
        "import os, time; os.closerange(3, 4096); time.sleep(1000)",
        DIES,
        "(it closed its connection to the manager)",
    ),
    Injury(
        "all file descriptors used",
        "import os\nself.kept = []\nwhile True: self.kept.append(open('/dev/null'))",
        FAILS,
        "Too many open files",
    ),
    Injury("`sys.exit()`", "import sys; sys.exit(5)", FAILS, "SystemExit: 5"),
    Injury(
        "an answer of 128 MB",
        "self.answer = 'x' * (1 << 27)",
        FAILS,
        "the answer of module 'victim' is too large",
    ),
    Injury(
        "an answer of 2 GB, without a limit of memory",
        "self.answer = 'x' * (1 << 31)",
        FAILS,
        "the answer of module 'victim' is too large",
        limited=False,
    ),
    Injury(
        "500 threads",
        "import threading, time\n"
        "for _ in range(500):\n"
        "    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
        LIVES,
        limited=False,  # the address space of their stacks counts without cgroups
    ),
    Injury("closed standard streams", "import os; [os.close(fd) for fd in (0, 1, 2)]", LIVES),
    Injury("an endless loop", "while True: pass", HANGS),
    Injury(
        "a call into C that keeps the interpreter lock",
        "import ctypes; ctypes.PyDLL(None).sleep(1000)",
        HANGS,
    ),
    Injury(
        "a `shutdown` that never returns",
        "import threading; self.shutdown = threading.Event().wait",
        HANGS,
    ),
    Injury(
        "a handler for SIGTERM and a `serve` that never returns",
        "self.event.set = lambda: None",
        HANGS,
    ),
)

VICTIM = '''
    import signal, threading
    from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule, Option

    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    class Module(MgrModule):
        MODULE_OPTIONS = [Option("file", default="")]
        EFFECTS = "store"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.event = threading.Event()
            self.answer = "done"

        def serve(self):
            while not self.event.is_set():
                self.event.wait(0.1)

        def shutdown(self):
            self.event.set()

        @CLIWriteCommand("victim run")
        def run(self, code: str) -> HandleCommandResult:
            """Execute"""
            exec(code, {"self": self})
            answer, self.answer = self.answer, "done"
            return HandleCommandResult(stdout=answer)
'''

BYSTANDER = '''
    import os
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        EFFECTS = "store"

        @CLIReadCommand("bystander ask")
        def ask(self) -> HandleCommandResult:
            """Answer"""
            return HandleCommandResult(stdout=str(os.getpid()))
'''

STUCK = """
    import threading
    from mgr_module import MgrModule

    class Module(MgrModule):
        EFFECTS = "store"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            threading.Event().wait()
"""

QUITTER = """
    import sys
    from mgr_module import MgrModule

    class Module(MgrModule):
        EFFECTS = "store"

        def serve(self):
            sys.exit(1)

        def config_notify(self):
            sys.exit(2)
"""
