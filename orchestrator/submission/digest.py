"""Is what runs on a cluster what lies here? Two digests, of code and experiment.

`ray submit` runs what the head has, which is what was last synced. Files that were removed here
stay there, too.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import yaml

from orchestrator.errors import SpecError
from orchestrator.sources import digest_package, trace_sources
from orchestrator.specs.expand import expand_path
from orchestrator.specs.load import load_spec

_DIGITS: Final = 8


def digest_experiment(path: str) -> str:
    """Digests of our code, and of an experiment's files with the own modules that they name.

    Args:
        path: Of the experiment file.

    Returns:
        Eight hexadecimal digits each, joined by a minus.

    Raises:
        SpecError: It is no experiment.
    """
    spec = load_spec(path)
    digest = hashlib.sha256()
    for name, file in {**_read_files(Path(path)), **trace_sources(spec)}.items():
        content = file.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    code = digest_package("orchestrator")[:_DIGITS]
    return f"{code}-{digest.hexdigest()[:_DIGITS]}"


def check_digest(path: str, expected: str) -> None:
    """Refuse to run something else than was expected.

    Raises:
        SpecError: Says what differs, and how to bring it up to date.
    """
    here = digest_experiment(path)
    if here == expected:
        return
    code, _, _ = here.partition("-")
    wanted, _, _ = expected.partition("-")
    differs = "orchestrator's code" if code != wanted else "the experiment"
    raise SpecError(
        [
            f"{path}: {differs} is not what was expected ({here} on this machine, "
            f"expected {expected}); `ray rsync-up` copies what is new; where files were "
            f"removed or renamed, remove {Path.cwd()} first"
        ]
    )


def _read_files(path: Path) -> dict[str, Path]:
    """An experiment file and those that it extends, the file itself first."""
    found: dict[str, Path] = {}
    waiting = [path.absolute()]
    while waiting:
        file = waiting.pop(0)
        if file in found.values():
            continue
        found[f"{len(found)}"] = file
        # It was read before, by a stricter reader.
        tree: Any = yaml.safe_load(file.read_text())
        named = tree.get("extends", [])
        others = named if isinstance(named, list) else [named]
        waiting.extend(Path(expand_path(other, file.parent)) for other in others)
    return found
