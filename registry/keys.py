"""API keys: who may ask, for what, and as whom. Of a key itself only a hash is kept."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from registry import audit
from registry.clock import aware, now
from registry.database import Database
from registry.errors import InvalidInput, UnknownKey
from registry.identities import drawn
from registry.quota import UNLIMITED, Quota, read
from registry.reference import NAME
from registry.scopes import Scope
from registry.tables import keys

_TEXT = re.compile(r"mk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SECRET_BYTES = 32
_MAX_NAME = 200
_MAX_LIST = 1000


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of an API key; times are in UTC.

    Attributes:
        owner: whose specialists it sees and changes; None for all owners'.
        expires: from when on it is refused; None for never.
        revoked: since when it is refused, if it is.
    """

    id: str
    name: str
    owner: str | None
    scopes: frozenset[Scope]
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    hash: str = field(repr=False)
    quota: Quota = UNLIMITED

    @property
    def is_valid(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or datetime.now(UTC) < self.expires)

    def fits(self, text: str) -> bool:
        """Whether this is the key that was handed out."""
        return hmac.compare_digest(self.hash, _hash(text))


class Keys:
    """The keys of a registry. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def any(self) -> bool:
        """Whether a key was ever made: from then on everything needs one."""
        with self._database.read() as connection:
            return connection.scalar(select(keys.c.id).limit(1)) is not None

    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        owner: str | None = None,
        expires: datetime | None = None,
        quota: Quota = UNLIMITED,
    ) -> tuple[Key, str]:
        """Make a key.

        Args:
            name: what it is for, for people.
            scopes: what it may be used for.
            owner: whose specialists it sees and changes; needed unless it is an admin's.
            expires: from when on it is refused; None for never.
            quota: how much may be done with it.

        Returns:
            What is known of it, and the key itself, which cannot be had again.

        Raises:
            InvalidInput: a part of it cannot be used; the message says which.
        """
        _check(name, scopes, owner, expires)
        identity = drawn(12, _ID_LETTERS)
        text = f"mk_{identity}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        held, hashed = frozenset(scopes), _hash(text)
        made = Key(identity, name, owner, held, _utc_now(), expires, None, hashed, quota)
        with self._database.write() as connection:
            connection.execute(insert(keys).values(_row(made)))
            shown = {"key": identity, "owner": owner, "scopes": sorted(held), "quota": quota.set}
            audit.note(connection, audit.KEY_MADE, "", **shown)
        return made, text

    def find(self, identity: str) -> Key | None:
        """A key by its id, valid or not."""
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.id == identity)).one_or_none()
        return None if row is None else _key(row)

    def list(self, limit: int = _MAX_LIST) -> list[Key]:
        """The keys, the latest first, revoked and expired ones too."""
        statement = select(keys).order_by(keys.c.created.desc(), keys.c.id).limit(limit)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(statement)]

    def revoke(self, identity: str) -> Key:
        """Refuse a key from now on.

        Raises:
            UnknownKey: there is none of this id.
        """
        row = keys.c.id == identity
        with self._database.write() as connection:
            found = connection.execute(select(keys).where(row)).one_or_none()
            if found is None:
                raise UnknownKey(identity)
            if found.revoked is None:
                connection.execute(update(keys).where(row).values(revoked=now()))
                audit.note(connection, audit.KEY_REVOKED, "", key=identity)
            return _key(connection.execute(select(keys).where(row)).one())


def key_id(text: str) -> str | None:
    """The id that a key carries; None for a text that is no key."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else None


def _hash(text: str) -> str:
    # The secret is 256 random bits: nothing is gained by making its hash slow.
    return hashlib.sha256(text.encode()).hexdigest()


def _check(
    name: str, scopes: Collection[Scope], owner: str | None, expires: datetime | None
) -> None:
    if not 0 < len(name) <= _MAX_NAME:
        message = f"Give the key a name of at most {_MAX_NAME} characters."
        raise InvalidInput(message, "name", "invalid_name")
    if not scopes:
        raise InvalidInput("Say what the key is for, such as 'infer'.", "scopes", "invalid_scopes")
    if owner is None and Scope.ADMIN not in scopes and set(scopes) != {Scope.METRICS}:
        message = "Say whose specialists the key is for; only an admin's key is for all."
        raise InvalidInput(message, "owner", "owner_missing")
    if owner is not None and not re.fullmatch(NAME, owner):
        message = f"{owner[:64]!a} cannot own specialists: write a-z, 0-9, '.', '_' and '-'."
        raise InvalidInput(message, "owner", "invalid_owner")
    if expires is not None and expires <= datetime.now(UTC):
        raise InvalidInput("The key would have expired already.", "expires", "invalid_expiry")


def _utc_now() -> datetime:
    return now().replace(tzinfo=UTC)


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "scopes": " ".join(sorted(key.scopes)),
        "created": _plain(key.created),
        "expires": _plain(key.expires),
        "hash": key.hash,
        "quota": key.quota.written(),
    }


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        owner=row.owner,
        scopes=frozenset(map(Scope, row.scopes.split())),
        created=aware(row.created),
        expires=aware(row.expires),
        revoked=aware(row.revoked),
        hash=row.hash,
        quota=read(row.quota),
    )


def _plain(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
