"""Key `data`: which images, which labels, of whatever data set a plan names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.manifest import scan_image_folder
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan, NormalizePlan
from orchestrator.training.data import build as build_module
from orchestrator.training.data import digits as digits_module
from orchestrator.training.data.build import RunData, build_data
from orchestrator.training.data.decoding import read_image
from orchestrator.training.data.subset import redraw_labels

MakePlan = Callable[..., DataPlan]
MakePlace = Callable[..., Place]
Build = Callable[..., RunData]


@pytest.fixture
def build(make_plan: MakePlan, make_place: MakePlace) -> Build:
    """The data of a plan with the fields given, with seed 0 unless said otherwise."""

    def make(
        *, seed: int = 0, parts: tuple[str, ...] = ("train", "val"), cache: str = "auto",
        root: Path | None = None, **changes: object,
    ) -> RunData:  # fmt: skip
        place = make_place(data_root=str(root or ""), cache=cache)
        return build_data(make_plan(**changes), place, seed=seed, parts=parts)

    return make


def count_classes(labels: Tensor) -> list[int]:
    """How many labels each of the ten classes has."""
    return torch.bincount(labels, minlength=10).tolist()


def test_the_images_are_scikit_learns(build: Build) -> None:
    """At each id stand its image, scaled from 0..16 to 0..255 and rounded, and its label."""
    digits = load_digits()
    data = build()

    for part in (data.train, data.val):
        expected = np.floor(digits.images[part.ids.numpy()] * 255 / 16 + 0.5)
        assert np.array_equal(part.images[:, 0].numpy(), expected)
        assert np.array_equal(part.labels.numpy(), digits.target[part.ids.numpy()])


def test_the_stored_split_covers_everything_once() -> None:
    """800 training, 700 validation and 297 test images are the 1,797 scans, none twice."""
    with np.load(digits_module._DIGITS) as stored:
        parts = {name: stored[name] for name in ("train", "val", "test")}
        labels = stored["labels"]

    assert {name: len(ids) for name, ids in parts.items()} == {
        "train": 800,
        "val": 700,
        "test": 297,
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1797))
    for ids in parts.values():
        exact = np.bincount(labels) * len(ids) / 1797
        # Each class has its share of the 1,797, to the image or two that rounding moves.
        assert np.abs(np.bincount(labels[ids]) - exact).max() < 2


def test_a_share_of_the_labels_is_redrawn_exactly() -> None:
    """Of 50 labels, 20 % are ten; none of the ten classes drawn from is the one that was."""
    labels = torch.full((50,), 10)

    noisy = redraw_labels(labels, share=0.2, num_classes=10, seed=1)

    assert int((noisy != labels).sum()) == 10
    assert torch.equal(labels, torch.full((50,), 10))


def test_redrawn_labels_depend_on_the_seed_alone() -> None:
    """The same seed redraws the same labels to the same classes, another seed others."""
    labels = torch.arange(10).repeat(20)

    once, again, other = (
        redraw_labels(labels, share=0.5, num_classes=10, seed=seed) for seed in (4, 4, 5)
    )

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_no_noise_changes_no_label() -> None:
    """A share of 0 is the clean data set."""
    labels = torch.arange(10)

    assert torch.equal(redraw_labels(labels, share=0.0, num_classes=10, seed=0), labels)


def test_noise_spares_the_validation_labels(build: Build) -> None:
    """What a run is judged by is the same with and without noise, for every seed."""
    clean = build()
    noisy = build(seed=8, label_noise=0.9)

    assert torch.equal(noisy.val.labels, clean.val.labels)
    assert torch.equal(noisy.val.images, clean.val.images)
    assert int((noisy.train.labels != clean.train.labels).sum()) > 400


def test_noise_leaves_the_choice_of_images_alone(build: Build) -> None:
    """The subset has a stream of its own."""
    clean = build(seed=2, train_size=100)
    noisy = build(seed=2, train_size=100, label_noise=0.5)

    assert torch.equal(noisy.train.ids, clean.train.ids)


@pytest.mark.parametrize("size", [2, 10, 57, 600, 799, 800])
def test_a_subset_keeps_the_proportions_of_the_classes(build: Build, size: int) -> None:
    """A subset of any size has each class's share of it, to less than two images."""
    whole = build().train

    subset = build(seed=6, train_size=size).train

    exact = [count * size / 800 for count in count_classes(whole.labels)]
    counts = count_classes(subset.labels)
    assert len(subset) == size
    assert len(set(subset.ids.tolist())) == size
    assert max(abs(c - e) for c, e in zip(counts, exact, strict=True)) < 2


def test_a_subset_depends_on_the_seed_alone(build: Build) -> None:
    """The same seed chooses the same images, another seed others."""
    once, again, other = (build(seed=seed, train_size=100).train.ids for seed in (1, 1, 2))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_smaller_subset_is_part_of_a_larger_one(build: Build) -> None:
    """Learning curves over `train_size` add images and never exchange them."""
    small, large = (
        set(build(seed=1, train_size=size).train.ids.tolist()) for size in (100, 300)
    )

    assert small < large


