"""A zygote as a program: ``python -m mgr.module_process CONTROL_FD``, for a worker without one."""

from __future__ import annotations

import socket
import sys

from mgr.module_process.zygote import serve

if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
