"""Batches: the same pixels and labels however the work is divided."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.eval_loader import eval_batches, eval_positions
from orchestrator.training.data.image_set import FilePixels, ImageSet, TensorPixels, image_set
from orchestrator.training.data.loader import Batch, TrainLoader
from orchestrator.training.data.mixing import draw_mix, mix_images
from orchestrator.training.data.normalization import Normalization
from orchestrator.training.data.order import epoch_order

MakePlan = Callable[..., DataPlan]
CPU = torch.device("cpu")
CROP = ("RandomResizedCrop", {"size": 6})
HEAVY = (CROP, "RandomHorizontalFlip", "TrivialAugmentWide", ("RandomErasing", {"p": 0.5}))


def load(images: ImageSet, plan: DataPlan, **options: Any) -> TrainLoader:
    """A loader of one worker, in its own process unless said otherwise."""
    given = {"seed": 3, "rank": 0, "world_size": 1, "device": CPU, "loader_workers": 0}
    return TrainLoader(images, plan, **{**given, **options})


def one_epoch(images: ImageSet, plan: DataPlan, epoch: int = 1, **options: Any) -> list[Batch]:
    """All batches of an epoch; the loader is closed."""
    loader = load(images, plan, **options)
    try:
        return list(loader.epoch(epoch))
    finally:
        loader.close()


def pixels_by_sample(images: ImageSet, plan: DataPlan, **options: Any) -> dict[int, Tensor]:
    """What became of each image in the first epoch, by its position."""
    batches = one_epoch(images, plan, **options)
    order = epoch_order(len(images), seed=3, epoch=1).tolist()
    return dict(zip(order, torch.cat([batch.images for batch in batches]), strict=True))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    """Fail unless two epochs agree to the bit."""
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert (one.partner_labels is None) == (other.partner_labels is None)
        if one.partner_labels is not None and other.partner_labels is not None:
            assert torch.equal(one.partner_labels, other.partner_labels)
        assert (one.lam, one.batch_size) == (other.lam, other.batch_size)


def test_an_epoch_is_the_images_in_its_order(make_plan: MakePlan, coloured: ImageSet) -> None:
    """Floats in [0, 1], labels, and the size of the step; 24 images in batches of 10."""
    loader = load(coloured, make_plan(batch_size=10))
    batches = list(loader.epoch(2))
    order = epoch_order(24, seed=3, epoch=2)

    assert loader.sizes == (10, 10, 4)
    assert loader.steps_per_epoch == 3
    assert [batch.batch_size for batch in batches] == [10, 10, 4]
    assert torch.equal(
        torch.cat([b.images for b in batches]), coloured.images[order].float() / 255
    )
    assert torch.equal(torch.cat([b.labels for b in batches]), coloured.labels[order])
    assert {(b.images.dtype, b.labels.dtype) for b in batches} == {(torch.float32, torch.int64)}
    assert {(batch.partner_labels, batch.lam) for batch in batches} == {(None, 1.0)}


@pytest.mark.parametrize("steps", [(), HEAVY])
@pytest.mark.parametrize("mix", [{}, {"mixup": 0.4, "cutmix": 1.0}])
@pytest.mark.parametrize("workers", [1, 3])
def test_loader_processes_change_nothing(
    make_plan: MakePlan, coloured: ImageSet, steps: Any, mix: dict[str, float], workers: int
) -> None:
    """Of two epochs, with heavy augmentation and mixing or without; processes stay for both."""
    plan = make_plan(*steps, batch_size=7, sampler="balanced", **mix)
    here, there = load(coloured, plan), load(coloured, plan, loader_workers=workers)

    for epoch in (1, 2):
        assert_same(list(here.epoch(epoch)), list(there.epoch(epoch)))
    there.close()


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("mix", [{}, {"mixup": 0.4}, {"cutmix": 1.0}])
@pytest.mark.parametrize("copies", [1, 2])
def test_training_workers_share_what_one_would_see(
    make_plan: MakePlan, coloured: ImageSet, world_size: int, mix: dict[str, float], copies: int
) -> None:
    """Side by side their parts are the whole batch, partners of other shares included."""
    plan = make_plan(*HEAVY, batch_size=10, repeated_augmentation=copies, **mix)
    whole = one_epoch(coloured, plan)

    shares = [
        one_epoch(coloured, plan, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]

    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
        assert {(part.lam, part.batch_size) for part in parts} == {
            (batch.lam, batch.batch_size)
        }
        if batch.partner_labels is not None:
            partners = [
                part.partner_labels for part in parts if part.partner_labels is not None
            ]
            assert torch.equal(torch.cat(partners), batch.partner_labels)


def test_the_size_of_a_batch_changes_no_image(make_plan: MakePlan, coloured: ImageSet) -> None:
    """Each image is augmented alike in batches of 5, of 24, and after another subset."""
    small, large = (
        pixels_by_sample(coloured, make_plan(*HEAVY, batch_size=size)) for size in (5, 24)
    )

    assert small.keys() == large.keys()
    assert all(torch.equal(small[position], large[position]) for position in small)


def test_augmentation_is_of_seed_epoch_sample_and_occurrence(
    make_plan: MakePlan, coloured: ImageSet
) -> None:
    """Another seed, epoch or copy is another crop; the neighbour of an image is no matter."""
    plan = make_plan(CROP, batch_size=24)
    first = pixels_by_sample(coloured, plan)
    alone = coloured.select(torch.tensor([5]))
    by_itself = one_epoch(alone, plan)[0].images[0]
    other_epoch = one_epoch(alone, plan, epoch=2)[0].images[0]
    other_seed = one_epoch(alone, plan, seed=4)[0].images[0]
    copies = one_epoch(alone.select(torch.tensor([0, 0])), plan)[0].images
    jitter = ("ColorJitter", {"brightness": 0.9})
    repeated = one_epoch(coloured, make_plan(jitter, batch_size=24, repeated_augmentation=24))

    assert torch.equal(by_itself, first[5])
    assert not torch.equal(by_itself, other_epoch)
    assert not torch.equal(by_itself, other_seed)
    assert torch.equal(copies[0], copies[1])
    assert len({image.numpy().tobytes() for image in repeated[0].images}) == 24


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_batches_are_mixed_after_normalisation(
    make_plan: MakePlan, coloured: ImageSet, kind: str
) -> None:
    """The unmixed batch and the step's own draw give the mixed one."""
    plan = make_plan(batch_size=12, **{kind: 0.5})
    plain, mixed = one_epoch(coloured, make_plan(batch_size=12)), one_epoch(coloured, plan)

    for step, (before, after) in enumerate(zip(plain, mixed, strict=True)):
        mix = draw_mix(plan, 12, seed=3, epoch=1, step=step)
        assert mix is not None
        images, lam = mix_images(before.images, before.images[mix.partners], mix)
        assert after.partner_labels is not None
        assert torch.equal(after.images, images)
        assert after.lam == lam
        assert torch.equal(after.labels, before.labels)
        assert torch.equal(after.partner_labels, before.labels[mix.partners])