def test_grey_images_are_repeated_for_networks_that_take_colour(build: Build) -> None:
    """Three channels hold the same scan three times."""
    images = build(seed=0, channels=3).train.images

    assert images.shape == (800, 3, 8, 8)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_images_are_resized_to_the_size_asked_for(build: Build) -> None:
    """At 16 pixels an image keeps its mean brightness to a grey level or two."""
    small = build().train.images.float()
    large = build(seed=0, image_size=16).train.images

    assert large.shape == (800, 1, 16, 16)
    assert large.dtype == torch.uint8
    means = small.mean(dim=(1, 2, 3)), large.float().mean(dim=(1, 2, 3))
    assert (means[0] - means[1]).abs().max() < 2


def test_the_test_part_is_opened_only_when_asked_for(build: Build) -> None:
    """By name alone; its images are those of nobody else."""
    data = build(parts=("test",))

    assert len(data.test) == 297
    assert set(data.parts) == {"test"}
    with pytest.raises(KeyError):
        build().test  # noqa: B018
    used = torch.cat([build().train.ids, build().val.ids])
    assert not set(data.test.ids.tolist()) & set(used.tolist())


def test_classes_are_kept_by_name_and_numbered_in_order(build: Build) -> None:
    """Digits 9, 0 and 5 become 0, 1 and 2, in every part, with their own images."""
    whole = build().train

    data = build(classes=("9", "0", "5"), num_classes=3)

    assert data.classes == ("9", "0", "5")
    assert sum(data.class_counts) == len(data.train)
    assert data.val.labels.unique().tolist() == [0, 1, 2]
    was = dict(zip(whole.ids.tolist(), whole.labels.tolist(), strict=True))
    assert [was[number] for number in data.train.ids.tolist()] == [
        [9, 0, 5][label] for label in data.train.labels.tolist()
    ]
    images = dict(zip(whole.ids.tolist(), whole.images, strict=True))
    for number, image in zip(data.train.ids.tolist(), data.train.images, strict=True):
        assert torch.equal(image, images[number])


def test_a_subset_and_noise_are_of_the_kept_classes(build: Build) -> None:
    """Redrawn labels are among the two that are left."""
    data = build(classes=("3", "8"), train_size=50, label_noise=0.9)

    assert len(data.train) == 50
    assert set(data.train.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"classes": ("3", "three")}, "data.classes: there is no class 'three'"),
        (
            {"num_classes": 12},
            "data: was planned with 12 classes, digits has 10; plan anew",
        ),
        (
            {"train_size": 801},
            "data.train_size: must be at most 800 (got 801), the training images of digits",
        ),
        ({"dataset": "digit"}, "data.dataset: no data set 'digit'"),
    ],
)
def test_what_is_not_as_planned_is_refused(
    build: Build, changes: dict[str, object], line: str
) -> None:
    """In one line with its key."""
    with pytest.raises(TrainingError) as caught:
        build(**changes)

    assert str(caught.value) == line


