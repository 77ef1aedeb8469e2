"""A worker process gets packages with libraries of their own, and finds them again."""

import base64
import hashlib
import signal

import pytest

from tests.support.module_archive import archive_of
from tests.unit.module_process.test_module_environment import wheel

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(240)]

MODULE = """
from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule
{imports}

class Module(MgrModule):
    @CLIReadCommand("greeter ask")
    def ask(self) -> HandleCommandResult:
        "Answer"
        return HandleCommandResult(stdout={answer})
"""


@pytest.fixture
def packages(tmp_path):
    """A version without libraries, and two with one, from wheels of this folder."""
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", "colour", version)
    index = f"--no-index\n--find-links {tmp_path / 'wheels'}\n"

    def package(version):
        code = MODULE.format(imports="import colour", answer="colour.VERSION")
        files = {"module.py": code, "requirements.txt": f"{index}colour=={version}\n"}
        return archive_of({name: text.encode() for name, text in files.items()})

    plain = MODULE.format(imports="", answer='"plain"').encode()
    return archive_of({"module.py": plain}), package("1.0"), package("2.0")


async def install(worker, data):
    words = ("mgr", "module", "install-package", hashlib.sha256(data).hexdigest())
    answer = await worker.client.execute(words, data=base64.b64encode(data), timeout_s=100)
    assert answer.retval == 0, answer.stderr
    return answer.stderr


async def test_libraries_are_installed_with_the_module(workers, packages, tmp_path):
    """On the active with the command, on a standby as it follows; the next worker has both."""
    plain, first, second = packages
    settings = {"module_install": True, "state_dir": str(tmp_path / "state")}
    worker = await workers(**settings)
    await worker.ready()
    await worker.lead()
    follower = await workers(id="b", **settings)
    await follower.ready()

    await install(worker, plain)
    await worker.switch("greeter")
    assert (await worker.ask("greeter", "ask", timeout_s=60)).stdout == "plain"
    await install(worker, first)
    assert (await worker.ask("greeter", "ask", timeout_s=60)).stdout == "1.0"
    await install(worker, second)
    assert (await worker.ask("greeter", "ask", timeout_s=60)).stdout == "2.0"

    worker.process.send_signal(signal.SIGKILL)
    await worker.release()
    await follower.lead()
    assert (await follower.ask("greeter", "ask", timeout_s=60)).stdout == "2.0"
    await follower.ask("mgr", "module", "rollback", "greeter", timeout_s=60)
    assert (await follower.ask("greeter", "ask", timeout_s=60)).stdout == "1.0"
