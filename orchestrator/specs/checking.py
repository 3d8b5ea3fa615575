"""Values and spaces against the models, each mistake put where its value stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod

from orchestrator.specs.experiment import Keys, describe_setting, replace_values
from orchestrator.specs.fields import kind_at, list_fields, section_of
from orchestrator.specs.mistakes import Mistakes
from orchestrator.specs.reading import Reading, put_value
from orchestrator.specs.search import Scalar, SearchSpec, Space, corners
from orchestrator.specs.search_rules import (
    check_search,
    explain_not_in_grid,
    resolve_baseline,
)
from orchestrator.specs.section import Section
from orchestrator.specs.spaces import PlacedSpace, SpaceError, as_kind, parse_space
from orchestrator.specs.validation import Issue, check_values

# All corners of 12 ranges, or a grid of 4,096 settings: under a second.
_MAX_COMBINATIONS = 4096


def check_reading(
    reading: Reading, mistakes: Mistakes
) -> tuple[Keys, dict[str, Space], tuple[str, ...]]:
    """Check every value, every corner of every space, and what holds between keys.

    Returns:
        The keys, with the first corner of each space in its place; dotted key to space; what
        to tell the user that is not a mistake.

    Raises:
        SpecError: There are mistakes, these or earlier ones.
    """
    checker = _Checker(reading, mistakes)
    placed = checker.parse_spaces()
    spaces = {key: item.space for key, item in placed.items()}
    checker.check_values(placed)
    if not reading.lost_space:
        checker.check_search(spaces)
    mistakes.raise_any()
    checker.check_combinations(spaces)
    # What no setting reads is told of settings that hold together alone.
    mistakes.raise_any()
    notes = tuple(checker.check_idle(spaces))
    mistakes.raise_any()
    return Keys.model_validate(reading.values), spaces, notes


class _Checker:
    def __init__(self, reading: Reading, mistakes: Mistakes) -> None:
        self._reading = reading
        self._mistakes = mistakes

    def _add(self, issues: Iterable[Issue]) -> None:
        for issue in issues:
            if not self._reading.is_broken(issue.key):
                place = self._reading.place_of(issue.key)
                self._mistakes.add(place, issue.text, key=issue.key)

    def parse_spaces(self) -> dict[str, PlacedSpace]:
        """Parse the spaces, and put the first corner of each in its place."""
        fields = list_fields(Keys)
        placed = {}
        for key, (word, node) in self._reading.spaces.items():
            try:
                space = parse_space(word, node, kind_at(key, fields))
            except SpaceError as error:
                self._mistakes.add(error.position, str(error), key=key)
                self._reading.broken.add(key)
                self._reading.lost_space = True
                continue
            placed[key] = space
            put_value(self._reading.values, key, space.corners[0].value)
            self._reading.positions[key] = space.corners[0].position
        return placed

    def check_values(self, placed: Mapping[str, PlacedSpace]) -> None:
        """Check the keys, and each further corner of a space as if it were the key's value."""
        self._add(check_values(Keys, self._reading.values)[1])
        for key, item in placed.items():
            for corner in item.corners[1:]:
                for text in self._explain(key, corner.value):
                    self._mistakes.add(corner.position, text, key=key)

    def _explain(self, key: str, value: Scalar) -> list[str]:
        values = replace_values(self._reading.values, {key: value})
        return [issue.text for issue in check_values(Keys, values)[1] if issue.key == key]

    def check_search(self, spaces: Mapping[str, Space]) -> None:
        """Check key `search` against the spaces; put the baseline, in full, in its place."""
        search = check_values(SearchSpec, self._reading.values.get("search", {}))[0]
        if search is None:
            return
        self._add(check_search(search, spaces))
        if any(key.startswith("search.baseline") for key in self._reading.broken):
            return
        baseline, issues = resolve_baseline(self._reading.baseline, spaces)
        self._add(issues)
        for key, value in baseline.items():
            name = self._name_in_baseline(key)
            wrong = self._explain(key, value) or explain_not_in_grid(key, value, spaces)
            self._add(Issue(name, text) for text in wrong)
        if baseline:
            fields = list_fields(Keys)
            whole = {
                key: as_kind(value, kind_at(key, fields)) for key, value in baseline.items()
            }
            put_value(self._reading.values, "search.baseline", whole)

    def _name_in_baseline(self, key: str) -> str:
        full = f"search.baseline.{key}"
        is_full = full in self._reading.positions
        return full if is_full else f"search.baseline.{key.rpartition('.')[2]}"

    def check_combinations(self, spaces: Mapping[str, Space]) -> None:
        """Check that every setting, as far as corners tell, is one that can be trained."""
        refused: set[str] = set()
        for setting in self._settings(spaces):
            values = replace_values(self._reading.values, setting)
            for issue in check_values(Keys, values)[1]:
                if issue.key not in refused:
                    text = f"{issue.text}, at {describe_setting(setting)}"
                    self._mistakes.add(self._reading.place_of(issue.key), text, key=issue.key)
                refused.add(issue.key)

    def check_idle(self, spaces: Mapping[str, Space]) -> Iterator[str]:
        """Refuse keys that no setting reads; yield a note of searched ones that some do not."""
        for name, known in Keys.model_fields.items():
            section = section_of(known)
            if section and isinstance(self._reading.values.get(name), dict):
                own = {k: space for k, space in spaces.items() if k.startswith(f"{name}.")}
                yield from self._check_idle_in(name, section, own)

    def _check_idle_in(
        self, name: str, section: type[Section], spaces: Mapping[str, Space]
    ) -> Iterator[str]:
        if prod(len(corners(space)) for space in spaces.values()) > _MAX_COMBINATIONS:
            return  # A setting that is not looked at may read what the others do not.
        found = []
        for setting in self._settings(spaces):
            values = replace_values(self._reading.values, setting)[name]
            checked = check_values(section, values)[0]
            if checked is not None:
                idle = {f"{name}.{key}".rstrip("."): text for key, text in checked.list_idle()}
                found.append((setting, checked, idle))
        for key in dict.fromkeys(key for _, _, idle in found for key in idle):
            without = [(setting, idle[key]) for setting, _, idle in found if key in idle]
            is_read = any(
                key not in idle and (key not in spaces or checked.differs(key.split(".")[-1]))
                for _, checked, idle in found
            )
            if not is_read:
                self._add([Issue(key, without[0][1])])
            for searched in spaces if is_read else ():
                if searched == key or (key != name and searched.startswith(f"{key}.")):
                    yield _describe_idle(searched, without)

    def _settings(self, spaces: Mapping[str, Space]) -> Iterator[dict[str, Scalar]]:
        """Yield the settings, as far as corners tell, and the baseline."""
        combinations = product(*(corners(space) for space in spaces.values()))
        for combination in islice(combinations, _MAX_COMBINATIONS):
            yield dict(zip(spaces, combination, strict=True))
        baseline = self._reading.values.get("search", {}).get("baseline") or {}
        if baseline and spaces:
            yield {key: baseline[key] for key in spaces}


def _describe_idle(key: str, without: Sequence[tuple[Mapping[str, Scalar], str]]) -> str:
    """Say of a searched key where it means nothing: at what all those settings share."""
    common = set.intersection(*(set(setting.items()) for setting, _ in without))
    shared = {k: v for k, v in without[0][0].items() if (k, v) in common and k != key}
    at = f"at {describe_setting(shared)}" if shared else "in some settings"
    why = without[0][1].partition(";")[0]
    return f"{key}: {why}, {at}; settings that differ in it alone train alike there"
