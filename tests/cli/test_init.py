"""`init` as it is typed: the file it proposes is valid, plannable and trainable as it is."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.main import run_command_line
from orchestrator.errors import SpecError
from orchestrator.preparation.folder_survey import MOST_HEADERS, survey_folder
from orchestrator.preparation.proposal import choose_batch_size, choose_image_size, propose
from orchestrator.preparation.starter import name_experiment, write_starter
from orchestrator.specs.load import load_spec

WriteImages = Callable[..., Path]

EXPECTED = "expected FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE and FOLDER/val/..."
THIRTY = {"cats": 12, "dogs": 12, "frogs": 6}


def test_what_is_written_trains_as_it_is(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """Small images of different sizes: validate, plan and a quick training take the file."""
    write_images(THIRTY, low=8, high=40)

    assert run_command_line(["init", "photos"]) == 0
    assert run_command_line(["validate", "photos.yaml"]) == 0
    assert run_command_line(["plan", "photos.yaml"]) == 0
    assert run_command_line(["run", "photos.yaml", "--fast-dev-run", "--in-process"]) == 0

    said = capsys.readouterr().out
    assert "photos.yaml: ok, photos\n" in said
    assert "small_cnn on image_folder, 24 images of" in said
    assert "val/accuracy, from 1 seed" in said or "val/accuracy is" in said


def test_init_prints_what_it_saw_and_what_comes_next(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes by their size, the cut, the balance, the sizes, and commands to type."""
    write_images({"cats": 20, "dogs": 5}, low=30, high=30)

    assert run_command_line(["init", "photos"]) == 0

    said = capsys.readouterr().out
    head, _, next_steps = said.partition("\nnext\n")
    assert head == (
        "photos: 25 images of 2 classes\n"
        "\n"
        "  class  train  val\n"
        "  ─────────────────\n"
        "  cats      16    4\n"
        "  dogs       4    1\n"
        "  all       20    5\n"
        "\n"
        "parts       20% are cut off to validate on\n"
        "balance     the largest class has 4.0 times the training images of the smallest\n"
        "sizes       30 x 30 pixels, all of them (25 headers read)\n"
        "\n"
        "wrote photos.yaml: small_cnn from random weights, 30 pixels, batches of 8\n"
    )
    commands = [line.split("  ")[1].split()[1:] for line in next_steps.splitlines()]
    assert commands == [
        ["check-data", "photos.yaml"],
        ["plan", "photos.yaml"],
        ["run", "photos.yaml", "--fast-dev-run"],
        ["run", "photos.yaml"],
    ]


