"""Keys that hold lists and maps: read as they stand, each part answered at its own place."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.specs.search import Grid

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., Sequence[str]]


def test_rules_of_groups_are_read(load: Load) -> None:
    """A list of maps, in its order."""
    tune = load(
        "fine_tune:\n"
        "  groups:\n"
        "    - {match: '^head', lr: 1}\n"
        "    - {type: BatchNorm2d, freeze: true}\n"
        "    - {match: '.*', lr_mult: 0.1, weight_decay: 0}\n"
    ).keys.fine_tune

    assert tune is not None
    assert tune.groups is not None
    assert [(r.match, r.type, r.lr, r.lr_mult, r.freeze) for r in tune.groups] == [
        ("^head", None, 1.0, None, False),
        (None, "BatchNorm2d", None, None, True),
        (".*", None, None, 0.1, False),
    ]


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        (
            "fine_tune: {groups: [{match: a}, {mach: b, lr: 1}]}\n",
            "x.yaml:5:35: fine_tune.groups.1.mach: no such key; did you mean 'match'?",
        ),
        (
            "fine_tune: {groups: [{match: a, lr: -1}]}\n",
            "x.yaml:5:33: fine_tune.groups.0.lr: must be at least 0 (got -1)",
        ),
        (
            "fine_tune: {groups: [{match: a, lr: 1, lr_mult: 2}]}\n",
            "x.yaml:5:22: fine_tune.groups.0: takes one of lr, lr_mult and freeze",
        ),
        (
            "fine_tune: {groups: [{lr: 1}]}\n",
            "x.yaml:5:22: fine_tune.groups.0: needs either match or type",
        ),
        (
            "fine_tune: {groups: [{match: '(', lr: 1}]}\n",
            "x.yaml:5:23: fine_tune.groups.0.match: is no regular expression: missing ), "
            "unterminated subpattern at position 0 (got '(')",
        ),
        (
            "fine_tune: {groups: 3}\n",
            "x.yaml:5:21: fine_tune.groups: must be a list (got 3)",
        ),
        (
            "fine_tune: {groups: [3]}\n",
            "x.yaml:5:22: fine_tune.groups.0: must be a map of keys (got 3)",
        ),
        (
            "fine_tune: {groups: [{match: a, lr: 1}], head_lr: 1}\n",
            "x.yaml:5:51: fine_tune.head_lr: groups say the rates; leave one of the two out",
        ),
        (
            "fine_tune: {unfreeze: [{epoch: 9, match: a, lr: 1}]}\n",
            "x.yaml:5:25: fine_tune.unfreeze.0.epoch: must be at most training.epochs, 4 "
            "(got 9)",
        ),
        (
            "schedule: {name: multistep, milestones: [3, 1]}\n",
            "x.yaml:5:41: schedule.milestones: must rise (got [3, 1])",
        ),
        (
            "schedule: {name: multistep, milestones: [2, 4]}\n",
            "x.yaml:5:41: schedule.milestones: must be less than training.epochs, 4 "
            "(got [2, 4])",
        ),
        (
            "loss: {class_weights: [1, 0]}\n",
            "x.yaml:5:23: loss.class_weights: must be numbers greater than 0 (got 0)",
        ),
        (
            "loss: {class_weights: equal}\n",
            "x.yaml:5:23: loss.class_weights: must be none, balanced or a list of numbers "
            "(got 'equal')",
        ),
        (
            "model: {rules: [{match: a, tensor: b.pth:c}]}\n",
            "must be FILE.safetensors:KEY",
        ),
    ],
)
def test_a_mistake_in_a_structure_has_its_own_place(
    refused: Refused, lines: str, mistake: str
) -> None:
    """Line and column of the very part, and the part's dotted name."""
    if lines.startswith("model"):
        lines = lines.removeprefix("model: ")
        assert any(mistake in text for text in refused("", f"model={lines.strip()}"))
    else:
        assert refused(lines) == (mistake,)


def test_arguments_may_be_searched(load: Load) -> None:
    """A space stands in place of an argument's value; others stay what they are."""
    spec = load("", "loss={name: mine:loss, arguments: {power: {grid: [1, 2]}, of: [a, b]}}")

    assert spec.keys.loss.arguments == {"power": 1, "of": ["a", "b"]}
    assert spec.spaces == {"loss.arguments.power": Grid((1, 2))}
    assert spec.at({"loss.arguments.power": 2}).loss.arguments == {"power": 2, "of": ["a", "b"]}
    again = load_spec({**_parsed(spec)})
    assert again.spaces == spec.spaces


def _parsed(spec: ExperimentSpec) -> dict[str, object]:
    import yaml

    loaded: dict[str, object] = yaml.safe_load(spec.text)
    return loaded