def test_normalisation_is_applied(make_plan: MakePlan, coloured: ImageSet) -> None:
    """The set's own, to training and evaluation alike."""
    scaled = ImageSet(
        coloured.pixels,
        coloured.rows,
        coloured.labels,
        coloured.ids,
        Normalization((0.5,), (0.25,)),
    )
    plan = make_plan(batch_size=24)

    (batch,) = one_epoch(scaled, plan)
    (scored,) = evaluate(scaled, plan)

    order = epoch_order(24, seed=3, epoch=1)
    expected = (coloured.images.float() / 255 - 0.5) / 0.25
    assert torch.equal(batch.images, expected[order])
    assert torch.equal(scored[0], expected)


def evaluate(
    images: ImageSet,
    plan: DataPlan,
    *,
    loader_workers: int = 0,
    batch_size: int = 512,
    **where: Any,
) -> list[tuple[Tensor, Tensor]]:
    """All batches of an evaluation."""
    positions = eval_positions(images, **{"rank": 0, "world_size": 1, **where})
    batches = positions.split(batch_size)
    return list(eval_batches(images, plan, batches, device=CPU, loader_workers=loader_workers))


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_every_image_is_scored_once(
    make_plan: MakePlan, coloured: ImageSet, loader_workers: int, world_size: int
) -> None:
    """Over all workers, with labels, changed by the steps of evaluation alone."""
    plan = make_plan(
        *HEAVY, eval_transforms=make_plan(("CenterCrop", {"size": 4})).train_transforms
    )
    seen = []
    for rank in range(world_size):
        where = {"rank": rank, "world_size": world_size}
        positions = eval_positions(coloured, **where).split(3)
        scored = evaluate(coloured, plan, loader_workers=loader_workers, batch_size=3, **where)
        for batch, (images, labels) in zip(positions, scored, strict=True):
            assert torch.equal(images, coloured.images[batch][:, :, 2:6, 2:6].float() / 255)
            assert torch.equal(labels, coloured.labels[batch])
            seen += batch.tolist()

    assert sorted(seen) == list(range(24))


