"""One's own data set: whatever it returns is either read or refused in words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.build import build_data
from orchestrator.training.data.loader import TrainLoader

MakePlan = Callable[..., DataPlan]
MakePlace = Callable[..., Place]

OWN = '''
import random
import types
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

class Items(Dataset):
    """Six items; asks to be looked at one by one."""
    def __init__(self, label=lambda i: i % 3, image=None):
        self.label, self.image, self.asked = label, image, []
    def __len__(self):
        return 6
    def __getitem__(self, index):
        self.asked.append(index)
        image = self.image(index) if self.image else np.full((4, 5, 3), index, dtype=np.uint8)
        return image, self.label(index)

class Declared(Items):
    """Says its labels without being asked for each item."""
    targets = [0, 1, 2, 0, 1, 2]

def plain():
    return {"train": Items(), "val": Items(), "classes": ["cat", "dog", "elk"]}
def with_test():
    return types.SimpleNamespace(train=Declared(), val=Items(), test=Items())
def rooted(root, shade=0):
    dark = Items(image=lambda i: Image.new("L", (2, 2), shade))
    return {"train": dark, "val": Items(), "classes": [root, "b", "c"]}
def tensors():
    images = torch.linspace(0, 1, 8 * 2 * 2).view(8, 1, 2, 2)
    items = TensorDataset(images, torch.arange(8) % 2)
    return {"train": items, "val": items}
def parts_of_one():
    whole = Declared()
    return {"train": Subset(whole, [5, 3, 1]), "val": Subset(whole, [0, 2])}
def drawing():
    def draw(index):
        drawn = random.randrange(256), np.random.randint(256), int(torch.randint(256, ()))
        return np.array([[drawn]], dtype=np.uint8)
    return {"train": Items(image=draw), "val": Items(image=draw)}
def rare():
    return {"train": Items(), "val": Items(lambda i: i % 2), "test": Items(lambda i: 0)}
def labelled(label):
    return {"train": Items(lambda i: eval(label)), "val": Items()}
def shaped(image):
    return {"train": Items(image=lambda i: eval(image)), "val": Items()}
def liar():
    wrong = Declared()
    wrong.targets = [1, 1, 1, 1, 1, 1]
    return {"train": wrong, "val": Items()}
def misnamed():
    return {"train": Items(lambda i: 9), "val": Items(), "classes": ["a", "b", "c"]}
def no_val():
    return {"train": Items()}
def stream():
    return {"train": iter([]), "val": Items()}
def nothing():
    return {"train": [], "val": Items()}
def single():
    return {"train": [1, 2], "val": Items()}
def broken():
    raise OSError("disk\\non fire")
def broken_item():
    return {"train": Items(image=lambda i: 1 / 0), "val": Items()}
'''


@pytest.fixture
def place(make_place: MakePlace, tmp_path: Path) -> Place:
    """Where the module `own_sets_of_test` is imported from."""
    (tmp_path / "own_sets_of_test.py").write_text(OWN)
    return make_place(sources=str(tmp_path))


@pytest.fixture
def plan_of(make_plan: MakePlan) -> MakePlan:
    """A plan of one of the module's data sets, in colour."""

    def make(name: str, **changes: object) -> DataPlan:
        return make_plan(dataset=f"own_sets_of_test:{name}", **{"channels": 3, **changes})

    return make


