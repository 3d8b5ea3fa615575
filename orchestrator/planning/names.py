"""How settings and runs are called: by what differs, by the key's last part."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.planning.run_plan import Scalar

_LONGEST = 100


def shorten_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """Each dotted key by its last part, in full where two last parts are equal."""
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    return tuple(last if lasts[last := key.rpartition(".")[2]] == 1 else key for key in keys)


def word_value(value: Scalar) -> str:
    """A value as it is printed: `0.05`, `true`, `null`, `adamw`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def word_setting(setting: Mapping[str, Scalar], *, separator: str = " ") -> str:
    """`label_smoothing=0.1 lr=0.05`; empty for a setting without searched keys."""
    names = shorten_keys(list(setting))
    return separator.join(
        f"{name}={word_value(value)}"
        for name, value in zip(names, setting.values(), strict=True)
    )


def name_setting(setting: Mapping[str, Scalar]) -> str:
    """The setting as it stands in a run's name: `label_smoothing=0.1,lr=0.05`."""
    return word_setting(setting, separator=",")


def name_runs(runs: Iterable[tuple[Mapping[str, Scalar], int]]) -> list[str]:
    """A folder name for each (setting, seed), distinct, such as `label_smoothing=0.1,seed=2`.

    Letters that a file system may refuse become `_`; long names and names that would coincide
    end in a digest of the setting.
    """
    pairs = list(runs)
    plain = [
        re.sub(
            r"[^\w.=,+-]", "_", ",".join(filter(None, [name_setting(setting), f"seed={seed}"]))
        )
        for setting, seed in pairs
    ]
    counts = Counter(plain)
    return [
        name
        if counts[name] == 1 and len(name) <= _LONGEST
        else f"{name[:_LONGEST]}-{_digest(setting)},seed={seed}"
        for name, (setting, seed) in zip(plain, pairs, strict=True)
    ]


def _digest(setting: Mapping[str, Scalar]) -> str:
    return hashlib.sha256(repr(sorted(setting.items())).encode()).hexdigest()[:8]
