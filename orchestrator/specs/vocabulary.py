"""Answers to words that are none of ours: not built yet, another tool's, or mistyped."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from orchestrator.specs.mistakes import value_text
from orchestrator.specs.words import (
    NOT_BUILT_KEYS,
    NOT_BUILT_VALUES,
    OTHER_METRICS,
    OTHER_SPACE_WORDS,
    OTHER_WORDS,
)

SPACE_WORDS = ("grid", "choice", "uniform", "loguniform", "randint")

_MOST_LISTED = 12
"""Words that a message lists before it names the command that lists them all."""

_KINDS_OF_WORD: Mapping[str, str] = {
    "data.dataset": "data set",
    "model.architecture": "architecture",
    "loss.name": "loss",
    "optimizer.name": "optimizer",
    "schedule.name": "schedule",
    "search.algorithm": "algorithm",
    "search.metric": "metric that a run reports",
    "training.early_stopping.metric": "metric that a run reports",
}


def not_built(key: str) -> str | None:
    """Say that a key is not built yet, and what to do meanwhile; None for any other key."""
    advice = NOT_BUILT_KEYS.get(key, NOT_BUILT_KEYS.get(f"{key.partition('.')[0]}.*"))
    if advice is None or key == key.partition(".")[0]:
        return None
    return f"not built yet; {advice}" if advice else "not built yet"


def explain_unknown_key(key: str, known: Collection[str]) -> tuple[str, str]:
    """Say what is wrong with a key that no section has.

    Args:
        key: Dotted, as it was written.
        known: Every key there is, dotted, sections too.

    Returns:
        The message, and the key that was probably meant ("" where none comes near).
    """
    unbuilt = not_built(key)
    if unbuilt:
        return unbuilt, ""
    section, _, word = key.rpartition(".")
    if word in SPACE_WORDS and section:
        return f"a search space stands in place of a value, not of the section {section!r}", ""
    siblings = {name.rpartition(".")[2]: name for name in known if _parent(name) == section}
    near = get_close_matches(word, siblings, n=1, cutoff=0.75)
    if near:
        return f"no such key; did you mean {near[0]!r}?", siblings[near[0]]
    elsewhere = [name for name in known if name.rpartition(".")[2] == word]
    elsewhere += [name for name in NOT_BUILT_KEYS if name.rpartition(".")[2] == word]
    meant = OTHER_WORDS.get(word) or (elsewhere[0] if len(elsewhere) == 1 else "")
    if meant:
        later = ", which is not built yet" if not_built(meant) else ""
        return f"that is {meant!r} here{later}", meant
    return _guess(key, siblings, known)


def _guess(key: str, siblings: Mapping[str, str], known: Collection[str]) -> tuple[str, str]:
    word = key.rpartition(".")[2]
    near = get_close_matches(word, siblings, n=1)
    near += [sibling for sibling in siblings if word in sibling]
    if near:
        return f"no such key; did you mean {near[0]!r}?", siblings[near[0]]
    lasts = {name.rpartition(".")[2]: name for name in known}
    far = get_close_matches(word, lasts, n=1, cutoff=0.75)
    if far:
        return f"no such key; did you mean {lasts[far[0]]!r}?", lasts[far[0]]
    return (
        f"no such key; keys here are {', '.join(siblings)}" if siblings else "no such key",
        "",
    )


def explain_wrong_word(key: str, value: object, options: Sequence[object]) -> str:
    """Say what is wrong with a value that is none of the listed ones."""
    allowed = [value_text(option) for option in options]
    listed = f"use {_one_of(allowed)}"
    if len(allowed) > _MOST_LISTED:
        listed = f"`orchestrator schema` lists all {len(allowed)}"
    if not isinstance(value, str):
        return f"must be {_one_of(allowed)} (got {value_text(value)})"
    if value.lower() in NOT_BUILT_VALUES.get(key, "").split():
        return f"{value!r} is not built yet; {listed}"
    kind = _KINDS_OF_WORD.get(key)
    if kind is None:
        return f"must be {_one_of(allowed)} (got {value!r})"
    near = get_close_matches(value.lower(), [str(option) for option in options], n=1)
    if key.endswith(".metric") and value in OTHER_METRICS:
        near = [OTHER_METRICS[value]]
    advice = f"did you mean {near[0]!r}?" if near else listed
    return f"no such {kind} (got {value!r}); {advice}"


def is_space_map(words: Collection[str]) -> bool:
    """Say whether a map with these words is meant as a search space."""
    return any(word in SPACE_WORDS for word in words)


def explain_wrong_space(words: Sequence[str]) -> str:
    """Say what is wrong with a map that stands in place of a value; "" where it is a space."""
    if len(words) == 1 and words[0] in SPACE_WORDS:
        return ""
    spaces = [word for word in words if word in SPACE_WORDS]
    if spaces:
        return f"a search space is a map with one key (got {', '.join(words)})"
    for word in words[:1]:
        near = get_close_matches(word, SPACE_WORDS, n=1)
        meant = OTHER_SPACE_WORDS.get(word) or (near[0] if near else "")
        if meant:
            return f"no such search space (got {word!r}); did you mean {meant!r}?"
    return "must be a value, or a search space such as {grid: [...]} (got a map)"


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _parent(key: str) -> str:
    return key.rpartition(".")[0]