def refusal(plan: DataPlan, place: Place) -> str:
    """The line with which a data set is refused."""
    with pytest.raises(TrainingError) as caught:
        build_data(plan, place, seed=0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_mapping_of_parts_is_read(plan_of: MakePlan, place: Place) -> None:
    """Images, labels, names of classes; the parts share no number."""
    data = build_data(plan_of("plain"), place, seed=0)

    assert data.classes == ("cat", "dog", "elk")
    assert data.class_counts == (2, 2, 2)
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.train.images.shape == (6, 3, 4, 5)
    assert data.train.images[:, 0, 0, 0].tolist() == list(range(6))
    assert data.train.ids.tolist() == list(range(6))
    assert data.val.ids.tolist() == list(range(6, 12))


def test_an_object_of_parts_is_read(plan_of: MakePlan, place: Place) -> None:
    """With a test part where one is wanted; classes without names are called by number."""
    data = build_data(plan_of("with_test"), place, seed=0, parts=("test",))

    assert data.classes == ("0", "1", "2")
    assert data.test.ids.tolist() == list(range(12, 18))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_alone_has_the_classes_of_all(
    plan_of: MakePlan, place: Place, part: str
) -> None:
    """Classes without names: what is scored later may have no image of the last one."""
    whole = build_data(plan_of("rare"), place, seed=0)
    alone = build_data(plan_of("rare", num_classes=3), place, seed=0, parts=(part,))
    kept = plan_of("rare", num_classes=2, classes=("2", "0"))
    some = build_data(kept, place, seed=0, parts=(part,))

    assert whole.classes == alone.classes == ("0", "1", "2")
    assert some.classes == ("2", "0")
    assert set(some.parts[part].labels.tolist()) == ({0, 1} if part == "train" else {1})


def test_declared_labels_spare_the_images(plan_of: MakePlan, place: Place) -> None:
    """One image is looked at, where every one would be read for its label."""
    data = build_data(plan_of("with_test"), place, seed=0, parts=("train", "val"))

    assert data.train.pixels.dataset.asked == [0]  # type: ignore[attr-defined]
    assert data.val.pixels.dataset.asked == [*range(6), 0]  # type: ignore[attr-defined]


def test_the_root_is_given_to_who_takes_it(
    plan_of: MakePlan, make_place: MakePlace, place: Place
) -> None:
    """Beside the arguments."""
    there = make_place(sources=place.sources, data_root="/data")

    data = build_data(plan_of("rooted", arguments={"shade": 7}), there, seed=0)

    assert data.classes[0] == "/data"
    assert data.train.images.unique().tolist() == [7]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("plain", {}, "own_sets_of_test:plain takes no argument root; leave it out, or let it "
         "take one"),
        ("rooted", {"root": "x"}, "data.arguments has a root too; leave one of them out"),
    ],
)  # fmt: skip
def test_a_root_is_never_passed_over(
    plan_of: MakePlan, make_place: MakePlace, place: Place, name: str,
    arguments: dict[str, str], said: str,
) -> None:  # fmt: skip
    """A folder that is named and not looked into would be a surprise."""
    there = make_place(sources=place.sources, data_root="/data")

    assert refusal(plan_of(name, arguments=arguments), there) == f"data.root: {said}"


def test_torchs_own_data_sets_are_read(plan_of: MakePlan, place: Place) -> None:
    """Tensors in [0, 1] become bytes; a subset has its own labels of the whole."""
    data = build_data(plan_of("tensors", channels=1), place, seed=0)
    parts = build_data(plan_of("parts_of_one"), place, seed=0)

    expected = (torch.linspace(0, 1, 32) * 255).round().to(torch.uint8)
    assert torch.equal(data.train.images.flatten(), expected)
    assert data.train.labels.tolist() == [0, 1] * 4
    assert parts.train.labels.tolist() == [2, 0, 1]
    assert parts.train.images[:, 0, 0, 0].tolist() == [5, 3, 1]


