"""``mgrd`` as it is, with ``fake_worker`` for a worker."""

from __future__ import annotations

import sys
from pathlib import Path

from mgr import mgrd

if __name__ == "__main__":
    worker = Path(__file__).with_name("fake_worker.py")
    mgrd.WORKER = (sys.executable, "-P", str(worker))
    mgrd.main()
