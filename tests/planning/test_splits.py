"""Cuts: in proportion, whole groups, of the data alone."""

from collections import Counter

import pytest

from orchestrator.planning.splits import Positions, cut_parts


def names_of(count: int) -> list[str]:
    """Names that differ."""
    return [f"{number}.png" for number in range(count)]


def cut(
    labels: list[int], groups: list[str] | None = None, **shares: float
) -> dict[str, Positions]:
    """The parts of samples called 0.png, 1.png and so on."""
    return cut_parts(names_of(len(labels)), labels, groups or [""] * len(labels), **shares)


@pytest.mark.parametrize(("val", "test"), [(0.2, 0.0), (0.2, 0.1), (0.13, 0.29)])
def test_each_class_has_its_share_in_each_part(val: float, test: float) -> None:
    """Of 30, 50 and 120 images, to less than two; no image is lost or taken twice."""
    labels = [0] * 30 + [1] * 50 + [2] * 120

    parts = cut(labels, val_share=val, test_share=test)

    assert sorted(sum(parts.values(), ())) == list(range(200))
    assert [len(parts[part]) for part in ("val", "test")] == [
        round(val * 200),
        round(test * 200),
    ]
    for part, share in (("val", val), ("test", test)):
        counts = Counter(labels[position] for position in parts[part])
        for label, size in enumerate((30, 50, 120)):
            assert abs(counts[label] - share * size) < 2


def test_small_classes_are_validated_on_too() -> None:
    """A fifth of fifty classes of two images is twenty images, of twenty classes."""
    labels = [number // 2 for number in range(100)]

    parts = cut(labels, val_share=0.2, test_share=0.0)

    assert len(parts["val"]) == 20
    assert len({labels[position] for position in parts["val"]}) == 20
    assert len({labels[position] for position in parts["train"]}) == 50


def test_the_order_of_the_samples_does_not_matter() -> None:
    """A sample's name puts it where it goes."""
    names, labels = names_of(40), [number % 2 for number in range(40)]
    turned = cut_parts(names[::-1], labels[::-1], [""] * 40, val_share=0.25, test_share=0.0)[
        "val"
    ]

    straight = cut(labels, val_share=0.25, test_share=0.0)["val"]

    assert {names[::-1][position] for position in turned} == {
        names[position] for position in straight
    }


def test_a_sample_more_moves_few_others() -> None:
    """The validation images of next month are this month's, but for one or two."""
    before = cut([0] * 100, val_share=0.2, test_share=0.0)["val"]
    after = cut([0] * 101, val_share=0.2, test_share=0.0)["val"]

    assert len(set(before) - set(after)) <= 2


def test_groups_stay_whole() -> None:
    """Twenty patients of five images each: four patients to validate on, all of each."""
    groups = [f"patient {number // 5}" for number in range(100)]
    labels = [number % 2 for number in range(100)]

    parts = cut(labels, groups, val_share=0.2, test_share=0.1)

    sides = [{groups[position] for position in parts[part]} for part in parts]
    assert sum(map(len, sides)) == 20
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert [len(parts[part]) for part in ("train", "val", "test")] == [70, 20, 10]


def test_groups_are_dealt_in_proportion_of_the_classes() -> None:
    """Groups of one class each, of unequal sizes: each class still has about its share."""
    labels, groups = [], []
    for label in range(3):
        for number in range(30):
            size = 1 + (number * 7) % 9
            labels += [label] * size
            groups += [f"{label}-{number}"] * size

    parts = cut(labels, groups, val_share=0.25, test_share=0.0)

    whole = Counter(labels)
    counts = Counter(labels[position] for position in parts["val"])
    for label in range(3):
        assert abs(counts[label] / whole[label] - 0.25) < 0.05


def test_samples_without_a_group_are_on_their_own() -> None:
    """Where some have one and others none."""
    groups = ["one"] * 10 + [""] * 10

    parts = cut([0] * 20, groups, val_share=0.25, test_share=0.0)

    assert len({part for part in parts if set(parts[part]) & set(range(10))}) == 1
    assert len(parts["val"]) == 5


def test_no_share_leaves_all_to_train_on() -> None:
    """Also where there are groups."""
    for groups in (None, ["a", "a", "b"]):
        parts = cut([0, 1, 0], groups, val_share=0.0, test_share=0.0)
        assert parts == {"train": (0, 1, 2), "val": (), "test": ()}
