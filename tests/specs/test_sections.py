"""Each key has a type and a range, each rule between keys a message."""

import re
from collections.abc import Callable

import pytest

from orchestrator.specs.experiment import ExperimentSpec, Keys
from orchestrator.specs.fields import kind_of, list_fields, section_of

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]

UNITS = re.compile(
    r"dimensionless|count|pixels|epochs|nats|true or false|`true`|metric's unit", re.IGNORECASE
)


@pytest.mark.parametrize("key", list_fields(Keys))
def test_every_key_says_what_it_is(key: str) -> None:
    """The text under a key has its unit, where it takes a number, a yes or a no."""
    field = list_fields(Keys)[key]
    text = " ".join((field.description or "").split())

    assert text.endswith(".")
    if kind_of(field) in ("number", "whole", "flag"):
        assert UNITS.search(text), text


def test_every_section_says_what_it_is() -> None:
    """Sections are documented twice: on the model, and where they stand in the file."""
    sections = {key: field for key, field in Keys.model_fields.items() if section_of(field)}

    assert len(sections) == 11
    assert all(field.description for field in sections.values())
    assert all(
        (section_of(field).__doc__ or "").startswith(f"Key `{key}`: ")
        for key, field in sections.items()
    )


@pytest.mark.parametrize(
    ("key", "value", "mistake"),
    [
        ("description", "3", "must be text (got 3); put it in quotes"),
        ("description", "[3]", "must be text (got a list)"),
        ("seed", "1.0", "must be a whole number (got 1.0)"),
        ("seed", "true", "must be a whole number (got true)"),
        ("seed", "null", "must be a whole number (got null)"),
        ("seed", "4294967296", "must be less than 4294967296 (got 4294967296)"),
        ("deterministic", "maybe", "must be true, false or 'warn' (got 'maybe')"),
        ("deterministic", "[1]", "must be true, false or 'warn' (got a list)"),
        (
            "storage_path",
            "ftp://x/y",
            "no such object storage (got 'ftp://x/y'); name a folder, or one of s3://, gs://, "
            "file://",
        ),
        ("data.root", "x", "digits is shipped inside the package; leave root out"),
        ("data.image_size", "7", "must be at least 8 (got 7)"),
        ("data.batch_size", "1", "must be at least 2 (got 1)"),
        ("data.loader_workers", "-1", "must be at least 0 (got -1)"),
        ("data.train_size", "1", "must be at least 2 (got 1)"),
        ("data.label_noise", "1", "must be less than 1 (got 1)"),
        (
            "data.label_noise",
            "20%",
            "must be a number (got '20%'); write it without quotes or units",
        ),
        ("data.drop_last", "no", "must be true or false (got 'no')"),
        ("loss.label_smoothing", "-0.1", "must be at least 0 (got -0.1)"),
        (
            "loss.label_smoothing",
            "'0.1'",
            "must be a number (got '0.1'); write it without quotes or units",
        ),
        (
            "loss.label_smoothing",
            "[0, 0.1]",
            "must be a number (got a list); to search over values write {grid: [...]}",
        ),
        ("loss.label_smoothing", "false", "must be a number (got false)"),
        ("optimizer.lr", "0", "must be greater than 0 (got 0)"),
        ("optimizer.momentum", "1", "must be less than 1 (got 1)"),
        ("optimizer.weight_decay", "-1", "must be at least 0 (got -1)"),
        ("schedule.warmup_epochs", "-1", "must be at least 0 (got -1)"),
        ("schedule.warmup_epochs", "4", "must be less than training.epochs, 4 (got 4)"),
        ("training.epochs", "0", "must be at least 1 (got 0)"),
        ("training.select", "first", "must be 'last' or 'best' (got 'first')"),
        ("fine_tune", "{head_lr: -1, backbone_lr: 0}", None),
        ("resources.num_workers", "0", "must be at least 1 (got 0)"),
        ("resources.cpus_per_worker", "0", "must be at least 1 (got 0)"),
        ("resources.gpus_per_worker", "-1", "must be at least 0 (got -1)"),
        ("resources.gpus_per_worker", "0.001", "must be 0 or at least 0.01 (got 0.001)"),
        (
            "resources.gpus_per_worker",
            "2",
            "must be at most 1 (got 2); set resources.num_workers for several GPUs per run",
        ),
        ("resources.placement", "strict", "must be 'pack' or 'spread' (got 'strict')"),
        (
            "resources.placement",
            "spread",
            "means nothing with one worker per run; leave it out",
        ),
        (
            "resources.visible_devices",
            "0",
            "must be a list of GPUs (got 0); write [0, 2], or [[0], [2]] for each lane, or "
            "{NODE: [0, 2]}",
        ),
        (
            "resources.visible_devices",
            "all",
            "must be a list of GPUs (got 'all'); write [0, 2], or [[0], [2]] for each lane, or "
            "{NODE: [0, 2]}",
        ),
        ("resources.visible_devices", "[-1]", "a GPU is numbered from 0 (got -1)"),
        (
            "resources.visible_devices",
            "[0.5]",
            "a GPU is a number or a UUID (got 0.5); write [0, 2], or [[0], [2]] for each lane, "
            "or {NODE: [0, 2]}",
        ),
        ("resources.visible_devices", "[1, 1]", "names a GPU twice (got [1, 1])"),
        (
            "resources.visible_devices",
            "{}",
            "must name a node (got an empty map); write [0, 2], or [[0], [2]] for each lane, "
            "or {NODE: [0, 2]}",
        ),
        ("resources.num_workers", "1.5", "must be a whole number (got 1.5)"),
        ("search.seeds", "0", "must be at least 1 (got 0)"),
        ("search.max_concurrent", "0", "must be at least 1 (got 0)"),
        ("search.allow_confounded_metric", "1", "must be true or false (got 1)"),
        ("search", "[1]", "must be a map of keys (got a list)"),
        (
            "tracking.uri",
            "file:///x",
            "file stores are not supported (got 'file:///x'); use 'sqlite:///PATH' or an http "
            "address",
        ),
        (
            "tracking.uri",
            "http://me:x@host",
            "holds a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
            "instead",
        ),
        (
            "tracking.uri",
            "mlruns",
            "no such store (got 'mlruns'); use 'sqlite:///PATH' or an http address",
        ),
    ],
)
def test_types_and_ranges_are_checked(
    refused: Refused, key: str, value: str, mistake: str | None
) -> None:
    """A value outside of its type or range is refused in plain words."""
    if mistake is None:
        key, mistake = "fine_tune.head_lr", "must be at least 0 (got -1)"
        override = f"fine_tune={value}"
    else:
        override = f"{key}={value}"

    assert refused("", override) == (f"override {override!r}: {key}: {mistake}",)