def test_arguments_of_a_data_set_are_not_searched(refused: Refused) -> None:
    """Settings are compared on one data set."""
    text = "data={dataset: mine:data, arguments: {size: {grid: [1, 2]}}}"

    assert refused("", text)[0].endswith(
        "data.arguments.size: cannot be searched; settings are compared on one data set"
    )


@pytest.mark.parametrize(
    ("transforms", "mistake"),
    [
        ("[RandomFlip]", "no such transform of torchvision's v2 (got 'RandomFlip'); "),
        ("[{RandomCrop: {siz: 3}}]", "RandomCrop has no argument 'siz'; it takes size, "),
        ("[{RandomCrop: 3}]", "RandomCrop takes a map of arguments (got 3)"),
        ("[{RandomCorp: 3}]", "no such transform of torchvision's v2 (got 'RandomCorp'); "),
        ("[Normalize]", "Normalize comes last by itself; set data.normalize"),
        ("[ToTensor]", "ToTensor is done by itself; leave it out"),
        ("[MixUp]", "MixUp mixes whole batches; set data.mixup"),
        ("[3]", "must be a name, or a map from one name to its arguments (got 3)"),
        ("7", "must be a list of transforms (got 7)"),
    ],
)
def test_a_transform_that_cannot_be_is_refused(
    refused: Refused, transforms: str, mistake: str
) -> None:
    """Without torchvision being loaded."""
    index = ".0" if transforms.startswith("[") else ""

    assert refused("", f"data.transforms={transforms}")[0].startswith(
        f"override 'data.transforms={transforms}': data.transforms{index}: {mistake}"
    )


def test_every_mistake_of_a_list_is_named_where_it_stands(
    refused_whole: Refused,
) -> None:
    """A list of many lines has its mistakes on many lines."""
    found = refused_whole(
        "name: try\n"
        "model: {architecture: small_cnn}\n"
        "training: {epochs: 4}\n"
        "data:\n"
        "  dataset: digits\n"
        "  transforms:\n"
        "    - Flip\n"
        "    - RandomHorizontalFlip\n"
        "    - {RandomCrop: {siz: 8, paddin: 2}}\n"
    )

    assert [text.partition(";")[0] for text in found] == [
        "x.yaml:7:7: data.transforms.0: no such transform of torchvision's v2 (got 'Flip')",
        "x.yaml:9:7: data.transforms.2: RandomCrop has no argument 'siz'",
        "x.yaml:9:7: data.transforms.2: RandomCrop has no argument 'paddin'",
    ]


def test_contradictions_are_told_at_once(refused: Refused) -> None:
    """Several of one section, of several sections, and keys that nothing reads beside them."""
    found = refused(
        "schedule: {name: step, milestones: [3, 1], gamma: 0.1}\n"
        "optimizer: {name: adam, momentum: 0.5, arguments: {lr: 1}}\n"
        "fine_tune: {groups: [{lr: 0.1}, {match: x, lr: 0.1, freeze: true}], head_lr: 1}\n"
    )

    assert [text.split(": ")[1] for text in found] == [
        "schedule.step_epochs",
        "schedule.milestones",
        "optimizer.arguments.lr",
        "fine_tune.groups.0",
        "fine_tune.groups.1",
    ]


def test_contradictions_between_sections_are_told_at_once(refused: Refused) -> None:
    """Once every section holds by itself."""
    found = refused(
        "schedule: {name: multistep, milestones: [3, 9], warmup_epochs: 8}\n"
        "fine_tune: {backbone_lr: 0.1, head_lr: 1, linear_probe_epochs: 5}\n"
        "optimizer: {lr: 1}\n"
    )

    assert [text.split(": ")[1] for text in found] == [
        "schedule.milestones",
        "schedule.warmup_epochs",
        "fine_tune.linear_probe_epochs",
        "optimizer.lr",
    ]


