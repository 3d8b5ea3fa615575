"""The hand-written rivals compute what this package computes: else their speeds say nothing."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import training as benchmark
from benchmarks.training import DIGITS, ByHand, Case, Ours, shuffled, take_turns

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
SMALL = replace(DIGITS, images=32, batch=16)


@pytest.mark.parametrize(
    "case", [SMALL, replace(SMALL, precision="bfloat16", channels_last=True)]
)
def test_the_hand_written_loop_takes_the_very_same_steps(case: Case) -> None:
    """From the same weights on the same batch, parameters agree to the bit after 6 steps."""
    ours = Ours(case, CPU)
    rival = ByHand(case, CPU, shuffled(case), ours.loader.steps_per_epoch)
    with torch.no_grad():
        for mine, theirs in zip(
            ours.state.model.parameters(), rival.network.parameters(), strict=True
        ):
            theirs.copy_(mine)
    before = [parameter.clone() for parameter in rival.network.parameters()]

    for epoch in (1, 2, 3):
        ours.same_batch(epoch)
        assert ours.batch is not None
        rival.batch = ours.batch[0], ours.batch[1].labels
        rival.same_batch(epoch)

    after = list(rival.network.parameters())
    for mine, theirs, old in zip(ours.state.model.parameters(), after, before, strict=True):
        assert torch.equal(mine, theirs)
        assert not torch.equal(old, theirs)


def test_both_loops_see_every_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps of as many images; the pixels are the same ones, normalised alike."""
    ours = Ours(SMALL, CPU)
    rival = ByHand(SMALL, CPU, shuffled(SMALL), ours.loader.steps_per_epoch)
    monkeypatch.setattr(rival, "step", lambda images, _: images.mean())

    mine = torch.cat([batch.images for batch in ours.loader.epoch(1)])
    theirs = torch.cat([rival.prepare(*batch)[0] for batch in rival.batches()])

    torch.testing.assert_close(
        mine.flatten(1).sum(1).sort().values, theirs.flatten(1).sum(1).sort().values
    )
    assert ours.epoch(1) == rival.epoch(1) == 2


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    """Steps per second of each turn; the first one warms up and is not counted."""
    turns: list[str] = []

    def side(name: str, steps: int) -> benchmark.Epoch:
        def epoch(number: int) -> int:
            turns.append(f"{name}{number}")
            # Long enough that nothing else in a turn counts for much.
            sum(range(200_000))
            return steps

        return epoch

    *_, ratio, ratios = take_turns(side("a", 3), side("b", 1), rounds=5, epochs=1, device=CPU)

    assert len(ratios) == 5
    assert turns[:4] == ["b1", "a1", "a2", "b2"]
    assert ratio == sorted(ratios)[2]


def test_the_benchmark_runs_on_a_bare_machine(tmp_path: Path) -> None:
    """Without Ray, MLflow and pydantic; its last line is one JSON object with the ratios."""
    blocked = ("ray", "mlflow", "pydantic", "click", "rich", "yaml", "pandas", "scipy")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from benchmarks import training\n"
        "training.main(['--only', 'feed', '--network', 'small_cnn', '--side', '16', '--batch', "
        "'4', '--images', '16', '--workers', '0', '--rounds', '1', '--no-compile'])"
    )
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin", "TMPDIR": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    for name in ("on_the_device", "from_memory", "from_jpeg"):
        assert results[name]["ratio"] > 0
