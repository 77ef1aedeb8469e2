"""TLS, client certificates, users and passwords, tokens that end."""

import asyncio

import pytest

from mgr.errors import AccessDeniedError, InvalidSettingError, StoreUnavailableError
from mgr.store.api import Current, Interrupted, Listed, Put
from mgr.store.identity import StoreIdentity
from mgr.store.login import EtcdLogin
from mgr.store.members import DENIED
from mgr.tls import Tls
from tests.support.reader import Reader
from tests.support.secured_etcd import USER, Administrator, Certificates, secured

pytestmark = pytest.mark.etcd

LOGIN = EtcdLogin(*USER)
SHORT_TOKENS = {"auth-token-ttl": "1"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=["plaintext", "tls"])
def guarded(request, etcd_program, etcd_directory, certificates):
    """An etcd with users and short-lived tokens, and the TLS to speak to it."""
    used = certificates if request.param == "tls" else None
    with secured(etcd_directory, certificates=used, users=True, flags=SHORT_TOKENS) as etcd:
        yield etcd, used and used.tls(with_client=False), used


async def test_tls_is_spoken_and_the_server_is_checked(
    connect, etcd_program, etcd_directory, certificates, tmp_path
):
    """With its own CA it works; with a stranger's, or in plaintext, there is no answer."""
    stranger = Certificates.make(tmp_path).tls(with_client=False)
    with secured(etcd_directory, certificates=certificates) as etcd:
        store = connect(etcd.endpoints, tls=certificates.tls(with_client=False))
        await store.commit([Put("/mgr/k", "1")])
        assert (await store.get("/mgr/k")).value == "1"

        for tls in (stranger, None):
            with pytest.raises(StoreUnavailableError):
                await connect(etcd.endpoints, tls=tls).get("/mgr/k", timeout_s=1)


async def test_a_client_certificate_is_shown(connect, etcd_program, etcd_directory, certificates):
    """Without it etcd hangs up."""
    with secured(etcd_directory, certificates=certificates, client_certificates=True) as etcd:
        store = connect(etcd.endpoints, tls=certificates.tls(with_client=True))
        await store.commit([Put("/mgr/k", "1")])

        without = connect(etcd.endpoints, tls=certificates.tls(with_client=False))
        with pytest.raises(StoreUnavailableError):
            await without.get("/mgr/k", timeout_s=1)


async def test_a_certificate_can_be_the_user(connect, etcd_program, etcd_directory, certificates):
    """Its common name is the user: no password, no token, nothing that ends."""
    with secured(
        etcd_directory, certificates=certificates, client_certificates=True, users=True
    ) as etcd:
        store = connect(etcd.endpoints, tls=certificates.tls(with_client=True))
        await store.commit([Put("/mgr/k", "1")])
        with pytest.raises(AccessDeniedError, match="/theirs"):
            await store.commit([Put("/theirs", "1")])


async def test_a_user_logs_in_and_may_do_what_is_his(connect, guarded):
    """Beyond his range he is refused, with the key; so is a wrong password, and nobody."""
    etcd, tls, _ = guarded
    store = connect(etcd.endpoints, tls=tls, login=LOGIN)

    await store.commit([Put("/mgr/k", "1")], timeout_s=5)
    assert (await store.get("/mgr/k")).value == "1"

    with pytest.raises(AccessDeniedError, match="/theirs"):
        await store.get("/theirs")
    wrong = connect(etcd.endpoints, tls=tls, login=EtcdLogin("mgr", "guessed"))
    with pytest.raises(AccessDeniedError, match="log in as 'mgr'") as refused:
        await wrong.get("/mgr/k", timeout_s=5)
    assert "guessed" not in str(refused.value)
    with pytest.raises(AccessDeniedError, match="wants a login"):
        await connect(etcd.endpoints, tls=tls).get("/mgr/k")


async def test_status_needs_no_right_but_that_on_the_prefix(
    connect, etcd_program, etcd_directory, caplog
):
    """The version is unknown then, which one line says, and the rest is known."""
    caplog.set_level("INFO")
    with secured(etcd_directory, users=True) as etcd:
        store = connect(etcd.endpoints, login=LOGIN, identity=StoreIdentity(probe_key="/mgr/k"))
        status = await store.status(timeout_s=5)
        again = await store.status(timeout_s=5)

        assert (status.version, again.version) == ("", "")
        assert status.revision >= 1
        assert status.cluster_id == store.identity.cluster_id != 0
        [member] = await store.members(timeout_s=5)
        assert (member.reachable, member.error, member.version) == (True, DENIED, "")
        assert member.latency_ms > 0
    lines = [record for record in caplog.records if "etcd version unknown" in record.message]
    assert len(lines) == 1


