"""YAML text -> ExperimentSpec; every mistake of it in one pass, each with its place.

Four steps: read (files, `extends`, overrides), take apart (keys, search spaces, paths), check
each value where it stands, check what holds between keys.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.specs.checking import check_reading
from orchestrator.specs.dump import dump_yaml
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.files import SpecReader
from orchestrator.specs.merge import merge, parse_overrides
from orchestrator.specs.mistakes import Mistakes
from orchestrator.specs.nodes import MapNode
from orchestrator.specs.reading import read_tree
from orchestrator.specs.replaced import drop_replaced


def load_spec(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> ExperimentSpec:
    """Load an experiment file, or a map of the same form.

    Args:
        source: Path of the YAML file, or the map; paths in a map are relative to the current
            folder.
        overrides: `key.sub=value`, the value as YAML; the last one wins.

    Raises:
        SpecError: The spec has mistakes; all of them are listed.
    """
    mistakes = Mistakes()
    reader = SpecReader(mistakes)
    if isinstance(source, Mapping):
        name, file_tree = "<dict>", reader.read_map(source)
    else:
        name, file_tree = str(source), reader.read_file(str(source))
    tree = file_tree
    for override in parse_overrides(overrides, mistakes):
        tree = merge(tree, override)
    reading = read_tree(MapNode(tree.entries, file_tree.position), mistakes)
    notes = drop_replaced(reading, read_tree(file_tree, Mistakes())) if overrides else ()
    keys, spaces, idle = check_reading(reading, mistakes)
    return ExperimentSpec(
        keys=keys,
        spaces=spaces,
        source=name,
        text=dump_yaml(reading.written),
        notes=(*notes, *idle),
        places={key: str(position) for key, position in reading.positions.items() if key},
        folders={key: place.source.folder for key, place in reading.positions.items()},
    )
