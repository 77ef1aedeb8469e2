"""Entry point of ``mgrctl``; imports the rest after Ctrl-C is set up to end without a traceback."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence

from mgr.cli import interrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: see ``mgr.cli.command_line.main``.

    Without ``argv`` this is the program: it reads its command line, and at the end exits without
    finalising the interpreter, which would take a tenth of its time.
    """
    if argv is not None:
        return _run(argv)
    interrupt.exit_at_once()
    # The imports leave nothing to collect, and looking for it costs a tenth of their time.
    gc.disable()
    try:
        status = _run(sys.argv[1:])
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    interrupt.exit_at_once()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _run(argv: Sequence[str]) -> int:
    from mgr.cli.command_line import main as run  # noqa: PLC0415 - see above

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
