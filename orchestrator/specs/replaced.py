"""Search settings of a file that lost their meaning because an override replaced a space."""

from collections.abc import Iterable

from orchestrator.specs.merge import is_override
from orchestrator.specs.reading import Reading


def drop_replaced(reading: Reading, before: Reading) -> tuple[str, ...]:
    """Drop the settings that no longer apply, and name them in a note for the user.

    In a file such a setting is a mistake; it is not one where `loss.label_smoothing=0.1` on the
    command line turned a search into a single run.

    Args:
        reading: The spec with its overrides; changed in place.
        before: The same spec without them.
    """
    gone = [
        key
        for key in before.spaces
        if key not in reading.spaces and is_override(reading.place_of(key))
    ]
    if not gone:
        return ()
    dropped = [name for name in _list_stale(reading) if _drop(reading, name)]
    dropped += _drop_baseline(reading, gone)
    if not dropped:
        return ()
    sources = " and ".join(dict.fromkeys(reading.place_of(key).source.name for key in gone))
    return (f"{sources} replaced a search space; no longer used: {', '.join(dropped)}",)


def _list_stale(reading: Reading) -> list[str]:
    words = {word for word, _ in reading.spaces.values()}
    if not words:
        return ["search.algorithm", "search.num_trials"]
    if words != {"grid"}:
        return []
    algorithm = reading.values.get("search", {}).get("algorithm")
    return [*(["search.algorithm"] if algorithm == "random" else []), "search.num_trials"]


def _drop(reading: Reading, key: str) -> bool:
    name = key.rpartition(".")[2]
    if name not in reading.values.get("search", {}) or is_override(reading.place_of(key)):
        return False
    del reading.values["search"][name]
    del reading.written["search"][name]
    return True


def _drop_baseline(reading: Reading, gone: list[str]) -> list[str]:
    """Drop the values of keys that are searched no longer; return their names, dotted."""
    dropped = []
    for name in list(reading.baseline or ()):
        is_stale = _names_any(name, gone) and not _names_any(name, reading.spaces)
        key = f"search.baseline.{name}"
        if reading.baseline and is_stale and not is_override(reading.place_of(key)):
            del reading.baseline[name]
            dropped.append(key)
    if dropped and not reading.baseline:
        reading.baseline = None
        del reading.written["search"]["baseline"]
    return dropped


def _names_any(name: str, keys: Iterable[str]) -> bool:
    return any(name in (key, key.rpartition(".")[2]) for key in keys)
