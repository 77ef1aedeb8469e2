"""Who may see which page of the HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import types

import httpx
import pytest
from prometheus_client import CollectorRegistry

from mgr.access.table import Access
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.http.server import serve
from mgr.settings import Settings
from mgr.store.api import Record, Revision
from mgr.store.keys import Keys
from tests.support.certificates import Authority
from tests.unit.http.test_pages import View, leads

KEYS = Keys("t")
PROBES = ("/livez", "/readyz", "/active")
PAGES = ("/metrics", "/", "/any/page", "/services/dashboard")


class Table:
    """The records that a mirror shows."""

    def __init__(self, **entries):
        self._records = {
            KEYS.access_of(name): Record(KEYS.access_of(name), caps, Revision(1), Revision(1))
            for name, caps in entries.items()
        }

    def get(self, key):
        return self._records.get(key)

    def list(self, prefix):
        return {key: each for key, each in self._records.items() if key.startswith(prefix)}


@contextlib.asynccontextmanager
async def serving(authority, folder, *, age=0.1, **entries):
    """A manager with TLS; gives a function that asks it for a page, as a client or as nobody."""
    view = View(leads("b"), age=age)
    view.access = Access(Table(**entries), KEYS)
    async with asyncio.TaskGroup() as tasks:
        server = await serve(
            Settings(id="a", http_listen="127.0.0.1:0", **authority.settings(folder)),
            role_of=lambda: types.SimpleNamespace(state="standby"),
            view=view,
            registry=CollectorRegistry(),
            limits=ClientLimits(CLOCK.now),
            tasks=tasks,
        )

        async def ask(path, name=None, **headers):
            context = ssl.create_default_context(cadata=authority.pem.decode())
            if name is not None:
                tls = authority.tls(name)
                (folder / "client.pem").write_bytes(tls.cert + tls.key)
                context.load_cert_chain(folder / "client.pem")
            async with httpx.AsyncClient(verify=context) as http:
                return await http.get(f"https://{server.address}{path}", headers=headers)

        yield ask
        await server.close()


async def test_where_nothing_is_demanded_everybody_sees_every_page(tmp_path):
    """As before there is an entry."""
    async with serving(Authority(), tmp_path) as ask:
        assert [(await ask(path)).status_code for path in (*PROBES, "/metrics", "/")] == [
            200,
            200,
            503,
            200,
            307,
        ]


async def test_where_authentication_is_demanded_only_probes_are_open(tmp_path):
    """A page asks for a certificate or a token, and then for the capability."""
    async with serving(Authority(), tmp_path, ops="allow r", robot="profile crash") as ask:
        assert [(await ask(path)).status_code for path in PROBES] == [200, 200, 503]
        for path in PAGES:
            nobody = await ask(path)
            assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (
                401,
                'Bearer realm="mgr"',
            )
            assert "location" not in nobody.headers
            assert (await ask(path, "robot")).status_code == 403
        assert [(await ask(path, "ops")).status_code for path in PAGES] == [200, 307, 307, 404]


async def test_a_token_that_is_not_valid_is_refused(tmp_path):
    """Also where nothing is demanded: who shows one wants to be somebody."""
    async with serving(Authority(), tmp_path) as ask:
        answer = await ask("/metrics", Authorization="Bearer a.b")

    assert answer.status_code == 401


async def test_before_the_table_is_known_no_page_is_shown(tmp_path):
    """Otherwise a manager that starts without etcd would be open."""
    async with serving(Authority(), tmp_path, age=float("inf")) as ask:
        assert (await ask("/livez")).status_code == 200
        assert {(await ask(path)).status_code for path in PAGES} == {503}


@pytest.mark.parametrize("path", [*PROBES, *PAGES])
async def test_every_answer_has_the_security_headers(tmp_path, path):
    """Refusals too."""
    async with serving(Authority(), tmp_path, ops="allow r") as ask:
        headers = (await ask(path)).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