def test_large_images_begin_with_imagenets_weights(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan needs no weights; `fetch` is among the next steps."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    write_images({"a": 12, "b": 12}, low=230, high=260, extension="jpg")

    assert run_command_line(["init", "photos", "--output", "first.yaml"]) == 0
    assert run_command_line(["plan", "first.yaml"]) == 0

    said = capsys.readouterr().out
    assert "orchestrator fetch first.yaml" in said
    assert "group      head: 2 tensors" in said
    keys = load_spec("first.yaml").keys
    assert (keys.model.architecture, keys.model.weights) == ("resnet18", "DEFAULT")
    assert (keys.data.image_size, keys.data.transforms) == (224, "imagenet")
    assert (keys.name, keys.search.seeds) == ("photos", 3)


@pytest.mark.parametrize("line", ["# sampler: balanced", "# class_weights: balanced"])
def test_balancing_is_proposed_where_classes_are_uneven(
    line: str, write_images: WriteImages
) -> None:
    """As a comment that works once it is none; the metric counts every class alike."""
    write_images({"a": 30, "b": 8})

    text = write_starter("photos").path.read_text()
    assert line in text
    Path("other.yaml").write_text(text.replace(line, line.removeprefix("# ")))
    keys = load_spec("other.yaml").keys
    assert keys.search.metric == "val/balanced_accuracy"
    assert "balanced" in (keys.data.sampler, keys.loss.class_weights)

    write_images({"a": 30, "b": 24}, root="even")
    assert "balanced" not in write_starter("even").path.read_text()


def test_every_commented_key_is_valid(write_images: WriteImages) -> None:
    """What a comment offers can be taken at its word."""
    write_images(THIRTY, low=100, high=120)
    text = write_starter("photos").path.read_text()
    offered = [line for line in text.splitlines() if line.startswith("  # ") and ": " in line]

    assert len(offered) == 4
    for line in offered:
        key = line.removeprefix("  # ").partition(":")[0]
        changed = "\n".join(
            old for old in text.splitlines() if not old.startswith(f"  {key}:")
        ).replace(line, line.replace("# ", "", 1))
        Path("changed.yaml").write_text(changed)
        load_spec("changed.yaml")


def test_parts_that_have_folders_are_taken(write_images: WriteImages) -> None:
    """Nothing is cut off then, and nothing is said about a share."""
    write_images({"train/a": 9, "train/b": 10, "val/a": 3, "val/b": 2, "test/a": 1})

    starter = write_starter("photos")

    assert starter.survey.parts == ("train", "val", "test")
    assert starter.survey.counts == {"train": (9, 10), "val": (3, 2), "test": (1, 0)}
    text = starter.path.read_text()
    assert "val_share" not in text
    assert "test/ is read by `orchestrator evaluate RUN --split test` alone" in text


def test_few_images_are_halved(write_images: WriteImages) -> None:
    """A fifth of two or three images would be none; the file says which share it takes."""
    write_images({"a": 1, "b": 1})

    with pytest.raises(SpecError, match=r"^photos: class '[ab]' has no image to train on"):
        write_starter("photos")

    write_images({"a": 2})
    starter = write_starter("photos")
    assert (starter.survey.val_share, starter.survey.train_size) == (0.2, 2)
    assert starter.proposal.batch_size == 2
    assert load_spec(starter.path).keys.data.batch_size == 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"^photos: no class in .*; needs images of two classes or more; expected FOLDER/"),
        ({"a": 3}, r"^photos: only the class 'a' in .*; needs images of two classes or more; "),
        (
            {".": 2},
            r"^photos: no class in .*; 2 images lie in the folder itself; expected FOLD",
        ),
        (
            {"a": 2, "b": 0},
            r"^photos: class 'b' has no image to train on in .*; images end in ",
        ),
    ],
)
def test_a_folder_that_is_no_data_set_says_what_is_expected(
    counts: dict[str, int], message: str, here: Path, write_images: WriteImages
) -> None:
    """One line: what is there, and what was expected."""
    (here / "photos").mkdir()
    write_images(counts)

    with pytest.raises(SpecError, match=message) as caught:
        write_starter("photos")
    assert str(caught.value).endswith(EXPECTED)
    assert not Path("photos.yaml").exists()


def test_a_table_is_pointed_at(here: Path) -> None:
    """A CSV file is another data set; whether it or its folder was named."""
    (here / "photos").mkdir()
    Path("photos/labels.csv").write_text("path,label\n")
    advice = "for a CSV table, write data: {dataset: table, root: labels.csv}"

    for folder in ("photos", "photos/labels.csv"):
        with pytest.raises(SpecError) as caught:
            write_starter(folder)
        assert str(caught.value).endswith(advice)


def test_typing_errors_are_one_line_each(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder, an ending that no editor knows, a folder that is not there."""
    write_images(THIRTY)
    cases = {
        ("phtos",): (2, "phtos: no such folder ("),
        ("photos", "--output", "x.txt"): (2, "--output: must end in .yaml (got 'x.txt')\n"),
        ("photos", "--output", "no/x.yaml"): (3, "no/x.yaml: cannot be written (No such file"),
    }
    for arguments, (status, message) in cases.items():
        assert run_command_line(["init", *arguments]) == status
        said = capsys.readouterr()
        assert said.err.startswith(message)
        assert (said.err.count("\n"), said.out) == (1, "")


def test_an_existing_file_is_left_alone(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody may have worked on it."""
    write_images(THIRTY)
    Path("photos.yaml").write_text("mine")

    assert run_command_line(["init", "photos"]) == 2

    assert Path("photos.yaml").read_text() == "mine"
    assert capsys.readouterr().err == (
        "photos.yaml: is there already and stays as it is; name another with --output\n"
    )


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("photos", "photos"),
        ("Bilder von 2024 (neu)", "Bilder-von-2024-neu"),
        ("猫", "folder-images"),
        ("mlflow", "mlflow-images"),
        ("_x", "x"),
        ("a" * 80, "a" * 64),
        ("photos/../b", "b"),
    ],
)
def test_the_folders_name_becomes_one_that_an_experiment_may_have(
    folder: str, name: str
) -> None:
    """Whatever the folder is called."""
    assert name_experiment(Path("/data") / folder) == name


