"""Several modules serve with CherryPy in one process, each at its own address."""

import ssl
import urllib.request

import pytest

from cherrypy_mgr import CherryPyMgr
from mgr.module_api.mgr_util import tls
from tests.support import process

cherrypy = pytest.importorskip("cherrypy", reason="extra 'conformance' not installed")


class Page:
    """Says who it is."""

    def __init__(self, name):
        self.name = name

    @cherrypy.expose
    def index(self):
        return self.name


@pytest.fixture
def mounted():
    """Mount pages; whatever a test left is ended."""
    adapters = {}

    def mount(name, port, **more):
        tree = cherrypy._cptree.Tree()
        tree.mount(Page(name), "/", config={"/": {"said": name}})
        adapters[name], _ = CherryPyMgr.mount(tree, name, ("127.0.0.1", port), **more)
        return adapters[name]

    yield mount
    for name, adapter in adapters.items():
        adapter.stop()
        adapter.unsubscribe()
        CherryPyMgr.unregister(name)
    cherrypy.engine.exit()


def read(port, scheme="http", context=None):
    """What is served there."""
    at = f"{scheme}://localhost:{port}/"
    with urllib.request.urlopen(at, timeout=5, context=context) as answer:
        return answer.read().decode()


def test_each_serves_its_own_tree_and_ends_alone(mounted):
    """The other goes on; the port is free again."""
    one, two = process.free_port(), process.free_port()
    first = mounted("one", one)
    mounted("two", two)
    assert (read(one), read(two)) == ("one", "two")

    first.stop()
    first.unsubscribe()

    with pytest.raises(OSError, match="refused"):
        read(one)
    assert read(two) == "two"
    mounted("again", one)
    assert read(one) == "again"


def test_what_is_mounted_is_found_by_its_name(mounted):
    """Until it is unregistered."""
    mounted("one", process.free_port())

    assert CherryPyMgr.get_server_config("one")["/"]["said"] == "one"
    assert CherryPyMgr.get_server_config("one", "/elsewhere") is None
    CherryPyMgr.unregister("one")
    assert CherryPyMgr.get_server_config("one") is None


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing(mounted):
    """The name can be mounted elsewhere."""
    port = process.free_port()
    mounted("one", port)

    with pytest.raises(OSError, match="not free"):
        mounted("two", port)
    assert CherryPyMgr.get_server_config("two") is None


def test_it_serves_by_tls(mounted, tmp_path):
    """With a certificate made by the same package."""
    for name, text in zip(("crt", "key"), tls.create_self_signed_cert(), strict=True):
        (tmp_path / name).write_text(text)
    port = process.free_port()
    ssl_info = {"cert": str(tmp_path / "crt"), "key": str(tmp_path / "key")}
    trusting = ssl.create_default_context(cafile=tmp_path / "crt")
    trusting.check_hostname = False

    mounted("one", port, ssl_info=ssl_info)

    assert read(port, "https", trusting) == "one"