@pytest.mark.parametrize(
    ("override", "mistake"),
    [
        ("data.random_erasing=0.1 and data.transforms=[Grayscale]", "is added to presets; "),
        (
            "data.eval_transforms=[Grayscale]",
            "belongs to a list of transforms, none has its own",
        ),
        ("data.mean=[0.5]", "belongs to data.normalize: given"),
        ("data.mix_off_epoch=3", "belongs to mixup and cutmix, which are off"),
        ("data.download=true", "digits cannot be fetched; leave it out"),
        (
            "data.dataset=imagenet and data.root=/x and data.download=true",
            "torchvision cannot fetch imagenet: put it into data.root, and leave it out",
        ),
        ("data.val_share=0.5", "digits brings its own split; leave it out"),
        ("data.root=/x", "digits is shipped inside the package; leave root out"),
        ("data.dataset=cifar10", "required for cifar10"),
        ("data.classes=[a]", "must be 2 names or more (got 1)"),
        ("data.classes=[a,a]", "a name is there twice"),
        ("data.arguments={x: 1}", "digits takes no arguments; leave them out"),
        ("model.arguments={x: 1}", "small_cnn takes no arguments; leave them out"),
        ("model.head=gap", "small_cnn has that head already; leave it out"),
        ("model.strict=true", "belongs to model.weights, which is not set"),
        ("model.weights=DEFAULT", "torchvision has none for small_cnn (got 'DEFAULT'); "),
        ("optimizer.reference_batch_size=9", "belongs to scale_lr: linear or sqrt, "),
        ("optimizer.arguments={lr: 1}", "is a key of its own, optimizer.lr"),
        ("schedule.gamma=0.5", "belongs to step and multistep, not to constant"),
        ("schedule.name=step", "required with schedule.name: step"),
        ("schedule.step_epochs=1", "belongs to step, constant does not fall so"),
        ("training.cudnn_benchmark=true", "picks algorithms by the clock; set deterministic: "),
        ("loss.arguments={x: 1}", "cross_entropy takes no arguments; leave them out"),
        ("fine_tune={groups: []}", "must hold something (got an empty list); leave it out"),
        ("loss.smoothing={grid: [others, uniform]}", "belongs to label_smoothing, which is 0"),
        ("loss.smoothing={grid: [uniform, others]}", "belongs to label_smoothing, which is 0"),
        ("data.cache=1", "must be true, false or a word (got 1)"),
        ("deterministic=1", "must be true, false or a word (got 1)"),
        ("data.transforms=null", "must be one of none, light, imagenet, or a list (got null)"),
        (
            "loss={name: a:b, class_weights: balanced}",
            "is not given to a:b; weight the classes",
        ),
        ("loss.class_weights=[.nan, 1]", "must be "),
        ("optimizer.arguments={dampening: .nan}", "must be a finite number (got nan)"),
        ("fine_tune={}", "says nothing; leave it out"),
        (
            "fine_tune={groups: [{match: x, lr: 0, weight_decay: 1}, {match: y, lr: 1}]}",
            "belongs to parameters that learn, these are frozen; leave it out",
        ),
        ("data.cache=true", "belongs to image files, digits has none; leave it out"),
        ("data.on_corrupt=skip", "belongs to image files, digits has none; leave it out"),
        (
            "optimizer={name: rprop, weight_decay: 0.1}",
            "rprop has no weight decay; leave it out",
        ),
        ("fine_tune={linear_probe_epochs: 4}", "must be less than training.epochs, 4 (got 4)"),
    ],
)
def test_a_key_that_nothing_would_read_is_refused(
    refused: Refused, override: str, mistake: str
) -> None:
    """A key that is accepted and then ignored would be a bug."""
    texts = refused("", *override.split(" and "))

    assert any(f": {mistake}" in text for text in texts)


def test_a_rate_beside_groups_is_read_by_factors_alone(load: Load, refused: Refused) -> None:
    """optimizer.lr is the base of lr_mult; where every rule has its own rate it is refused."""
    factors = load("fine_tune: {groups: [{match: '.*', lr_mult: 2}]}\noptimizer: {lr: 0.1}\n")

    assert factors.keys.optimizer.lr == 0.1
    assert refused("fine_tune: {groups: [{match: '.*', lr: 2}]}\noptimizer: {lr: 0.1}\n") == (
        "x.yaml:6:17: optimizer.lr: fine_tune sets the learning rates; leave one of the two "
        "out (got 0.1)",
    )


def test_files_of_weights_are_relative_to_the_spec(folder: Path, load: Load) -> None:
    """Also in a search space and in a rule; names of torchvision and of runs stay."""
    listed = load("", "model.weights={grid: [a.pth, run:x, sub/b.safetensors]}")
    rules = load("", "model.rules=[{match: a, tensor: t.safetensors:key}]")

    assert listed.spaces["model.weights"] == Grid(
        (f"{folder}/a.pth", "run:x", f"{folder}/sub/b.safetensors")
    )
    assert rules.keys.model.rules[0].tensor == f"{folder}/t.safetensors:key"


def test_a_space_in_an_optional_section_is_kept_in_the_records(load: Load) -> None:
    """The spec as one text loads as the same search."""
    spec = load("fine_tune: {backbone_lr: {grid: [0, 0.1]}, head_lr: 1}\n")

    assert load_spec(_parsed(spec)).spaces == spec.spaces


@pytest.mark.parametrize(
    "space",
    [
        "data.random_erasing={grid: [0, 0.1]}",
        "data.sampler={grid: [shuffle, balanced]}",
        "loss={name: mine:loss, arguments: {gamma: {grid: [1, 2]}}}",
    ],
)
def test_a_training_loss_of_other_images_or_another_loss_judges_nothing(
    refused: Refused, space: str
) -> None:
    """What is searched changes what the loss is measured on, or what it means."""
    assert any(
        "bends train/loss by itself" in t
        for t in refused("", space, "search.metric=train/loss")
    )
