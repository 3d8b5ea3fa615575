"""Every word that a user may try is answered: our key, the nearest one, or 'not built yet'."""

from collections.abc import Callable

import pytest

from orchestrator.specs.experiment import Keys
from orchestrator.specs.fields import list_fields
from orchestrator.specs.reading import known_keys
from orchestrator.specs.vocabulary import not_built
from orchestrator.specs.words import NOT_BUILT_KEYS, NOT_BUILT_VALUES, OTHER_WORDS

Refused = Callable[..., tuple[str, ...]]


@pytest.mark.parametrize(
    ("key", "mistake"),
    [
        ("data.batchsize", "no such key; did you mean 'batch_size'?"),
        ("sed", "no such key; did you mean 'seed'?"),
        ("optimiser", "no such key; did you mean 'optimizer'?"),
        ("label_smoothing", "that is 'loss.label_smoothing' here"),
        ("training.label_smoothing", "that is 'loss.label_smoothing' here"),
        ("labelsmoothing", "no such key; did you mean 'loss.label_smoothing'?"),
        (
            "model.zzz",
            "no such key; keys here are architecture, arguments, head, weights, "
            "strict, min_loaded, initialization, rules, sync_batch_norm, channels_last",
        ),
        ("learning_rate", "that is 'optimizer.lr' here"),
        ("optimizer.learning_rate", "that is 'optimizer.lr' here"),
        ("max_epochs", "that is 'training.epochs' here"),
        ("epochs", "that is 'training.epochs' here"),
        ("seed_everything", "that is 'seed' here"),
        ("momentum", "that is 'optimizer.momentum' here"),
        ("amp", "that is 'training.precision' here"),
        ("precision", "that is 'training.precision' here"),
        ("model.backbone", "that is 'model.architecture' here"),
        ("loss.smooth", "no such key; did you mean 'smoothing'?"),
        ("betas", "that is 'optimizer.arguments' here"),
        ("search.scheduler", "not built yet; every run trains to its end"),
        (
            "checkpoint.interval",
            "no such key; keys here are every_epochs, every_steps, keep_last, keep_best",
        ),
        ("loss.grid", "a search space stands in place of a value, not of the section 'loss'"),
    ],
)
def test_unknown_keys_are_answered(refused: Refused, key: str, mistake: str) -> None:
    """A key that does nothing is a mistake, and what was probably meant is said."""
    assert refused("", f"{key}=1")[0] == f"override '{key}=1': {key}: {mistake}"


def test_the_key_that_was_meant_is_not_missing_too(refused_whole: Refused) -> None:
    """One slip is one mistake."""
    text = "name: a\ndata: {datset: digits}\nmodel: {architecture: small_cnn}\nmax_epochs: 3\n"

    assert refused_whole(text) == (
        "x.yaml:2:8: data.datset: no such key; did you mean 'dataset'?",
        "x.yaml:4:1: max_epochs: that is 'training.epochs' here",
    )


@pytest.mark.parametrize(
    ("key", "value", "mistake"),
    [
        ("data.dataset", "digit", "no such data set (got 'digit'); did you mean 'digits'?"),
        (
            "data.dataset",
            "pets",
            "no such data set (got 'pets'); `orchestrator schema` lists all 27",
        ),
        (
            "data.dataset",
            "CIFAR10",
            "no such data set (got 'CIFAR10'); did you mean 'cifar10'?",
        ),
        (
            "data.dataset",
            "my-data:cells",
            "own code is written module:callable (got 'my-data:cells')",
        ),
        (
            "model.architecture",
            "resnet8",
            "no such architecture (got 'resnet8'); did you mean 'resnet18'?",
        ),
        (
            "model.architecture",
            "ResNet-50",
            "no such architecture (got 'ResNet-50'); did you mean 'resnet50'?",
        ),
        ("model.architecture", "18", "must be text (got 18); put it in quotes"),
        (
            "model.architecture",
            "timm/",
            "no such architecture (got 'timm/'); `orchestrator schema` lists all 81",
        ),
        ("loss.name", "focal", "no such loss (got 'focal'); use 'bce' or 'cross_entropy'"),
        ("optimizer.name", "Adam", "no such optimizer (got 'Adam'); did you mean 'adam'?"),
        ("search.algorithm", "tpe", "'tpe' is not built yet; use 'grid' or 'random'"),
        (
            "data.transforms",
            "imagnet",
            "no such preset (got 'imagnet'); did you mean 'imagenet'?",
        ),
        (
            "data.transforms",
            "RandAugment",
            "no such preset (got 'RandAugment'); write a list, [RandAugment]",
        ),
        (
            "training.early_stopping.metric",
            "val_loss",
            "no such metric that a run reports (got 'val_loss'); did you mean 'val/nll'?",
        ),
        (
            "schedule.name",
            "onecycle",
            "no such schedule (got 'onecycle'); did you mean 'one_cycle'?",
        ),
        (
            "search.metric",
            "val_loss",
            "no such metric that a run reports (got 'val_loss'); did you mean 'val/nll'?",
        ),
        (
            "search.metric",
            "fps",
            "no such metric that a run reports (got 'fps'); use 'val/accuracy', 'val/top5', "
            "'val/balanced_accuracy', 'val/macro_f1', 'val/nll', 'val/nll_calibrated', "
            "'val/ece', 'val/ece_adaptive', 'val/brier' or 'train/loss'",
        ),
    ],
)
def test_unknown_values_are_answered(
    refused: Refused, key: str, value: str, mistake: str
) -> None:
    """A word that is none of the listed ones gets the nearest, or all of them."""
    assert refused("", f"{key}={value}")[0] == f"override '{key}={value}': {key}: {mistake}"


def test_no_key_is_both_built_and_not() -> None:
    """The table of what is not built yet shrinks as things are built."""
    assert not set(NOT_BUILT_KEYS) & set(known_keys())
    options = {key: set(words.split()) for key, words in NOT_BUILT_VALUES.items()}
    assert set(options) <= set(list_fields(Keys))


@pytest.mark.parametrize("key", sorted(set(OTHER_WORDS.values())))
def test_other_words_lead_to_keys(key: str) -> None:
    """What another tool's word is answered with is a key, or will be one."""
    assert key in known_keys() or not_built(key) is not None


def test_our_keys_are_nobodys_other_words() -> None:
    """A word that is a key of ours at the top is never taken for another tool's."""
    assert not set(OTHER_WORDS) & set(Keys.model_fields)