def test_a_warm_lane_opens_its_data_once(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run has the same objects; another seed, size or noise opens nothing again."""
    first = build(image_size=9)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(build_module, "load_set", never)

    assert build(image_size=9) is first
    assert build(image_size=9, batch_size=7, mixup=0.5) is first
    other = build(image_size=9, seed=1, train_size=50, label_noise=0.5)
    assert other.train.pixels is first.train.pixels


def test_a_folder_is_read_and_split(build: Build, write_folder: Callable[..., Path]) -> None:
    """A quarter of each class to validate on; the files' own pixels, labels and numbers."""
    root = write_folder()
    manifest = scan_image_folder(root)

    data = build(dataset="image_folder", channels=3, root=root, manifest=manifest.digest)

    assert data.classes == ("a", "b")
    assert data.class_counts == (6, 6)
    assert data.val.labels.bincount().tolist() == [2, 2]
    assert sorted(torch.cat([data.train.ids, data.val.ids]).tolist()) == list(range(16))
    for part in (data.train, data.val):
        for number, label, image in zip(
            part.ids.tolist(), part.labels.tolist(), part.images, strict=True
        ):
            entry = manifest.entries[number]
            assert entry.label == label
            assert torch.equal(image, read_image(f"{root}/{entry.path}", channels=3))


def test_the_cache_changes_no_number(build: Build, write_folder: Callable[..., Path]) -> None:
    """Images, labels and their order are those of the files."""
    root = write_folder(extension="jpg")

    on, off = (
        build(dataset="image_folder", channels=3, root=root, cache=mode)
        for mode in ("on", "off")
    )

    for part in ("train", "val"):
        for field in ("images", "labels", "ids"):
            assert torch.equal(getattr(on.parts[part], field), getattr(off.parts[part], field))


def test_a_table_is_read(build: Build, write_folder: Callable[..., Path]) -> None:
    """Its own split, its own names of classes."""
    root = write_folder()
    rows = [
        f"{name}/{n}.png,{name * 2},{'val' if n < 3 else 'train'}"
        for n in range(8)
        for name in "ab"
    ]
    (root / "t.csv").write_text("path,label,split\n" + "\n".join(rows))

    data = build(dataset="table", channels=3, root=root / "t.csv")

    assert data.classes == ("aa", "bb")
    assert [len(data.train), len(data.val)] == [10, 6]


@pytest.mark.parametrize("cache", ["on", "off"])
def test_a_table_may_name_files_anywhere(
    build: Build, write_folder: Callable[..., Path], tmp_path: Path, cache: str
) -> None:
    """Absolute paths of files that do not lie below the table are read as they are."""
    root = write_folder()
    rows = [f"{root}/{name}/{n}.png,{name}" for n in range(8) for name in "ab"]
    table = tmp_path / "lists" / "t.csv"
    table.parent.mkdir()
    table.write_text("path,label\n" + "\n".join(rows))

    data = build(dataset="table", channels=3, root=table, cache=cache)

    first = read_image(data.train.pixels.describe(0), channels=3)
    assert data.train.pixels.describe(0).startswith(f"{root}/a/")
    assert torch.equal(data.train.pixels.read(0), first)


def test_files_that_changed_since_planning_are_refused(
    build: Build, write_folder: Callable[..., Path], write_image: Callable[..., Path]
) -> None:
    """The plan's numbers are of other images."""
    root = write_folder()
    planned = scan_image_folder(root).digest
    write_image("b/new.png")

    with pytest.raises(TrainingError) as caught:
        build(dataset="image_folder", root=root, manifest=planned)

    assert str(caught.value) == (
        f"data.root: the files in {root} are no longer those that were planned with "
        "(17 images now); plan anew"
    )


def test_a_folder_that_is_no_data_set_is_refused(build: Build, tmp_path: Path) -> None:
    """As planning would have refused it."""
    with pytest.raises(TrainingError, match=r"^data\.root: no such folder"):
        build(dataset="image_folder", root=tmp_path / "none")


@pytest.mark.parametrize("cache", ["on", "off"])
def test_unreadable_files_are_left_out_and_returned(
    build: Build, write_folder: Callable[..., Path], cache: str
) -> None:
    """The others keep their labels and numbers; a training size that counted them is cut."""
    root = write_folder()
    whole = build(dataset="image_folder", channels=3, root=root, cache=cache)
    before, manifest = whole.train.images, scan_image_folder(root)
    lost = int(whole.train.ids[4])
    path = f"{root}/{manifest.entries[lost].path}"
    Path(path).write_bytes(b"")

    data = build(
        dataset="image_folder",
        channels=3,
        root=root,
        cache=cache,
        on_corrupt="skip",
        train_size=12,
    )

    kept = whole.train.ids != lost
    assert data.skipped == (path,)
    assert torch.equal(data.train.ids, whole.train.ids[kept])
    assert torch.equal(data.train.labels, whole.train.labels[kept])
    assert torch.equal(data.train.images, before[kept])
    assert len(data.val) == 4


def test_unwanted_classes_are_not_read(build: Build, write_folder: Callable[..., Path]) -> None:
    """A broken file of a class that was left out is nobody's concern."""
    root = write_folder()
    (root / "c").mkdir()
    (root / "c" / "broken.png").write_bytes(b"")
    (root / "c" / "two.png").write_bytes(b"")

    data = build(dataset="image_folder", channels=3, root=root, classes=("b", "a"), cache="on")

    assert data.classes == ("b", "a")
    assert data.skipped == ()


GIVEN = NormalizePlan(by="given", mean=(0.5,), std=(0.25,))
MEASURED = NormalizePlan(by="measured", mean=(), std=())


def test_statistics_are_of_the_training_images_in_use(build: Build) -> None:
    """NumPy's over the chosen subset; validation and test are normalised by the same."""
    data = build(train_size=100, normalize=MEASURED)
    pixels = data.train.images.numpy().astype(np.float64) / 255
    test = build(train_size=100, normalize=MEASURED, parts=("test",))

    assert data.train.normalization.mean == pytest.approx((pixels.mean(),), rel=1e-12)
    assert data.train.normalization.std == pytest.approx((pixels.std(),), rel=1e-12)
    assert data.val.normalization == data.train.normalization == test.test.normalization
    assert set(test.parts) == {"test"}
    assert build(normalize=GIVEN).val.normalization.mean == (0.5,)
    assert build().train.normalization.mean == ()


def test_files_are_measured_as_they_are_stored(
    build: Build, write_folder: Callable[..., Path]
) -> None:
    """Every pixel of every file, mapped or decoded on the way."""
    root = write_folder()

    measured = [
        build(dataset="image_folder", channels=3, root=root, cache=cache, normalize=MEASURED)
        for cache in ("on", "off")
    ]

    pixels = measured[0].train.images.double() / 255
    for data in measured:
        assert data.train.normalization.mean == pytest.approx(
            pixels.mean(dim=(0, 2, 3)).tolist()
        )