def test_a_dry_run_takes_the_first_batches(make_plan: MakePlan, coloured: ImageSet) -> None:
    """Of training and of evaluation."""
    plan = make_plan(batch_size=5)

    limited = one_epoch(coloured, plan, limit_batches=2)
    assert_same(limited, one_epoch(coloured, plan)[:2])
    assert len(evaluate(coloured, plan, batch_size=5, limit=15)) == 3


def test_overfitting_takes_the_same_batches_in_every_epoch(
    make_plan: MakePlan, coloured: ImageSet
) -> None:
    """Those of the first."""
    loader = load(coloured, make_plan(batch_size=5), overfit_batches=2)

    assert loader.sizes == (5, 5)
    assert_same(list(loader.epoch(1)), list(loader.epoch(7)))


def test_an_epoch_may_be_left_before_its_end(make_plan: MakePlan, coloured: ImageSet) -> None:
    """The next one begins at its beginning, with processes too."""
    plan = make_plan(CROP, batch_size=4)
    loader = load(coloured, plan, loader_workers=2)

    next(iter(loader.epoch(1)))

    assert_same(list(loader.epoch(2)), one_epoch(coloured, plan, epoch=2))
    loader.close()


NOTED = """
from pathlib import Path
def noted(image, file):
    with Path(file).open("a") as lines:
        lines.write("x\\n")
    return image
"""


@pytest.mark.parametrize(("epochs", "read"), [(1, 24), (2, 48)])
def test_the_next_epochs_first_batches_are_read_ahead(
    make_plan: MakePlan, coloured: ImageSet, tmp_path: Path, epochs: int, read: int
) -> None:
    """Before anybody asks for them, unless there is no next epoch; in its order all the same.

    One process has two batches of twelve ahead of what was taken: all of the second epoch.
    """
    (tmp_path / "own_noted_of_test.py").write_text(NOTED)
    seen = tmp_path / "seen"
    seen.touch()
    own = replace(coloured, sources=str(tmp_path))
    plan = make_plan(("own_noted_of_test:noted", {"file": str(seen)}), batch_size=12)
    loader = load(own, plan, loader_workers=1, epochs=epochs)

    first = list(loader.epoch(1))
    deadline = time.monotonic() + 60
    while len(seen.read_text().splitlines()) < read and time.monotonic() < deadline:
        time.sleep(0.05)
    ahead = len(seen.read_text().splitlines())
    second = list(loader.epoch(2))
    loader.close()

    assert ahead == read
    assert_same(first, one_epoch(coloured, make_plan(batch_size=12)))
    assert_same(second, one_epoch(coloured, make_plan(batch_size=12), epoch=2))


def test_an_epoch_goes_on_in_its_middle(make_plan: MakePlan, coloured: ImageSet) -> None:
    """From where it was left, from elsewhere, and back again."""
    plan = make_plan(CROP, batch_size=4)
    loader = load(coloured, plan, loader_workers=2)
    whole = one_epoch(coloured, plan)

    first = next(iter(loader.epoch(1)))
    rest = list(loader.epoch(1, start=1))

    assert_same([first, *rest], whole)
    assert_same(list(loader.epoch(1, start=4)), whole[4:])
    assert_same(list(loader.epoch(1)), whole)
    loader.close()


def test_no_batch_at_all_is_refused(make_plan: MakePlan, coloured: ImageSet) -> None:
    """24 images fill no batch of 25 where smaller ones are dropped."""
    with pytest.raises(TrainingError) as caught:
        load(coloured, make_plan(batch_size=25, drop_last=True))

    assert str(caught.value) == (
        "data.batch_size: 24 training images make no batch of 25; lower it, or set "
        "data.drop_last: false"
    )


@pytest.fixture
def generators() -> Callable[[], tuple[bytes, object, bytes]]:
    """Reads the states of the process's three generators."""

    def states() -> tuple[bytes, object, bytes]:
        numbers: Any = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().numpy().tobytes(), random.getstate(), numbers[1].tobytes()

    return states


OWN = """
import random
import numpy as np
import torch
def noise(image):
    draws = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return torch.tensor([int(255 * draw) for draw in draws], dtype=torch.uint8).view(3, 1, 1)
"""


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_the_process_draws_on_as_if_nothing_had_been_loaded(
    make_plan: MakePlan,
    coloured: ImageSet,
    generators: Callable[[], object],
    tmp_path: Path,
    loader_workers: int,
) -> None:
    """Torch's, Python's and NumPy's generators, between batches and after them."""
    (tmp_path / "own_noise_of_test.py").write_text(OWN)
    own = replace(coloured, sources=str(tmp_path))
    loader = load(
        own, make_plan("own_noise_of_test:noise", batch_size=8), loader_workers=loader_workers
    )
    before = generators()

    for _ in loader.epoch(1):
        assert generators() == before
    evaluate(coloured, make_plan(eval_transforms=make_plan(CROP).train_transforms))

    assert generators() == before
    loader.close()