def test_images_that_draw_are_the_same_wherever_they_are_read(
    plan_of: MakePlan, place: Place
) -> None:
    """From any of the three generators, in loader processes and without."""
    plan = plan_of("drawing", batch_size=3)
    data = build_data(plan, place, seed=0)
    epochs = []
    for workers in (0, 2):
        np.random.seed(workers)  # noqa: NPY002
        loader = TrainLoader(
            data.train, plan, seed=0, rank=0, world_size=1, device=torch.device("cpu"),
            loader_workers=workers,
        )  # fmt: skip
        epochs.append(torch.cat([batch.images for batch in loader.epoch(1)]))
        loader.close()

    assert torch.equal(*epochs)
    assert len(epochs[0].unique(dim=0)) == 6


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("0.5", "has the label 0.5; needs a whole number from 0"),
        ("-1", "has the label -1; needs a whole number from 0"),
        ("'cat'", "has the label 'cat'; needs a whole number from 0"),
        ("True", "has the label True; needs a whole number from 0"),
        (
            "torch.tensor([0, 1, 1])",
            "has a vector of labels, of shape (3,); needs one class index: images of several "
            "classes at once are not supported",
        ),
        (
            "[0, 1]",
            "has 2 labels; needs one class index: images of several classes at once are not "
            "supported",
        ),
    ],
)
def test_a_label_is_one_whole_number(
    plan_of: MakePlan, place: Place, label: str, said: str
) -> None:
    """Everything else is refused with its place."""
    line = refusal(plan_of("labelled", arguments={"label": label}), place)

    assert line == f"data.dataset: own_sets_of_test:labelled train[0] {said}"


@pytest.mark.parametrize(
    "label", ["torch.tensor(i % 3)", "np.int64(i % 3)", "np.array([i % 3])"]
)
def test_a_label_may_come_as_an_array_of_one(
    plan_of: MakePlan, place: Place, label: str
) -> None:
    """As tensors and arrays hand out their items."""
    data = build_data(plan_of("labelled", arguments={"label": label}), place, seed=0)

    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("'a.png'", "is a str; needs a PIL image, a tensor (C, H, W) or an array (H, W, C)"),
        ("np.zeros((3, 8, 8), dtype=np.uint8)", "is an image of 8 channels; needs 3"),
        (
            "torch.full((3, 2, 2), 255.0)",
            "is a float image in [255, 255]; needs [0, 1], or uint8",
        ),
    ],
)
def test_an_image_is_looked_at_before_training(
    plan_of: MakePlan, place: Place, image: str, said: str
) -> None:
    """What came, and what is needed."""
    line = refusal(plan_of("shaped", arguments={"image": image}), place)

    assert line == f"data.dataset: own_sets_of_test:shaped train[0] {said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("liar", "own_sets_of_test:liar train[0] has the label 0, its `targets` say 1"),
        ("no_val", "own_sets_of_test:no_val returns no 'val' (dict)"),
        (
            "stream",
            "'train' is a list_iterator; needs a map-style data set, with a length and items "
            "by number",
        ),
        ("nothing", "own_sets_of_test:nothing train is empty"),
        ("single", "own_sets_of_test:single train[0] is no pair of image and label (int)"),
        ("broken", "own_sets_of_test:broken fails (OSError: disk)"),
        (
            "broken_item",
            "own_sets_of_test:broken_item train[0] fails (ZeroDivisionError: division by zero)",
        ),
        ("plian", "own_sets_of_test has no 'plian'; did you mean 'plain'?"),
    ],
)
def test_what_is_no_data_set_is_refused(
    plan_of: MakePlan, place: Place, name: str, said: str
) -> None:
    """In one line, with the name of the user's code."""
    assert refusal(plan_of(name), place) == f"data.dataset: {said}"


def test_labels_beyond_the_named_classes_are_refused(plan_of: MakePlan, place: Place) -> None:
    """Three classes are named, a label says that there is a tenth."""
    line = refusal(plan_of("misnamed"), place)

    assert line == (
        "data.dataset: the train part has labels from 9 to 9; needs 0 to 2, one for each of 3 "
        "classes"
    )


def test_arguments_that_it_does_not_take_are_said(plan_of: MakePlan, place: Place) -> None:
    """In Python's words."""
    line = refusal(plan_of("plain", arguments={"folds": 3}), place)

    assert line == (
        "data.dataset: own_sets_of_test:plain fails (TypeError: plain() got an unexpected "
        "keyword argument 'folds')"
    )
