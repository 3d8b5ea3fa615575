"""Who drives a search, as far as an object store can tell: a sign of life, renewed.

The lock in a search's folder tells of this working copy alone. Each driver also leaves a file
in the store, first, and then looks for those of others: of two that begin at once, each may
give way, but never do both go on.
"""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from orchestrator.errors import InfeasibleError
from orchestrator.tracking.object_store import ObjectStore
from orchestrator.tracking.owner import describe_owner

_FOLDER: Final = ".drivers"
"""In a search's folder in the store: a file for each driver, named by a token."""
_EVERY_S: Final = 20.0
_GONE_S: Final = 120.0
"""After this time without a sign of life a driver counts as gone."""


class Presence:
    """This process's sign of life.

    Args:
        store: Where the search is kept.
        search: Its folder there, `name/number`.
    """

    def __init__(self, store: ObjectStore, search: str) -> None:
        self._store = store
        self._search = search
        self._folder = f"{search}/{_FOLDER}"
        self._own = f"{self._folder}/{uuid4().hex}"
        self._renewed = 0.0

    def enter(self) -> None:
        """Say that this process drives the search.

        Raises:
            InfeasibleError: Another does, or the store cannot be written.
        """
        self.renew()
        ages = self._store.find_ages(self._folder, now=self._own)
        for name, age in ages.items():
            if name == self._own:
                continue
            owner: dict[str, Any] = json.loads(self._store.read_text(name))
            if age > _GONE_S or _has_ended(owner):
                self._store.delete(name)
                continue
            self.leave()
            label = self._search.replace("/", "#")
            raise InfeasibleError(
                f"{label}: a process on {owner['host']} drives it, seen {age:.0f} s ago; wait "
                f"for it, or {_GONE_S:.0f} s if that machine is gone"
            )

    def renew(self) -> None:
        """Say it again, if it is some time ago; called now and then."""
        if not self._renewed or time.monotonic() - self._renewed > _EVERY_S:
            self._store.put_text(self._own, json.dumps(describe_owner()))
            self._renewed = time.monotonic()

    def leave(self) -> None:
        """Drive it no more; a store that is gone forgets it by itself."""
        with suppress(InfeasibleError):
            self._store.delete(self._own)


def _has_ended(owner: dict[str, Any]) -> bool:
    """Whether a process of this very machine, by name and boot, is not there any more."""
    here = describe_owner()
    is_here = owner["boot"] == here["boot"] != "" and owner["host"] == here["host"]
    return bool(is_here and not Path(f"/proc/{owner['pid']}").exists())
