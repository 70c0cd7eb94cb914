"""Orders and replies through a launcher's store, which obeys whoever reaches it: each proves that it knows a secret."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

from torch._C._distributed_c10d import Store

from partkit.errors import RankFailedError

_MAC_BYTES = hashlib.sha256().digest_size


class SignedStore:
    """A store whose values carry a code of their key and text under the run's secret."""

    def __init__(self, store: Store, secret: str, run: str) -> None:
        """``run`` names the run: what was told in another under the same secret proves nothing in this one."""
        self._store = store
        self._key = hmac.digest(secret.encode(), run.encode(), "sha256")

    def set(self, key: str, value: str) -> None:
        """Tell a value."""
        self._store.set(key, (self._code(key, value.encode()) + value.encode()).hex())

    def get(self, key: str) -> bytes:
        """A value that has been told. Raises :class:`RankFailedError` for one by who does not know the secret."""
        try:
            told = bytes.fromhex(self._store.get(key).decode())
        except ValueError:
            told = b""
        code, value = told[:_MAC_BYTES], told[_MAC_BYTES:]
        if not hmac.compare_digest(code, self._code(key, value)):
            raise RankFailedError(
                f"{key!r} in the launcher's store is by somebody who does not know this run's PARTKIT_SECRET",
                hint="give all ranks the same one; if they have it, a stranger reaches the store",
            )
        return value

    def check(self, keys: list[str]) -> bool:
        """True where all have been told."""
        return self._store.check(keys)

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        """Block until all have been told."""
        self._store.wait(keys, timeout)

    def _code(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._key, key.encode() + b"\0" + value, "sha256")
