"""A zygote as a program: ``python -m mgr.module_process CONTROL_FD``, for a worker without one."""

from __future__ import annotations

import socket
import sys

from mgr.host.import_lock import search_without_import_lock
from mgr.module_process.zygote import serve

if __name__ == "__main__":
    search_without_import_lock()
    serve(socket.socket(fileno=int(sys.argv[1])))
