"""Certificates and passwords of modules' services, made and checked."""

from datetime import UTC, datetime, timedelta

import pytest

import mgr_util
from mgr.module_api.mgr_util import optional_import, tls
from mgr.module_api.mgr_util.address import ServerConfigException


@pytest.fixture(scope="module")
def pair():
    """A certificate and its key."""
    return tls.create_self_signed_cert("Rome", "hello")


def test_a_certificate_made_here_is_good_for_years_and_fits_its_key(pair):
    """It says who issued it: itself."""
    certificate, key = pair

    assert tls.verify_tls(certificate, key) == tls.certificate_days_to_expire(certificate) == 3649
    assert tls.get_cert_issuer_info(certificate) == ("Rome", "hello")


def test_a_subject_may_say_more_but_nothing_that_no_certificate_has():
    """The fields are listed."""
    made, _ = tls.create_self_signed_cert(dname={"C": "IT", "O": "Rome", "CN": "x"})

    assert tls.get_cert_issuer_info(made) == ("Rome", "x")
    with pytest.raises(ValueError, match="Valid DNAME fields are C, ST, L"):
        tls.create_self_signed_cert(dname={"shoe": "43"})


def test_certificates_and_keys_may_be_bytes(pair):
    """As ceph-mgr's libraries make them."""
    certificate, key = pair
    _, other = tls.create_self_signed_cert()

    assert tls.verify_tls(certificate, key.encode()) == 3649
    assert tls.verify_tls(certificate.encode(), key) == 3649
    assert tls.get_cert_issuer_info(certificate.encode()) == tls.get_cert_issuer_info(certificate)
    with pytest.raises(ServerConfigException, match="do not match up"):
        tls.verify_tls(certificate, other.encode())
    with pytest.raises(ServerConfigException, match="Invalid private key"):
        tls.verify_tls(certificate, b"\xff")


def test_a_key_of_another_certificate_is_refused(pair):
    """Before a server is started that nobody could talk to."""
    certificate, _ = pair
    _, other = tls.create_self_signed_cert()

    with pytest.raises(ServerConfigException, match=r"Invalid cert/key pair: .* do not match up"):
        tls.verify_tls(certificate, other)
    with pytest.raises(ServerConfigException, match="Invalid private key"):
        tls.verify_tls(certificate, "none")
    with pytest.raises(ServerConfigException, match="Invalid certificate"):
        tls.verify_tls("none", other)


def test_a_certificate_that_ran_out_is_refused(pair, monkeypatch):
    """With the name of whoever issued it and when it ended."""

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz or UTC) + timedelta(days=4000)

    monkeypatch.setattr(tls, "datetime", Later)

    with pytest.raises(ServerConfigException, match='issued by "Rome/hello" expired on'):
        tls.certificate_days_to_expire(pair[0])


def test_files_are_checked_for_what_is_in_them(pair, tmp_path):
    """What is not configured or not there is said in other words."""
    certificate, key = tmp_path / "crt.pem", tmp_path / "key.pem"
    certificate.write_text(pair[0])
    key.write_text(pair[1])

    assert tls.verify_tls_files(str(certificate), str(key)) == 3649
    tls.verify_cacrt(str(certificate))
    with pytest.raises(ServerConfigException, match="no certificate configured"):
        tls.verify_tls_files("", str(key))
    with pytest.raises(ServerConfigException, match=r"private key .*none does not exist"):
        tls.verify_tls_files(str(certificate), str(tmp_path / "none"))
    with pytest.raises(ServerConfigException, match="CA cert not configured"):
        tls.verify_cacrt("")
    with pytest.raises(ServerConfigException, match="does not exist"):
        tls.verify_cacrt(str(tmp_path / "none"))
    with pytest.raises(ServerConfigException, match="Invalid certificate"):
        tls.verify_cacrt(str(key))
    certificate.write_bytes(b"\xff")
    with pytest.raises(ServerConfigException, match="is no PEM"):
        tls.verify_tls_files(str(certificate), str(key))


def test_a_file_with_both_is_taken_apart(pair):
    """In whichever order, a chain as a whole; what is not in it is None."""
    certificate, key = (text.strip() for text in pair)

    assert tls.parse_combined_pem_file(f"{key}\n{certificate}\n") == (certificate, key)
    chain = f"{certificate}\n{certificate}"
    assert tls.parse_combined_pem_file(f"{chain}\n{key}") == (chain, key)
    assert tls.parse_combined_pem_file(certificate) == (certificate, None)
    assert tls.parse_combined_pem_file("") == (None, None)


def test_a_hash_is_that_of_the_library(monkeypatch):
    """Made with the salt of an earlier hash, so that the two can be compared."""

    class Bcrypt:
        @staticmethod
        def gensalt():
            return b"salt"

        @staticmethod
        def hashpw(password, salt):
            return salt + b"/" + password

    monkeypatch.setattr(tls, "library", lambda *_: Bcrypt)

    assert mgr_util.password_hash("secret") == "salt/secret"
    assert mgr_util.password_hash("secret", "before") == "before/secret"
    assert mgr_util.password_hash("") is None


def test_a_library_that_is_not_there_is_named_at_its_first_use():
    """Not when the name is imported: most modules need none of it."""
    with pytest.raises(ImportError, match="password_hash needs the Python package 'no_such'"):
        optional_import.library("no_such.part", "password_hash")


def test_a_warning_of_a_command_says_that_it_is_one():
    """It is a text like any other."""
    assert mgr_util.CLIWarning("it is slow") == "WARNING: it is slow"