def test_own_steps_may_draw_from_any_generator(
    make_plan: MakePlan, coloured: ImageSet, tmp_path: Path
) -> None:
    """All three begin at the same place for an image, here and in loader processes."""
    (tmp_path / "own_noise_of_test.py").write_text(OWN)
    own = replace(coloured, sources=str(tmp_path))
    plan = make_plan("own_noise_of_test:noise", batch_size=8)
    first = one_epoch(own, plan)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002

    assert_same(first, one_epoch(own, plan, loader_workers=2))
    assert len({tuple(image.flatten().tolist()) for image in first[0].images}) == 8


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_file_that_breaks_is_named(
    make_plan: MakePlan, write_folder: Callable[..., Path], loader_workers: int
) -> None:
    """One line, as the file's reader said it, out of a loader process too."""
    root = write_folder()
    paths = tuple(str(path) for path in sorted(root.glob("*/*.png")))
    images = image_set(FilePixels(paths, 3), torch.arange(16) % 2)
    Path(paths[9]).write_bytes(b"gone")

    with pytest.raises(TrainingError) as caught:
        one_epoch(images, make_plan(batch_size=4), loader_workers=loader_workers)

    assert str(caught.value) == (
        f"data.root: {paths[9]} cannot be read (no known kind of image); "
        "replace it, or set data.on_corrupt: skip"
    )


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_a_step_that_fails_names_the_image(
    make_plan: MakePlan, coloured: ImageSet, loader_workers: int
) -> None:
    """Which step, why, and on what."""
    plan = make_plan(("RandomCrop", {"size": 9}), batch_size=24)

    with pytest.raises(TrainingError) as caught:
        one_epoch(coloured, plan, loader_workers=loader_workers)

    assert str(caught.value).startswith(
        "data.transforms: RandomCrop fails (ValueError: Required"
    )
    assert str(caught.value).endswith(f", on image {epoch_order(24, seed=3, epoch=1)[0]}")


def test_images_of_different_sizes_make_no_batch(
    make_plan: MakePlan, write_image: Callable[..., Path]
) -> None:
    """Both sizes are said, and what would help."""
    paths = (str(write_image("a.png", size=(4, 6))), str(write_image("b.png", size=(5, 6))))
    images = image_set(FilePixels(paths, 3), torch.tensor([0, 1]))

    with pytest.raises(
        TrainingError, match=r"such as \(3, 6, 4\) and \(3, 6, 5\); end with a step"
    ):
        one_epoch(images, make_plan(batch_size=2))


def test_a_killed_process_is_said_in_words(
    make_plan: MakePlan, coloured: ImageSet, tmp_path: Path
) -> None:
    """As the kernel kills what has taken all memory."""
    (tmp_path / "own_death_of_test.py").write_text("import os\ndef die(image): os._exit(9)\n")
    own = replace(coloured, sources=str(tmp_path))

    with pytest.raises(TrainingError, match=r"^data\.loader_workers: a loader process died \("):
        one_epoch(own, make_plan("own_death_of_test:die"), loader_workers=1)


def test_images_in_memory_are_taken_as_they_are(
    make_plan: MakePlan, coloured: ImageSet
) -> None:
    """Steps that change nothing and no steps give the same batches, to the bit."""
    still = make_plan(("Resize", {"size": 8}), ("CenterCrop", {"size": 8}), batch_size=9)

    assert_same(one_epoch(coloured, still), one_epoch(coloured, make_plan(batch_size=9)))


def test_a_selection_reads_its_own_rows(make_plan: MakePlan) -> None:
    """Rows that lie anywhere in the pixels, with and without steps."""
    pixels = TensorPixels(torch.arange(6, dtype=torch.uint8).mul(51).view(6, 1, 1, 1))
    images = image_set(pixels, torch.arange(6)).select(torch.tensor([4, 1]))

    for plan in (make_plan(), make_plan(("Pad", {"padding": 0}))):
        ((scored, labels),) = evaluate(images, make_plan(eval_transforms=plan.train_transforms))
        # 51 / 255 = 1/5: the n-th image is n/5.
        assert scored.flatten().tolist() == (torch.tensor([4.0, 1.0]) / 5).tolist()
        assert labels.tolist() == [4, 1]