@pytest.mark.parametrize("folder", ["a $5 'photo': #1", "null", "~x", "1.50", "ünï", "-x"])
def test_any_folder_is_found_again(folder: str, write_images: WriteImages) -> None:
    """Quotes, dollars and words that YAML reads otherwise come back as they were."""
    root = write_images({"a": 3, "b": 3}, root=folder)

    starter = write_starter(root)

    assert load_spec(starter.path).keys.data.root == str(root)


def test_a_root_is_relative_to_the_file_where_that_is_near(
    write_images: WriteImages, here: Path
) -> None:
    """So that file and images can move together."""
    write_images(THIRTY)
    Path("deep/er").mkdir(parents=True)

    assert "\n  root: photos\n" in write_starter("photos").path.read_text()
    assert "\n  root: ../photos\n" in write_starter("photos", "deep/x.yaml").path.read_text()
    far = write_starter("photos", "deep/er/x.yaml").path.read_text()
    assert f"\n  root: {here}/photos\n" in far


def test_an_editors_line_is_written_where_its_schema_lies(write_images: WriteImages) -> None:
    """Elsewhere it would name a file that is not there."""
    write_images(THIRTY)
    assert "yaml-language-server" not in write_starter("photos").path.read_text()

    Path("experiment.schema.json").write_text("{}")
    text = write_starter("photos", "other.yaml").path.read_text()
    assert text.startswith("# yaml-language-server: $schema=experiment.schema.json\n")


def test_files_without_a_header_are_named(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few do no harm to the proposal; a folder of nothing else is refused."""
    root = write_images(THIRTY)
    (root / "cats" / "0.png").write_bytes(b"")

    assert run_command_line(["init", "photos"]) == 0
    assert (
        "unreadable  1 of 30 looked at, such as cats/0.png: check-data lists them all\n"
        in capsys.readouterr().out
    )

    for file in root.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(SpecError, match=r"^photos: none of 30 files looked at is an image$"):
        write_starter("photos", "other.yaml")


def test_many_files_are_sampled_over_all_classes(write_images: WriteImages) -> None:
    """At most so many headers, every class among them: the median is that of both."""
    write_images({"a": 400, "b": 401}, low=8, high=8)
    write_images({"c": 800}, low=16, high=16)

    survey = survey_folder("photos")

    assert len(survey.sizes) <= MOST_HEADERS
    # Every fourth of 1,601: 201 of them of the first two classes.
    assert (survey.sizes.count((8, 8)), survey.sizes.count((16, 16))) == (201, 200)


def test_no_batch_has_a_single_image() -> None:
    """Batch normalisation refuses one; a size of 64 at most, and no more than there are."""
    for images in (*range(2, 2000), 20_001, 64_001):
        size = choose_batch_size(images)

        assert 2 <= size <= min(64, images), images
        assert images % size != 1, images
        assert size >= 32 or images < 640, images


def test_sizes_are_multiples_of_32_near_the_images() -> None:
    """At most 224, as ImageNet's networks are used."""
    sides = (65, 95, 96, 111, 112, 127, 150, 210, 224, 5000)
    assert [choose_image_size(side) for side in sides] == [
        64, 96, 96, 96, 128, 128, 160, 224, 224, 224,
    ]  # fmt: skip


@pytest.mark.parametrize(("low", "network"), [(64, "small_cnn"), (65, "resnet18")])
def test_the_network_follows_the_size(
    low: int, network: str, write_images: WriteImages
) -> None:
    """Up to 64 pixels the small one sees enough; it keeps the images' own size."""
    write_images(THIRTY, low=low, high=low)

    proposal = propose(survey_folder("photos"))

    assert (proposal.architecture, proposal.pretrained) == (network, network != "small_cnn")
    assert proposal.image_size == 64


def test_init_loads_neither_torch_nor_ray_nor_mlflow(write_images: WriteImages) -> None:
    """A file is proposed in a second."""
    write_images(THIRTY)
    code = (
        "import sys; from orchestrator.cli.main import run_command_line; "
        "assert run_command_line(['init', 'photos']) == 0; "
        "heavy = {'torch', 'ray', 'mlflow', 'torchvision', 'pandas'} & sys.modules.keys(); "
        "print(sorted(heavy))"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": root, "PATH": "/usr/bin"},
    )
    assert done.stdout.splitlines()[-1] == "[]"
