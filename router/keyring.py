"""Who asks: API keys as a replica knows them, from the registry and never older than a moment."""

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace

from registry.errors import StorageError
from registry.keys import Key, Keys, key_id
from registry.quota import UNLIMITED, Quota
from registry.scopes import Scope
from router.errors import Unauthorized
from router.pool import Pool

FRESH_SECONDS = 2.0
"""How long a replica goes by what it read of a key; revoked ones are refused after it."""
KNOWN = 10_000
"""Keys that are remembered at once."""
SCHEME = "bearer"
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        owner: Whose specialists they see and may change; None for everybody's.
        scopes: What they may do.
        key: The id of their key; None where none is needed.
        quota: How much they may do.
        is_absent: Whether nobody waits for what is asked.
    """

    owner: str | None
    scopes: frozenset[Scope]
    key: str | None = None
    quota: Quota = UNLIMITED
    is_absent: bool = False

    @property
    def tenant(self) -> str | None:
        """With whom they share what can be computed: others of the same owner who wait as well."""
        return f"{self.owner or ''} (absent)" if self.is_absent else self.owner

    def may(self, scope: Scope) -> bool:
        """Whether they may do something."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


ANYONE = Caller(None, frozenset(Scope))


class Keyring:
    """Tells who asks by the `Authorization` header. For one event loop."""

    def __init__(self, keys: Keys, reading: Pool, *, opens: bool = True) -> None:
        """Look keys up in `keys`, in the threads of `reading`.

        Args:
            keys: What was made and revoked.
            reading: Threads for the registry.
            opens: Whether everybody is let in while no key was ever made.
        """
        self._keys = keys
        self._reading = reading
        self._is_closed = not opens
        self._looked = NEVER
        self._known: dict[str, tuple[float, Key | None]] = {}

    async def learn(self) -> None:
        """Know the newest keys already, those that are asked with while the registry is away.

        Raises:
            StorageError: The registry cannot be read.
        """
        for key in reversed(await self._reading.run(self._keys.list, KNOWN)):
            self._remember(key.id, key)
        await self.closed()

    async def closed(self) -> bool:
        """Whether a key is needed; once one is, it always is."""
        if not self._is_closed and _is_old(self._looked):
            with _away(self._looked):
                self._is_closed = await self._reading.run(self._keys.any)
            self._looked = time.monotonic()
        return self._is_closed

    async def caller(self, authorization: str | None) -> Caller:
        """Who sent this header.

        Raises:
            Unauthorized: A key is needed, and this is none, or one that is no longer valid.
            StorageError: The registry cannot be read.
        """
        if not await self.closed():
            return ANYONE
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != SCHEME or not text.strip():
            raise Unauthorized("Send an API key: 'Authorization: Bearer mk_…'.")
        key = await self._find(key_id(text.strip()))
        if key is None or not key.fits(text.strip()):
            raise _unknown()
        return _caller(key)

    async def absent(self, identity: str | None) -> Caller:
        """Who asked with a key, by its id; None for somebody who needed none.

        Raises:
            Unauthorized: A key is needed, and this is none, or one that is no longer valid.
            StorageError: The registry cannot be read.
        """
        if not await self.closed():
            return replace(ANYONE, is_absent=True)
        key = await self._find(identity)
        if key is None:
            raise _unknown()
        return replace(_caller(key), is_absent=True)

    async def _find(self, identity: str | None) -> Key | None:
        if identity is None:
            return None
        read, key = self._known.get(identity, (NEVER, None))
        if _is_old(read):
            with _away(read):
                key = await self._reading.run(self._keys.find, identity)
            self._remember(identity, key)
        return key

    def _remember(self, identity: str, key: Key | None) -> None:
        self._known.pop(identity, None)
        if len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]
        self._known[identity] = (time.monotonic(), key)


def _caller(key: Key) -> Caller:
    if not key.is_valid:
        raise Unauthorized("This API key was revoked or has expired; ask for another one.")
    owner = None if Scope.ADMIN in key.scopes else key.owner
    return Caller(owner, key.scopes, key.id, key.quota)


def _unknown() -> Unauthorized:
    return Unauthorized("This API key is not known here; ask whoever runs the server.")


def _away(read: float) -> AbstractContextManager[None, bool | None]:
    """Who could be let in a moment ago still can be while the registry is away."""
    return suppress(StorageError) if read > NEVER else nullcontext()


def _is_old(read: float) -> bool:
    return time.monotonic() - read > FRESH_SECONDS