async def test_an_ended_token_is_not_felt(connect, guarded):
    """Writes, leases and feeds go on across several lives of a token."""
    etcd, tls, _ = guarded
    store = connect(etcd.endpoints, tls=tls, login=LOGIN, timeout_s=5)
    lease = (await store.grant(30)).lease
    async with Reader(store.follow("/mgr/")) as reader:
        for number in range(2):
            await store.commit([Put(f"/mgr/{number}", "", lease)])
            first_token = store._channel._login.token
            await asyncio.sleep(2.5)  # etcd looks for ended tokens once a second
        await store.commit([Put("/mgr/2", "", lease)])
        await store.renew(lease)
        await reader.until(lambda: len(reader.known) == 3)
        assert store._channel._login.token != first_token
        assert reader.count(Listed) == 1


async def test_many_calls_that_find_the_token_ended_log_in_once(connect, guarded):
    """Each login costs etcd a password hash and a write."""
    etcd, tls, _ = guarded
    store = connect(etcd.endpoints, tls=tls, login=LOGIN, timeout_s=5)
    logins = []
    session = store._channel._login
    authenticate = session._authenticate

    async def counted(*arguments):
        logins.append(arguments)
        return await authenticate(*arguments)

    session._authenticate = counted
    await store.get("/mgr/k")
    await asyncio.sleep(2.5)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(store.get("/mgr/k"))
    assert len(logins) == 2


async def test_changed_users_are_not_felt(connect, guarded):
    """Etcd then calls what the token stands for old; the next one is taken."""
    etcd, tls, certificates = guarded
    store = connect(etcd.endpoints, tls=tls, login=LOGIN, timeout_s=5)
    async with Reader(store.follow("/mgr/")) as reader:
        await store.commit([Put("/mgr/1", "")])
        with Administrator(etcd, certificates) as root:
            await asyncio.get_running_loop().run_in_executor(None, root.change_users)
        await store.commit([Put("/mgr/2", "")])
        await reader.until(lambda: len(reader.known) == 2)


async def test_a_restarted_etcd_that_forgot_its_tokens_is_not_felt(connect, guarded):
    """They live in its memory. Feeds log in again, too."""
    etcd, tls, _ = guarded
    store = connect(etcd.endpoints, tls=tls, login=LOGIN, timeout_s=8)
    async with Reader(store.follow("/mgr/")) as reader:
        await store.commit([Put("/mgr/1", "")])
        etcd.kill()
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        etcd.start()
        await store.commit([Put("/mgr/2", "")])
        await reader.until(lambda: len(reader.known) == 2)
        await reader.until(lambda: isinstance(reader.news[-1], Current))


async def test_a_feed_that_is_refused_says_why(connect, guarded):
    """Again and again, with pauses, until an operator has acted."""
    etcd, tls, _ = guarded
    store = connect(etcd.endpoints, tls=tls, login=LOGIN)
    async with Reader(store.follow("/theirs/")) as reader:
        assert isinstance(reader.news[0], Interrupted)
        assert "permission denied" in reader.news[0].why


async def test_a_login_where_nobody_is_asked_does_no_harm(connect, etcd):
    """The operator may turn users on later."""
    store = connect(etcd.endpoints, login=LOGIN)
    await store.commit([Put("/login/k", "")])


async def test_users_that_are_turned_on_under_a_running_manager_are_not_felt(
    connect, etcd_program, etcd_directory
):
    """It logged in while nobody was asked, and has no token to forget. Feeds go on, too."""
    with secured(etcd_directory, users=False) as etcd:
        store = connect(etcd.endpoints, login=LOGIN, timeout_s=5)
        lease = (await store.grant(30)).lease
        async with Reader(store.follow("/mgr/")) as reader:
            await store.commit([Put("/mgr/1", "", lease)])
            assert store._channel._login.token == ""
            with Administrator(etcd, None) as root:
                await asyncio.get_running_loop().run_in_executor(None, root.enable_users)

            await store.commit([Put("/mgr/2", "", lease)])
            await store.renew(lease)
            await reader.until(lambda: len(reader.known) == 2)


def test_a_certificate_file_that_is_missing_is_named(tmp_path):
    """At the start, not at the first request."""
    with pytest.raises(InvalidSettingError, match=r"none\.pem"):
        Tls.read(str(tmp_path / "none.pem"), purpose="TLS to etcd")


def test_secrets_are_not_printed():
    """Neither key nor password stands in a log of the settings."""
    assert USER[1] not in repr(LOGIN)
    assert "private" not in repr(Tls(b"ca", b"cert", b"private"))