@pytest.mark.parametrize("name", ["a b", "", "-a", ".a", "a/b", "é", "a" * 65])
def test_names_are_folders_on_every_system(refused: Refused, name: str) -> None:
    """A name becomes a folder and a part of a run's address."""
    assert refused("", f"name='{name}'") == (
        f"""override "name='{name}'": name: must be up to 64 letters, digits, '.', '_' or """
        f"'-', the first a letter or digit (got '{name}')",
    )


@pytest.mark.parametrize("name", ["mlflow", "MLflow.db", "mlflow.db-wal", "mlflow-artifacts"])
def test_names_of_mlflows_store_are_refused(refused: Refused, name: str) -> None:
    """They lie in the same folder."""
    assert refused("", f"name={name}") == (
        f"override 'name={name}': name: is the name of MLflow's store beside the experiments "
        f"(got '{name}'); choose another",
    )


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0", "a" * 64])
def test_plain_names_are_taken(load: Load, name: str) -> None:
    """Letters, digits and three signs, up to 64."""
    assert load("", f"name='{name}'").keys.name == name


@pytest.mark.parametrize(
    ("resources", "place", "mistake"),
    [
        (
            "num_workers: 2, min_workers: 2",
            "5:42: resources.min_workers",
            "num_workers, 2 (got 2)",
        ),
        ("min_workers: 1", "5:26: resources.min_workers", "less than num_workers, 1 (got 1)"),
        (
            "num_workers: 2, min_workers: 1, visible_devices: [[0], [1]]",
            "5:62: resources.visible_devices",
            "give one list for all nodes",
        ),
        (
            "num_workers: 2, min_workers: 1, visible_devices: {a: [0], b: [1]}",
            "5:62: resources.visible_devices",
            "give one list for all nodes",
        ),
    ],
)
def test_an_elastic_run_needs_something_to_lose(
    refused: Refused, resources: str, place: str, mistake: str
) -> None:
    """Fewer workers than all, and no GPU that belongs to one node or one lane."""
    (told,) = refused(f"resources: {{{resources}}}\n")

    assert told.startswith(f"x.yaml:{place}: ")
    assert told.endswith(mistake)


def test_momentum_belongs_to_sgd(refused: Refused) -> None:
    """A key that the optimizer has no use for is refused, not ignored."""
    assert refused("optimizer: {name: adamw, momentum: 0.9}\n") == (
        "x.yaml:5:36: optimizer.momentum: belongs to sgd and rmsprop, adamw has no momentum "
        "(got 0.9); leave it out",
    )


def test_fine_tune_sets_the_rates_alone(refused: Refused) -> None:
    """Two places for one learning rate are one too many."""
    assert refused("optimizer: {lr: 0.1}\nfine_tune: {backbone_lr: 0, head_lr: 0.1}\n") == (
        "x.yaml:5:17: optimizer.lr: fine_tune sets the learning rates; leave one of the two "
        "out (got 0.1)",
    )


def test_fine_tune_needs_both_rates(refused: Refused) -> None:
    """A missing key of a section is shown where the section is."""
    assert refused("fine_tune:\n  head_lr: 0.1\n") == (
        "x.yaml:5:1: fine_tune.backbone_lr: required beside head_lr",
    )


def test_the_last_seed_is_in_range(refused: Refused) -> None:
    """Seeds count up from the first, and none of them may leave the range."""
    assert refused("seed: 4294967295\nsearch: {seeds: 2}\n") == (
        "x.yaml:6:17: search.seeds: the last seed, 4294967296, must be less than 4294967296",
    )


def test_a_rule_broken_by_a_default_is_shown_at_the_section(refused: Refused) -> None:
    """A key that is not written has no place of its own."""
    assert refused("schedule: {warmup_epochs: 2}\n", "training.epochs=2") == (
        "x.yaml:5:27: schedule.warmup_epochs: must be less than training.epochs, 2 (got 2)",
    )


def test_keys_are_frozen(load: Load) -> None:
    """A spec does not change after it was checked."""
    with pytest.raises(ValueError, match="frozen"):
        load().keys.data.batch_size = 3
