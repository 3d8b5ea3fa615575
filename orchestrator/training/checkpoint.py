"""Checkpoints of a run: when one is written, beside the training, and which ones stay.

What is written is copied first, at one moment between two steps; the copy goes to disk on a
thread of its own while training goes on. Only the next checkpoint waits for it.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from torch import Tensor, distributed

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import CheckpointPlan, RunPlan
from orchestrator.training.checkpoint_copies import CopiedFolder
from orchestrator.training.checkpoint_file import (
    DAMAGED,
    FOLDER,
    FoundCheckpoint,
    find_checkpoint,
    list_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from orchestrator.training.context import WorkerContext
from orchestrator.training.whole_file import remove_unfinished

_PAUSE_S: Final = 10.0
"""Between two checkpoints at the ends of epochs, where the plan names no number of epochs."""


class Checkpoints:
    """The checkpoints of one run; rank 0 writes them.

    Args:
        plan: The run.
        context: This worker.
        steps_per_epoch: Steps of every epoch.
    """

    def __init__(self, plan: RunPlan, context: WorkerContext, *, steps_per_epoch: int) -> None:
        self._plan: CheckpointPlan | None = plan.place.checkpoint
        self._folder = Path(plan.place.folder) / FOLDER
        self._extends = Path(plan.place.extends) / FOLDER if plan.place.extends else None
        self._context = context
        self._copies = CopiedFolder(self._folder, context.copies)
        self._steps_per_epoch = steps_per_epoch
        self._last = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def load(self) -> tuple[dict[str, Any] | None, FoundCheckpoint]:
        """The newest whole checkpoint, the same on every rank; None where there is none.

        Its own, or that of the run that this one goes on from. What a killed attempt has left
        half-written is removed.
        """
        if self._context.rank == 0:
            for folder in (self._folder, self._folder.parent):
                remove_unfinished(folder)
        found = [FoundCheckpoint(None, ())]
        if self._plan is not None and self._context.rank == 0:
            found = [self._find()]
        if self._context.world_size > 1:
            distributed.broadcast_object_list(found, src=0)
        if found[0].path is None:
            return None, found[0]
        return read_checkpoint(self._bring(found[0].path)), found[0]

    def is_due_after_step(self, step: int) -> bool:
        """Whether to write one after this many steps of the run, in the middle of an epoch."""
        every = self._plan.every_steps if self._plan else None
        return every is not None and step % every == 0

    def is_due_after_epoch(self, epoch: int) -> bool:
        """Whether to write one at the end of this epoch; the same on every rank."""
        if self._plan is None:
            return False
        if self._plan.every_epochs is None:
            return self._context.agree(time.monotonic() - self._last >= _PAUSE_S)
        return self._plan.every_epochs > 0 and epoch % self._plan.every_epochs == 0

    @property
    def keeps_final(self) -> bool:
        """Whether one is written when the run has finished."""
        return self._plan is not None and self._plan.keep_final

    def save(self, content: Mapping[str, Any], *, step: int, ranked_epochs: list[int]) -> None:
        """Copy a training as it is now, and write the copy beside it.

        Args:
            content: Tensors and plain values; live ones.
            step: Steps of the run that are done.
            ranked_epochs: Epochs so far, the best first, by the run's metric.

        Raises:
            TrainingError: The one before could not be written.
        """
        self._last = time.monotonic()
        if self._plan is None or self._context.rank != 0:
            return
        self.wait()
        copied = copy_values(content)
        self._writing = self._thread.submit(self._write, copied, step, ranked_epochs)

    def wait(self) -> None:
        """Return once what was saved is on the disk.

        Raises:
            TrainingError: It could not be written.
        """
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def finish(self, *, ranked_epochs: list[int]) -> tuple[Path, ...]:
        """The run is over: leave those that are of use to somebody.

        Args:
            ranked_epochs: As for `save`.

        Returns:
            The newest, where it is of use only until the result is recorded: if whoever would
            record it has died, the run goes on from there.
        """
        if self._plan is None or self._context.rank != 0:
            return ()
        self.wait()
        self._prune(ranked_epochs, last=1)
        for path in self._folder.glob(f"*{DAMAGED}"):
            path.unlink(missing_ok=True)
        return self._list_beyond(ranked_epochs, last=int(self._plan.keep_final))

    def word_newest(self) -> str:
        """The newest one, as the end of a message; empty where there is none."""
        if self._context.rank != 0:
            return ""
        with suppress(TrainingError):
            self.wait()
        found = sorted(list_checkpoints(self._folder).items())
        return f"; the last good checkpoint is {found[-1][1][0]}" if found else ""

    def close(self) -> None:
        """End the thread, once it has written what it is writing."""
        self._thread.shutdown()

    def _find(self) -> FoundCheckpoint:
        """The newest whole one, its own or that of the run that it goes on from."""
        self._copies.bring_newest()
        own = find_checkpoint(self._folder)
        self._copies.drop(own.damaged)
        for broken in own.damaged:
            # Never looked at again, and not among those that stay.
            broken.rename(broken.with_suffix(DAMAGED))
        if own.path is not None or self._extends is None:
            return own
        CopiedFolder(self._extends, self._context.copies).bring_newest(is_own=False)
        other = find_checkpoint(self._extends)
        return FoundCheckpoint(other.path, own.damaged + other.damaged)

    def _bring(self, path: Path) -> Path:
        """The one that rank 0 has found, on this node's disk."""
        # name/number/run/checkpoints
        if self._extends is not None and path.parent.parts[-4:] == self._extends.parts[-4:]:
            return CopiedFolder(self._extends, self._context.copies).bring(path)
        return self._copies.bring(path)

    def _write(self, content: Mapping[str, Any], step: int, ranked_epochs: list[int]) -> None:
        assert self._plan is not None
        self._copies.keep(write_checkpoint(self._folder, content, step=step))
        self._prune(ranked_epochs, last=self._plan.keep_last)

    def _prune(self, ranked_epochs: list[int], *, last: int) -> None:
        beyond = self._list_beyond(ranked_epochs, last=last)
        for path in beyond:
            path.unlink(missing_ok=True)
        self._copies.drop(beyond)

    def _list_beyond(self, ranked_epochs: list[int], *, last: int) -> tuple[Path, ...]:
        """All but the best ones and so many of the last."""
        assert self._plan is not None
        found = self._copies.add_elsewhere(list_checkpoints(self._folder))
        ranked = [epoch * self._steps_per_epoch for epoch in ranked_epochs]
        best = [step for step in ranked if step in found][: self._plan.keep_best]
        newest = sorted(found)[-last:] if last else []
        kept = {*newest, *best}
        return tuple(p for step, paths in found.items() if step not in kept for p in paths)


def copy_values(value: Any) -> Any:  # noqa: ANN401  tensors and plain values, nested
    """Tensors and plain values as they are now, on the CPU, whatever later steps change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copy_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_values(item) for item in value]
    if isinstance(value, tuple):
        return tuple(copy_values(item) for item in value)
    return value
