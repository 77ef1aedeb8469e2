"""Reads the facts of a host, which do not change while it runs."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil


def facts() -> dict[str, str]:
    """Return the host's facts under Ceph's names; a fact that cannot be read is left out."""
    os_release = platform.freedesktop_os_release() if _has_release() else {}
    found = {
        "hostname": platform.node(),
        "arch": platform.machine(),
        "kernel_version": platform.release(),
        "kernel_description": platform.version(),
        "distro": os_release.get("ID", ""),
        "distro_description": os_release.get("PRETTY_NAME", ""),
        "cpu": _cpu(),
        "cpus": str(psutil.cpu_count() or ""),
        "mem_total_kb": str(psutil.virtual_memory().total // 1024),
        "mem_swap_kb": str(psutil.swap_memory().total // 1024),
        "boot_id": _text("/proc/sys/kernel/random/boot_id"),
        "machine": " ".join(
            filter(None, (_text(f"/sys/class/dmi/id/{n}") for n in ("sys_vendor", "product_name")))
        ),
    }
    return {name: text for name, text in found.items() if text}


def _has_release() -> bool:
    return any(Path(file).exists() for file in ("/etc/os-release", "/usr/lib/os-release"))


def _cpu() -> str:
    lines = (line.partition(":") for line in _text("/proc/cpuinfo").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "model name"), "")


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
