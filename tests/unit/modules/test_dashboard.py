"""The dashboard, asked as a browser asks it, with a fake manager behind it."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from modules.dashboard.actions import ACTIONS
from modules.dashboard.application import Dashboard
from modules.dashboard.pages import PAGES
from modules.dashboard.reader import Sourced
from modules.dashboard.render import render
from tests.support import dashboard

ORIGIN = "http://127.0.0.1:7490"
SHOWN = [
    "/", "/timeline", "/modules", "/modules/hello", "/fleet", "/fleet/osd.1", "/hosts", "/maps",
    "/maps/racks", "/options", "/options/mgr/hello/place", "/crashes", "/crashes/1",
    "/commands", "/log", "/audit", "/console",
]  # fmt: skip
VIEWER = frozenset({words for words, perm in dashboard.TABLE.items() if perm == "r"})
OPERATOR = frozenset(dashboard.TABLE)
HX = {"hx-request": "true"}


@pytest.fixture
def host(mgr_host):
    mgr_host.load("modules.dashboard")
    dashboard.answer(mgr_host)
    fleet = mgr_host.context.fleet
    for number in range(120):
        fleet.add(f"osd.{number}", f"node-{number % 3}", zone="<eu>")
    fleet.set_state("osd.7", "silent")
    fleet.declare("osd.1", "osd.op_r", description="Reads")
    for at in (10.0, 20.0, 30.0):
        fleet.count("osd.1", "osd.op_r", at, at * 2)
    return mgr_host


class Browser:
    """Keeps cookies, follows no redirects, and knows the form token of the last page."""

    def __init__(self, host, address="127.0.0.1", **headers):
        application = Dashboard(host.module, scheme="http", port_default=7490).application(
            asyncio.Event()
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(application, client=(address, 5555)),
            base_url=headers.pop("base", ORIGIN),
            headers=headers,
        )
        self.csrf = ""

    async def get(self, path, **headers):
        answer = await self.client.get(path, headers=headers)
        found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
        self.csrf = found[1] if found else self.csrf
        return answer

    async def post(self, path, headers=None, **fields):
        return await self.client.post(path, data={"csrf": self.csrf, **fields}, headers=headers)

    async def press(self, action, **fields):
        return await self.post(f"/do/{action}", headers=HX, **fields)


@pytest.fixture
def browser(host):
    return Browser(host)


# -- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHOWN)
async def test_every_page_is_shown(browser, path):
    """With a heading, the navigation, and no error in place of its content."""
    answer = await browser.get(path)

    assert answer.status_code == 200
    assert "<h1" in answer.text
    assert "unknown:" not in answer.text
    assert 'aria-current="page"' in answer.text


async def test_every_page_is_in_the_list_above():
    """A new page is tried, too."""
    shown = {page.name for page in PAGES for path in SHOWN if _fits(page.path, path)}

    assert {page.name for page in PAGES} == shown


def _fits(route, path):
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^?]+", route), path) is not None


async def test_a_page_whose_command_does_not_exist_is_not_offered(host):
    """Another release, or a module that is off: no empty page."""
    host.context.people.known_commands -= {"audit ls"}
    browser = Browser(host)

    assert 'href="/audit"' not in (await browser.get("/")).text
    assert "may not see this page" in (await browser.get("/audit")).text


async def test_the_overview_names_the_active_the_cause_and_every_member(browser):
    """Who leads, since when, why; every manager and every etcd member, ready or why not."""
    text = (await browser.get("/")).text

    assert "mgr.a leads" in text
    assert "mgr.b lost its worker, which died; nobody led for 0.044 s" in text
    assert "standby, ready" in text
    assert "its worker is starting, or cannot start" in text
    assert "connection refused" in text
    assert "5.0 MiB" in text
    assert "of 2.0 GiB" in text
    assert "119" in text


async def test_every_page_says_that_the_cluster_is_open_to_everybody(host, browser):
    """Whoever reaches a manager controls the cluster."""
    assert "MGR_UNPROTECTED" not in (await browser.get("/")).text
    host.context.native["mgr_unprotected"] = "http_listen"

    for path in ("/", "/console"):
        assert "MGR_UNPROTECTED" in (await browser.get(path)).text


async def test_the_timeline_has_the_gap_and_who_asked(browser):
    """Each term with what ended the one before it."""
    text = (await browser.get("/timeline")).text

    assert "Nobody led for 0.044 s." in text
    assert "killed by signal 9 (SIGKILL)" in text
    assert "mgr fail by ada" in text
    assert "It is not known for how long" not in text


async def test_what_others_wrote_is_escaped(browser):
    """Log lines, option values, maps, metadata, crash reports, health: none can be markup."""
    pages = [(await browser.get(path)).text for path in SHOWN]

    for forged in (
        "<script>alert",
        "<i>Rome",
        "<h1>&",
        '"<h1>"',
        "<b>no",
        "<b>set it",
        "<eu>",
        "<u>1",
    ):
        assert not any(forged in page for page in pages), forged
    assert any("&lt;script&gt;alert(1)" in page for page in pages)


async def test_a_value_that_cannot_be_read_is_not_shown_as_current(host):
    """It keeps its old moment and has the reason beside it; it is unknown if there was none."""
    host.answer("health", retval=-5, stderr="the board is gone")
    text = (await Browser(host).get("/")).text

    assert "Health is unknown: the board is gone" in text
    assert "No check is raised" not in text


async def test_with_a_silent_etcd_no_page_waits_for_it(host, browser):
    """The last values stay, marked; commands, which would wait for seconds, are not sent."""
    await browser.get("/")
    host.context.connected = False
    host.context.commands.clear()
    where = await browser.get("/where")

    assert where.json()["serving"] is False
    assert host.context.commands == []
    assert "etcd does not answer this manager" in (await Browser(host).get("/")).text


async def test_a_list_is_searched_and_paged(browser):
    """Fifty rows a page; search, type, state and host narrow it."""
    first, third = await browser.get("/fleet"), await browser.get("/fleet?page=3")
    silent = await browser.get("/fleet?state=silent")
    found = await browser.get("/fleet?q=OSD.11&host=node-2")

    assert first.text.count('id="daemon-') == 50
    assert third.text.count('id="daemon-') == 20
    assert re.findall(r'id="daemon-([^"]+)"', silent.text) == ["osd.7"]
    assert re.findall(r'id="daemon-([^"]+)"', found.text) == [
        "osd.11",
        "osd.110",
        "osd.113",
        "osd.116",
        "osd.119",
    ]


async def test_what_does_not_exist_is_said(browser):
    """A daemon that left, a map that was removed, a page that never was."""
    for path in ("/fleet/osd.999", "/maps/none", "/modules/none", "/nothing"):
        answer = await browser.get(path)
        assert answer.status_code == 404
        assert "here is no" in answer.text


async def test_the_first_load_is_small(browser):
    """Page, style, scripts and icon together, as they are sent."""
    page = await browser.get("/")
    names = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    files = [await browser.client.get(name) for name in names]
    sent = sum(int(each.headers["content-length"]) for each in (page, *files))

    assert len(files) == 5
    assert all("immutable" in each.headers["cache-control"] for each in files)
    assert sent < 100_000


# -- buttons ------------------------------------------------------------------------------------


async def test_a_button_runs_its_command_as_the_viewer(host, browser):
    """With the fields of its form as arguments, by name."""
    await browser.get("/")
    answer = await browser.press("mute", code="MGR_HELLO_NOBODY", ttl="4h")

    caller, words, _ = host.context.people.ran[-1]
    assert answer.status_code == 200
    assert words == ["health", "mute", "--code=MGR_HELLO_NOBODY", "--ttl=4h"]
    assert caller["address"] == "127.0.0.1"


@pytest.mark.parametrize("action", ACTIONS)
async def test_every_button_has_a_command(host, browser, action):
    """The fields that its command needs, and no others, become arguments."""
    await browser.get("/")
    fields = dict.fromkeys(ACTIONS[action].fields, "x")
    answer = await browser.press(action, **fields, other="y")

    assert answer.status_code == 200
    assert " ".join(host.context.people.ran[-1][1]).startswith(ACTIONS[action].prefix)
    assert "y" not in " ".join(host.context.people.ran[-1][1]).split("=")


async def test_a_refusal_is_shown(host, browser):
    """What the command said, not a page that looks as if it were done."""
    host.answer("mgr module enable", retval=-2, stderr="no such module <b>")
    await browser.get("/modules")
    answer = await browser.press("enable", module="x")

    assert answer.status_code == 409
    assert "no such module &lt;b&gt;" in answer.text


@pytest.mark.parametrize(
    "forged",
    [
        {"csrf": ""},
        {"csrf": "guessed"},
        {"origin": "http://evil.example"},
        {"cookie": "mgr_dashboard=forged"},
    ],
    ids=lambda forged: next(iter(forged)),
)
async def test_a_form_that_no_page_of_ours_made_does_nothing(host, browser, forged):
    """Another site cannot press buttons with the cookie of a viewer."""
    await browser.get("/")
    headers = {key: value for key, value in forged.items() if key != "csrf"}
    if "cookie" in forged:
        browser.client.cookies.clear()
    fields = {"csrf": forged["csrf"]} if "csrf" in forged else {}
    answer = await browser.post("/do/fail", headers={**HX, **headers}, **fields)

    assert answer.status_code == 403
    assert host.context.people.ran == []


async def test_the_console_runs_a_line_and_completes_words(host, browser):
    """As a shell splits it; with or without mgrctl before it."""
    host.answer("config set", stdout="<done>")
    await browser.get("/console")
    answer = await browser.post("/console/run", line="mgrctl config set mgr x 'a b'", headers=HX)
    suggested = await browser.get("/console/complete?line=health+m")
    open_quote = await browser.post("/console/run", line="log 'x", headers=HX)

    assert host.context.people.ran[-1][1] == ["config", "set", "mgr", "x", "a b"]
    assert "&lt;done&gt;" in answer.text
    assert 'data-words="health mute"' in suggested.text
    assert "No closing quotation" in open_quote.text
    assert len(host.context.people.ran) == 1


# -- who may what -------------------------------------------------------------------------------


@pytest.fixture
def protected(host):
    """A cluster that demands that people identify themselves."""
    host.context.people.tokens = {
        "v.secret": {"name": "vera", "may": VIEWER},
        "o.secret": {"name": "otto", "may": OPERATOR},
        "n.secret": {"name": "nobody", "may": frozenset()},
    }
    return host


async def signed_in(host, token):
    browser = Browser(host)
    await browser.get("/sign-in?to=/modules")
    answer = await browser.post("/sign-in?to=/modules", token=token)
    return browser, answer


@pytest.mark.parametrize("path", [*SHOWN, "/console/complete", "/live/"])
async def test_nothing_is_shown_to_who_has_not_signed_in(protected, path):
    """They are sent to the sign-in page, or refused."""
    answer = await Browser(protected).get(path)

    assert answer.status_code in {303, 401} or answer.text == 'event: gone\ndata: ""\n\n'
    assert "mgr.a" not in answer.text


async def test_a_token_signs_in_and_out(protected):
    """The cookie does not show the token, and is worthless after signing out."""
    browser, answer = await signed_in(protected, "v.secret")
    page = await browser.get("/modules")
    out = await browser.post("/sign-out")

    assert (answer.status_code, answer.headers["location"]) == (303, "/modules")
    assert "v.secret" not in str(answer.headers)
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "vera" in page.text
    assert out.status_code == 303
    assert (await browser.get("/modules")).status_code == 303


async def test_a_wrong_token_is_refused(protected):
    """And says no more than that."""
    browser, answer = await signed_in(protected, "x.wrong")

    assert answer.status_code == 403
    assert (await browser.get("/")).status_code == 303


async def test_a_token_is_not_taken_over_a_connection_that_others_can_read(protected):
    """Beyond this machine only with TLS."""
    protected.set_option("server_names", "board.example")
    plain = Browser(protected, "10.0.0.9", base="http://board.example:7490")
    tls = Browser(protected, "10.0.0.9", base="https://board.example:7490")
    answers = []
    for browser in (plain, tls):
        await browser.get("/sign-in")
        answers.append(await browser.post("/sign-in", token="v.secret"))

    assert [each.status_code for each in answers] == [403, 303]
    assert "Secure" in answers[1].headers["set-cookie"]


async def test_a_viewer_sees_no_buttons_and_is_refused(protected):
    """Neither is the protection: the manager refuses the command itself."""
    browser, _ = await signed_in(protected, "v.secret")
    pages = [(await browser.get(path)).text for path in SHOWN]
    await browser.get("/")
    answer = await browser.press("fail")
    console = await browser.post("/console/run", line="mgr fail", headers=HX)

    assert not any('action="/do/' in page for page in pages)
    assert answer.status_code == 403
    assert "EACCES" in console.text
    assert protected.context.people.ran == []


async def test_an_operator_sees_the_buttons(protected):
    """The test above can fail."""
    browser, _ = await signed_in(protected, "o.secret")

    assert 'action="/do/fail"' in (await browser.get("/")).text
    assert (await browser.press("fail")).status_code == 200


@pytest.mark.parametrize("path", SHOWN)
async def test_a_page_that_a_viewer_may_not_see_says_so(protected, path):
    """Whoever may do nothing is signed in all the same, and sees no data."""
    browser, _ = await signed_in(protected, "n.secret")
    answer = await browser.get(path)

    assert "may not see this page" in answer.text
    assert "mgr.b lost its worker" not in answer.text


async def test_a_token_that_was_revoked_ends_its_sessions(protected):
    """At the next request: the credential is asked again each time."""
    browser, _ = await signed_in(protected, "v.secret")
    del protected.context.people.tokens["v.secret"]

    assert (await browser.get("/")).status_code == 303


async def test_a_session_goes_on_at_the_next_active(protected):
    """By the cookie if it is sent there, else by a ticket."""
    browser, _ = await signed_in(protected, "v.secret")
    cookie = browser.client.cookies
    ticket = ticket_of(protected, cookie)
    protected.fail_over("b")
    same, other = Browser(protected), Browser(protected)
    same.client.cookies = cookie
    moved = await other.post("/continue", ticket=ticket, target="/modules?x=1", said="from=a")

    assert (await same.get("/modules")).status_code == 200
    assert moved.headers["location"] == "/modules?x=1#from=a"
    assert "vera" in (await other.get("/modules")).text


@pytest.mark.parametrize("target", ["http://evil.example/", "//evil.example/x", "/\\evil.example"])
async def test_nobody_is_sent_elsewhere(protected, target):
    """Neither by the sign-in page nor by what comes from another manager."""
    browser = Browser(protected)
    await browser.get(f"/sign-in?to={target}")
    answer = await browser.client.post(
        "/sign-in", params={"to": target}, data={"csrf": browser.csrf, "token": "v.secret"}
    )
    moved = await browser.post("/continue", ticket="forged", target=target, said="")

    for each in (answer, moved):
        assert each.headers["location"].startswith("/")
        assert not each.headers["location"].startswith(("//", "/\\"))


def ticket_of(host, cookies):
    """What the script of a page gets with the events."""
    from modules.dashboard.sessions import Sessions

    sessions = Sessions(host.module)
    session = sessions._open(cookies["mgr_dashboard"].strip('"'), "session", 3600)
    return sessions.ticket(session)


# -- headers ------------------------------------------------------------------------------------


async def test_every_answer_is_protected(browser):
    """No script but our files, no frame, no guessing of types, no cache."""
    for path in (*SHOWN, "/sign-in", "/nothing", "/static/none"):
        headers = (await browser.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


async def test_no_page_has_script_or_style_inline(browser):
    """The policy would break it, and a forged one would look like ours."""
    for path in SHOWN:
        text = (await browser.get(path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", text), path


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", ""])
async def test_a_strangers_host_name_is_refused(host, name):
    """A name that was made to resolve to this address (DNS rebinding) gets nothing."""
    answer = await Browser(host).client.get("/", headers={"host": name})

    assert answer.status_code == 421


async def test_own_names_and_addresses_are_accepted(host):
    """As set by the operator."""
    host.set_option("server_names", "board.example, other.example")
    for name in ("board.example:7490", "127.0.0.1", "[::1]:7490", "localhost:80"):
        assert (await Browser(host).client.get("/", headers={"host": name})).status_code == 200


async def test_a_large_body_is_refused_before_it_is_read(browser):
    """By what it says of itself."""
    answer = await browser.client.post("/do/fail", content=b"x" * (2 << 20))

    assert answer.status_code == 413


def test_lines_of_two_terms_have_ids_of_their_own():
    """Their numbers begin again with each term."""
    lines = [
        {"seq": 1, "stamp": stamp, "name": "mgr.a", "priority": "[INF]", "message": "x"}
        for stamp in ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    ]
    log = Sourced(lines, "the log", 1.0)
    filters = {"q": "", "level": "info", "channel": "*"}

    text = render("log.html", log=log, filters=filters, levels=(), channels=(), kinds={}, now=0.0)

    ids = re.findall(r'id="(line-[^"]+)"', text)
    assert len(set(ids)) == 2
