"""Every etcd key of a cluster. No other file spells a key.

All keys are under ``/mgr/<cluster>/``. Lifetimes and values: docs/explanation/architecture.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mgr.errors import InvalidSettingError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""Valid names of clusters, managers and modules: they become parts of keys."""


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it may be part of a key.

    Raises:
        InvalidSettingError: It may not; the message contains ``kind``, such as "cluster".

    """
    if not NAME.fullmatch(name):
        raise InvalidSettingError(
            f"{kind} {name!r}: use 1 to 63 of A-Z a-z 0-9 _ . - and begin with a letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one cluster."""

    cluster: str

    def __post_init__(self) -> None:
        check_name("cluster", self.cluster)

    @property
    def root(self) -> str:
        """Prefix of all keys of this cluster."""
        return f"/mgr/{self.cluster}/"

    @property
    def leader(self) -> str:
        """The leader key. Its create revision is the term. On the node lease of the active."""
        return f"{self.root}leader"

    @property
    def term_record(self) -> str:
        """How the last term ended; written in the transaction that deletes ``leader``."""
        return f"{self.root}term_record"

    @property
    def leadership(self) -> str:
        """Prefix of the history of leadership."""
        return f"{self.root}leadership/"

    def leadership_of(self, term: int) -> str:
        """Who leads in one term and how the term before ended. Key order is the order of terms."""
        return f"{self.leadership}{term:019d}"

    @property
    def heartbeat(self) -> str:
        """The leader heartbeat: a growing number that the active's guard writes. No lease."""
        return f"{self.root}heartbeat"

    @property
    def proof(self) -> str:
        """A number that the active's *worker* writes, to prove that it too reaches etcd."""
        return f"{self.root}proof"

    @property
    def deposed(self) -> str:
        """Who deposed a silent leader last. Its lease of ten seconds admits one deposition each."""
        return f"{self.root}deposed"

    @property
    def transfer(self) -> str:
        """The requested successor of a hand-over. On a lease of ten seconds."""
        return f"{self.root}transfer"

    @property
    def down(self) -> str:
        """Present while operators have set the managers down; the value is the time since when."""
        return f"{self.root}down"

    @property
    def unled(self) -> str:
        """Prefix of the notes of commands that were executed while no manager led."""
        return f"{self.root}unled/"

    def unled_note(self, name: str) -> str:
        """One such note; the next active writes it to the cluster log and deletes it."""
        return f"{self.unled}{name}"

    @property
    def version(self) -> str:
        """The version of the last leader, which may have written the present data. No lease."""
        return f"{self.root}version"

    @property
    def order(self) -> str:
        """Compared by every fenced write; written to make unanswered writes impossible."""
        return f"{self.root}order"

    @property
    def restore(self) -> str:
        """The digest of the backup that is being restored; absent once it is complete."""
        return f"{self.root}restore"

    @property
    def not_backed_up(self) -> frozenset[str]:
        """Keys that no backup has although they have no lease, or may have none.

        They say who leads now, and which writes of that term are under way.
        """
        return frozenset(
            {
                self.leader,
                self.heartbeat,
                self.proof,
                self.order,
                self.deposed,
                self.transfer,
                self.restore,
            }
        )

    @property
    def managers(self) -> str:
        """Prefix of the managers' presence keys."""
        return f"{self.root}managers/"

    def manager(self, name: str) -> str:
        """Presence key of one manager. On its node lease."""
        return f"{self.managers}{name}"

    @property
    def modules(self) -> str:
        """Prefix of the records of enabled modules."""
        return f"{self.root}modules/"

    def module(self, name: str) -> str:
        """Whether one module is enabled or forced off."""
        return f"{self.modules}{name}"

    @property
    def quarantines(self) -> str:
        """Prefix of the modules that are quarantined."""
        return f"{self.root}quarantine/"

    def quarantine(self, module: str) -> str:
        """Why one module is quarantined; it is not while there is no such key."""
        return f"{self.quarantines}{module}"

    @property
    def module_deaths(self) -> str:
        """Prefix of the deaths of workers that modules caused."""
        return f"{self.root}module_deaths/"

    @property
    def of_quarantines(self) -> tuple[str, str]:
        """The prefixes of what decides whether a module is quarantined."""
        return self.quarantines, self.module_deaths

    def deaths_of(self, module: str) -> str:
        """Prefix of the deaths that one module caused."""
        return f"{self.module_deaths}{module}/"

    @property
    def worker_crashes(self) -> str:
        """Prefix of reports of workers that died, until an active has posted them."""
        return f"{self.root}worker_crashes/"

    def crashes_of(self, manager: str) -> str:
        """Prefix of the reports that one manager wrote."""
        return f"{self.worker_crashes}{manager}/"

    def environment(self, name: str) -> str:
        """The requirements of one module, by their digest, whose libraries each host shall have."""
        return f"{self.root}environments/{name}"

    @property
    def reloads(self) -> str:
        """Prefix of the records of reloaded modules."""
        return f"{self.root}reloads/"

    def reload(self, name: str) -> str:
        """One reloaded module; each reload writes the digest of its files."""
        return f"{self.reloads}{name}"

    @property
    def installed(self) -> str:
        """Prefix of the modules that were installed by command."""
        return f"{self.root}installed/"

    def installed_module(self, name: str) -> str:
        """Which version of one module every manager shall have."""
        return f"{self.installed}{name}"

    @property
    def packages(self) -> str:
        """Prefix of the packages of installed modules."""
        return f"{self.root}packages/"

    def package(self, digest: str) -> str:
        """Prefix of the chunks of one package, named by its SHA-256."""
        return f"{self.packages}{digest}/"

    def package_chunk(self, digest: str, number: int) -> str:
        """One chunk of a package. Key order is the order of chunks."""
        return f"{self.package(digest)}{number:04d}"

    @property
    def config(self) -> str:
        """Prefix of options: ``config/<section>/<option>``. A section holds no slash."""
        return f"{self.root}config/"

    def option(self, section: str, name: str) -> str:
        """One option in one section; ``name`` may hold slashes (``mgr/hello/place``)."""
        return f"{self.config}{section}/{name}"

    @property
    def changes(self) -> str:
        """Prefix of the history of options."""
        return f"{self.root}changes/"

    def change(self, number: int) -> str:
        """One version of the options; key order is the order of numbers."""
        return f"{self.changes}{number:012d}"

    @property
    def seals(self) -> str:
        """Prefix of the data keys that seal secret values."""
        return f"{self.root}seals/"

    def seal(self, data_key: str) -> str:
        """One data key, wrapped by a key that is not in etcd."""
        return f"{self.seals}{data_key}"

    @property
    def kv(self) -> str:
        """Prefix of the key/value store that ``config-key`` shows."""
        return f"{self.root}kv/"

    def entry(self, key: str) -> str:
        """One entry of the key/value store."""
        return f"{self.kv}{key}"

    @property
    def module_entries(self) -> str:
        """Prefix of the modules' own entries."""
        return f"{self.kv}mgr/"

    def module_entry(self, module: str, key: str) -> str:
        """A module's own entry: ``kv/mgr/<module>/<key>``."""
        return f"{self.module_entries}{module}/{key}"

    @property
    def databases(self) -> str:
        """Prefix of the modules' databases."""
        return f"{self.root}databases/"

    def database(self, module: str) -> str:
        """Prefix of a module's database: its head, and the pages that the head lists."""
        return f"{self.databases}{module}/"

    def database_head(self, module: str) -> str:
        """The list of the pages of a module's database."""
        return f"{self.database(module)}head"

    def database_page(self, module: str, page: str) -> str:
        """One page of a module's database. Written once, under a name that is never reused."""
        return f"{self.database(module)}pages/{page}"

    @property
    def services(self) -> str:
        """Prefix of the addresses that modules published."""
        return f"{self.root}services/"

    def service(self, module: str) -> str:
        """The address that a module published with ``set_uri``. On the active's node lease."""
        return f"{self.services}{module}"

    @property
    def mutes(self) -> str:
        """Prefix of muted health checks."""
        return f"{self.root}mutes/"

    def mute(self, code: str) -> str:
        """One muted health check."""
        return f"{self.mutes}{code}"

    @property
    def access(self) -> str:
        """Prefix of capabilities."""
        return f"{self.root}access/"

    def access_of(self, client: str) -> str:
        """The capabilities of one client, as text; ``*`` is for clients without an entry."""
        return f"{self.access}{client}"

    @property
    def authority(self) -> str:
        """The cluster's own CA: its certificate, and its key, encrypted. Written once."""
        return f"{self.root}pki/ca"

    @property
    def join_tokens(self) -> str:
        """Prefix of join tokens."""
        return f"{self.root}pki/tokens/"

    def join_token(self, ident: str) -> str:
        """One join token, without its secret. On a lease of the token's lifetime."""
        return f"{self.join_tokens}{ident}"

    @property
    def protection(self) -> str:
        """Whether the cluster demands authentication, and its first administrator."""
        return f"{self.root}protection"

    @property
    def roles(self) -> str:
        """Prefix of the roles that operators made."""
        return f"{self.root}roles/"

    def role(self, name: str) -> str:
        """The capabilities of one role, as text."""
        return f"{self.roles}{name}"

    @property
    def tokens(self) -> str:
        """Prefix of the records of tokens."""
        return f"{self.root}tokens/"

    def token(self, ident: str) -> str:
        """One token: its name, its end, and the digest of its secret."""
        return f"{self.tokens}{ident}"

    @property
    def maps(self) -> str:
        """Prefix of published maps."""
        return f"{self.root}maps/"

    def map(self, name: str) -> str:
        """One published map; the revision of its last change is its version."""
        return f"{self.maps}{name}"

    @property
    def health(self) -> str:
        """The health checks that were raised when the active last stored them."""
        return f"{self.root}health"

    @property
    def daemons(self) -> str:
        """Prefix of the records of daemons that joined."""
        return f"{self.root}daemons/"

    def daemon(self, name: str) -> str:
        """What the daemon ``<type>.<id>`` reported about itself when it joined."""
        return f"{self.daemons}{name}"

    @property
    def audited_changes(self) -> str:
        """Prefix of the audit's records of changes."""
        return f"{self.root}audit/changes/"

    def audited_change(self, term: int, sequence: int) -> str:
        """One record of a change. Key order is the order of records."""
        return self.audited_changes + self.audit_place(term, sequence)

    @staticmethod
    def audit_place(term: int, sequence: int) -> str:
        """The end of the key of an audit record; text order is the order of records."""
        return f"{term:019d}-{sequence:012d}"

    @property
    def audited_refusals(self) -> str:
        """Prefix of the audit's records of refusals, which have a bound of their own."""
        return f"{self.root}audit/refusals/"

    def audited_refusal(self, term: int, sequence: int) -> str:
        """The refusals of one caller; numbered together with the changes."""
        return self.audited_refusals + self.audit_place(term, sequence)

    @property
    def log_lines(self) -> str:
        """Prefix of the last lines of the cluster log."""
        return f"{self.root}log/"

    def log_line(self, term: int, number: int) -> str:
        """Lines of the cluster log that were stored together. Key order is the order of lines."""
        return f"{self.log_lines}{term:019d}-{number:012d}"

    @property
    def requests(self) -> str:
        """Prefix of the records of mutating commands, started or finished."""
        return f"{self.root}requests/"

    def request(self, request_id: str) -> str:
        """One mutating command: the term it started in, later its result. On a ten-minute lease."""
        return f"{self.requests}{request_id}"

    @property
    def evicted(self) -> str:
        """Prefix of the ids of mutating commands whose results were evicted."""
        return f"{self.root}requests-evicted/"

    def evicted_requests(self, name: str) -> str:
        """Ids, as 64-bit hashes, that were evicted together. On a lease of ten minutes."""
        return f"{self.evicted}{name}"
