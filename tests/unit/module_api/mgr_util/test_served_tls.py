"""A page's TLS follows its files while the page is open."""

from __future__ import annotations

import concurrent.futures
import errno
import http.client
import socket
import ssl
import threading
from pathlib import Path

import pytest

from mgr.module_api.mgr_util import served_tls
from mgr_util import HttpPage, ServedTls, TlsFiles, text_reply
from tests.support.certificates import Authority


class Page:
    """An open page whose certificate is in ``folder``."""

    def __init__(self, folder, authority):
        settings = authority.settings(folder)
        self.files = TlsFiles(settings["tls_cert"], settings["tls_key"], settings["tls_ca"])
        self.tls = ServedTls(self.files)
        self._page = HttpPage(lambda _: text_reply(200, "safe"))
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._bound.wait(10)

    def _run(self):
        self._page.run("127.0.0.1", 0, ready=self._ready, tls=self.tls)

    def _ready(self, port):
        self._port = port
        self._bound.set()

    def close(self):
        self._page.close()
        self._thread.join(10)

    def get(self, trusted, own=None):
        """Ask for the page as a client that trusts ``trusted``, perhaps with a certificate."""
        context = ssl.create_default_context(cadata=trusted.pem.decode())
        if own is not None:
            context.load_cert_chain(own)
        client = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=context)
        try:
            client.request("GET", "/")
            return client.getresponse().read()
        finally:
            client.close()

    def served(self, trusted):
        """The certificate of the page, as bytes."""
        context = ssl.create_default_context(cadata=trusted.pem.decode())
        with (
            socket.create_connection(("127.0.0.1", self._port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(binary_form=True)


def replace(path, content):
    """As tools that renew certificates do."""
    written = Path(f"{path}.new")
    written.write_bytes(content)
    written.replace(path)


def issued(authority):
    return authority.issue(dns=["localhost"], ips=["127.0.0.1"])


def own_certificate(folder, authority):
    """A file with a certificate of a person and its key."""
    path = folder / "client.pem"
    path.write_bytes(b"".join(authority.issue("ada")))
    return path


@pytest.fixture
def first():
    return Authority()


@pytest.fixture
def page(tmp_path, first):
    made = Page(tmp_path, first)
    yield made
    made.close()


def test_a_renewed_certificate_is_served_from_then_on(page, first):
    """By a page that stays open: an active may stay one for longer than a certificate is valid."""
    assert page.get(first) == b"safe"
    second = Authority()
    for path, content in zip(page.files, issued(second), strict=False):
        replace(path, content)

    assert page.get(second) == b"safe"
    with pytest.raises(ssl.SSLCertVerificationError):
        page.get(first)


def test_files_that_do_not_fit_together_leave_the_last_ones_in_use(page, first, caplog):
    """Between the two writes of a renewal; the log says so once, with the file."""
    certificate, key = issued(first)
    replace(page.files.certificate, certificate)
    answers = [page.get(first) for _ in range(2)]
    warned = [record for record in caplog.records if "stays in use" in record.message]
    replace(page.files.key, key)

    assert answers == [b"safe", b"safe"]
    assert [record.file for record in warned] == [page.files.certificate]
    assert page.get(first) == b"safe"
    assert page.served(first) == ssl.PEM_cert_to_DER_cert(certificate.decode())


def test_a_replaced_ca_is_not_trusted_any_more(page, first, tmp_path):
    """Who has a certificate of the new one is let in."""
    second = Authority()
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    assert page.get(first, own_certificate(old, first)) == b"safe"
    replace(page.files.ca, second.pem)

    assert page.get(first, own_certificate(new, second)) == b"safe"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        page.get(first, old / "client.pem")


def test_files_that_cannot_be_used_at_the_start_are_an_error(tmp_path):
    """Nothing was in use before."""
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        ServedTls(TlsFiles(str(tmp_path / "cert.pem"), str(tmp_path / "cert.pem")))


def test_files_that_could_not_be_read_for_a_moment_are_read_again(page, first, monkeypatch):
    """No descriptor was free, say: nothing of the files changes when one is."""
    second = Authority()
    for path, content in zip(page.files, issued(second), strict=False):
        replace(path, content)
    with monkeypatch.context() as patched:
        patched.setattr(served_tls, "_context", unreadable)
        assert page.get(first) == b"safe"
    monkeypatch.setattr(page.tls, "_again_at_s", 0.0)

    assert page.get(second) == b"safe"


def unreadable(_files):
    raise OSError(errno.EMFILE, "Too many open files")


def test_what_would_have_no_effect_is_refused(page):
    """Each connection has a context of its own; a forgotten check of clients would be worse."""
    with pytest.raises(TypeError, match="configure"):
        page.tls.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(TypeError, match="configure"):
        page.tls.load_verify_locations(page.files.ca)


def test_every_context_is_configured(page, first):
    """Also those made after a renewal."""

    def demand(context):
        context.verify_mode = ssl.CERT_REQUIRED

    tls = ServedTls(page.files, demand)
    before = tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True).context
    for path, content in zip(page.files, issued(first), strict=False):
        replace(path, content)
    after = tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True).context

    assert before is not after
    assert before.verify_mode == after.verify_mode == ssl.CERT_REQUIRED


def test_a_listening_socket_follows_the_files(page, first):
    """It is wrapped once; what it accepts begins later."""
    second = Authority()
    with socket.create_server(("127.0.0.1", 0)) as plain:
        listener = page.tls.wrap_socket(plain, server_side=True)
        for path, content in zip(page.files, issued(second), strict=False):
            replace(path, content)
        with concurrent.futures.ThreadPoolExecutor(1) as threads, listener:
            accepted = threads.submit(listener.accept)
            context = ssl.create_default_context(cadata=second.pem.decode())
            with (
                socket.create_connection(listener.getsockname(), 10) as connection,
                context.wrap_socket(connection, server_hostname="localhost"),
            ):
                accepted.result(10)[0].close()
