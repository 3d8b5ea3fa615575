"""The broker's books: queue, reports, verdicts, deaths."""

import asyncio
import resource
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.launch.books import MAX_CHARGES
from orchestrator.launch.broker import Broker
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.tracking import journal

FINISHED = {"status": "finished", "metrics": {"val/accuracy": 0.5}, "weights_sha256": "ab"}


@pytest.fixture
def plans(run_plan: RunPlan) -> list[dict[str, Any]]:
    """Three runs, as JSON values."""
    return [replace(run_plan, run_id=f"demo/1/seed={seed}").to_json() for seed in range(3)]


def play(scene: Coroutine[Any, Any, Any]) -> Any:
    """Run a scene to its end; one that waits for ever fails."""
    return asyncio.run(asyncio.wait_for(scene, timeout=10))


def kinds(folder: Path) -> list[tuple[str, str]]:
    """Kind and run of every journal entry."""
    return [(e["kind"], e.get("run", "")) for e in journal.JournalReader(folder).read()]


def run_of(assignment: str | None) -> str:
    """Which run an assignment is for."""
    assert assignment is not None
    return Assignment.from_json(assignment).plan.run_id


def test_runs_are_assigned_in_order_and_their_endings_returned(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """One lane takes run after run; whoever submitted them gets the endings in their order."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans))
        await broker.join("lane 0", "first", {})
        for index in range(3):
            run = run_of(await broker.next_assignment("lane 0", "first", index))
            assert run == f"demo/1/seed={index}"
            assert await broker.report("lane 0", "first", run, 1, {"a": 1.0}) == "continue"
            await broker.finish("lane 0", "first", run, {**FINISHED, "weights_sha256": run})
        return await submitted

    endings = play(scene())

    assert [ending["weights_sha256"] for ending in endings] == [
        f"demo/1/seed={index}" for index in range(3)
    ]
    assert kinds(tmp_path)[:4] == [
        ("lane", ""),
        ("start", "demo/1/seed=0"),
        ("epoch", "demo/1/seed=0"),
        ("end", "demo/1/seed=0"),
    ]


def test_a_report_is_in_the_journal_when_it_returns(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A worker that has been answered can die: what it said is on the disk."""

    async def scene() -> None:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        _ = asyncio.create_task(broker.train(plans[:1]))  # noqa: RUF006
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        await broker.report("lane 0", "first", run, 1, {"val/accuracy": 0.25})
        last = list(journal.JournalReader(tmp_path).read())[-1]
        assert (last["epoch"], last["metrics"]) == (1, {"val/accuracy": 0.25})

    play(scene())


def test_every_rank_of_a_lane_gets_the_same_assignment(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Two ranks that ask for the n-th assignment train the same run, which begins once."""

    async def scene() -> None:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        _ = asyncio.create_task(broker.train(plans))  # noqa: RUF006
        await broker.join("lane 0", "first", {})
        both = [await broker.next_assignment("lane 0", "first", 0) for _ in range(2)]
        assert both[0] == both[1]
        assert kinds(tmp_path).count(("start", "demo/1/seed=0")) == 1

    play(scene())


def test_a_lane_that_died_gets_its_run_again(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """After a restart the interrupted run comes first, as the next attempt."""

    async def scene() -> None:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        _ = asyncio.create_task(broker.train(plans))  # noqa: RUF006
        await broker.join("lane 0", "first", {})
        await broker.next_assignment("lane 0", "first", 0)
        await broker.charge("lane 0", [0], "SIGKILL")
        await broker.join("lane 0", "second", {})
        text = await broker.next_assignment("lane 0", "second", 0)
        assert run_of(text) == "demo/1/seed=0"
        assert Assignment.from_json(text or "").attempt == 2

    play(scene())


def test_a_run_that_kills_its_lane_three_times_is_failed(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """The third charge ends the run; the lane goes on with the next one."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans[:2]))
        for death in range(MAX_CHARGES):
            await broker.join("lane 0", f"life {death}", {})
            run = run_of(await broker.next_assignment("lane 0", f"life {death}", 0))
            assert run == "demo/1/seed=0"
            await broker.charge("lane 0", [0], "SIGKILL")
        await broker.join("lane 0", "last", {})
        run = run_of(await broker.next_assignment("lane 0", "last", 0))
        await broker.finish("lane 0", "last", run, FINISHED)
        return await submitted

    poisoned, innocent = play(scene())

    assert poisoned["status"] == "failed"
    assert poisoned["error"] == "its worker died 3 times while training it, at last: SIGKILL"
    assert innocent["status"] == "finished"


@pytest.mark.parametrize(
    ("raised", "ranks", "status"),
    [
        pytest.param([2, 0], [0, 2], "failed", id="all raised by themselves"),
        pytest.param([2, 0, 3], [0, 1, 2, 3], None, id="one was killed under the others"),
        pytest.param([], [1], None, id="one was killed and the others wait"),
    ],
)
def test_what_ends_a_lane_of_four_ranks(
    tmp_path: Path,
    plans: list[dict[str, Any]],
    raised: list[int],
    ranks: list[int],
    status: str | None,
) -> None:
    """Exceptions end the run with the first of them; a death costs one charge, not the run."""

    async def scene() -> tuple[list[dict[str, Any]], int]:
        broker = Broker(str(tmp_path), ["lane 0"])
        _ = asyncio.create_task(broker.train(plans))  # noqa: RUF006
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        for rank in raised:
            ending = {"status": "failed", "error": f"rank {rank} raised"}
            await broker.note_exception("lane 0", "first", run, rank, ending)
        await broker.charge("lane 0", ranks, "gone")
        await broker.join("lane 0", "second", {})
        next_run = Assignment.from_json(
            await broker.next_assignment("lane 0", "second", 0) or ""
        )
        ended = [e for e in journal.JournalReader(tmp_path).read() if e["kind"] == "end"]
        return ended, next_run.attempt

    ended, attempt = play(scene())

    if status is None:
        assert (ended, attempt) == ([], 2)
    else:
        assert [(e["run"], e["status"], e["error"]) for e in ended] == [
            ("demo/1/seed=0", "failed", "rank 2 raised")
        ]
        assert attempt == 1


def test_a_lane_that_has_trained_may_die_between_runs(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """The ranks of a run that has just ended are no sign of a lane that cannot begin."""

    async def scene() -> None:
        broker = Broker(str(tmp_path), ["lane 0"])
        _ = asyncio.create_task(broker.train(plans))
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        await broker.finish("lane 0", "first", run, {"status": "failed", "error": "NaN"})
        for _ in range(MAX_CHARGES):
            await broker.charge("lane 0", [0, 1, 2, 3], "gone")
        await broker.join("lane 0", "second", {})
        assert run_of(await broker.next_assignment("lane 0", "second", 0)) == "demo/1/seed=1"

    play(scene())


def test_a_death_is_charged_to_its_own_lane(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Neighbours that restart with the dead one lose no try, however often it dies."""

    async def scene() -> str:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        _ = asyncio.create_task(broker.train(plans[:2]))  # noqa: RUF006
        for death in range(MAX_CHARGES):
            for lane in ("lane 0", "lane 1"):
                await broker.join(lane, f"life {death}", {})
                await broker.next_assignment(lane, f"life {death}", 0)
            await broker.charge("lane 0", [0], "SIGKILL")
        await broker.join("lane 0", "last", {})
        await broker.join("lane 1", "last", {})
        return run_of(await broker.next_assignment("lane 1", "last", 0))

    assert play(scene()) == "demo/1/seed=1"


def test_what_a_dead_generation_says_is_ignored(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A worker that outlives its group neither reports nor ends a run, and is sent home."""

    async def scene() -> None:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        _ = asyncio.create_task(broker.train(plans))  # noqa: RUF006
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        await broker.join("lane 0", "second", {})
        assert await broker.report("lane 0", "first", run, 1, {}) == "stop"
        await broker.finish("lane 0", "first", run, FINISHED)
        assert await broker.next_assignment("lane 0", "first", 1) is None
        assert ("end", run) not in kinds(tmp_path)

    play(scene())


def test_stop_ends_what_waits_and_asks_what_runs(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """After a stop nothing new begins, the running one hears of it at its next report."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans))
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        await broker.stop()
        assert await broker.report("lane 0", "first", run, 1, {}) == "stop"
        await broker.finish("lane 0", "first", run, {"status": "stopped"})
        await broker.close()
        assert await broker.next_assignment("lane 0", "first", 1) is None
        return await submitted

    endings = play(scene())

    assert [ending["status"] for ending in endings] == ["stopped"] * 3
    assert endings[2]["error"] == "stopped before it began"


def test_what_is_submitted_after_a_stop_ends_at_once(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Tune's next client does not wait for a lane that will not come."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        await broker.stop()
        return await broker.train(plans[:1])

    assert play(scene())[0]["status"] == "stopped"


def test_without_a_lane_left_every_run_fails_with_the_cause(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A search whose jobs have ended does not wait for ever."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans[:2]))
        await asyncio.sleep(0)
        await broker.leave(["lane 0", "lane 1"], "the job ended: no room")
        return [*await submitted, *await broker.train(plans[2:])]

    assert {ending["error"] for ending in play(scene())} == {"the job ended: no room"}


def test_abandoned_runs_are_stopped(tmp_path: Path, plans: list[dict[str, Any]]) -> None:
    """What does not stop in time is given an ending all the same."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans[:1]))
        await broker.join("lane 0", "first", {})
        await broker.next_assignment("lane 0", "first", 0)
        await broker.abandon()
        await broker.wait_for_stop("lane 0", "first")
        await broker.wait_for_training()
        return await submitted

    ending = play(scene())[0]

    assert (ending["status"], ending["error"]) == (
        "stopped",
        "stopped before it had finished",
    )


def test_a_run_submitted_twice_is_trained_once(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """The driver queues the first runs, Tune asks for them again: one training, two answers."""

    async def scene() -> tuple[Any, Any]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        early = asyncio.create_task(broker.train(plans[:1]))
        late = asyncio.create_task(broker.train(plans[:1]))
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        await broker.finish("lane 0", "first", run, FINISHED)
        return await early, await late

    early, late = play(scene())

    assert early == late
    assert kinds(tmp_path).count(("start", "demo/1/seed=0")) == 1


def test_a_stop_reaches_a_lane_that_comes_back(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A run whose lane died while everything was stopping is stopped, not tried again."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans[:1]))
        await broker.join("lane 0", "first", {})
        await broker.next_assignment("lane 0", "first", 0)
        await broker.stop()
        await broker.join("lane 0", "second", {})
        return await submitted

    assert play(scene())[0]["status"] == "stopped"


def test_a_lane_that_cannot_begin_fails_the_search_with_its_cause(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A lane whose processes die before they join is not started for ever."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0"])
        submitted = asyncio.create_task(broker.train(plans))
        await asyncio.sleep(0)
        for _ in range(MAX_CHARGES):
            await broker.charge("lane 0", [0], "RuntimeError: Found no NVIDIA driver")
        return await submitted

    assert {ending["error"] for ending in play(scene())} == {
        "lane 0 died 3 times before it could train: RuntimeError: Found no NVIDIA driver"
    }


def test_another_lane_takes_over_what_one_leaves_behind(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A job that ends alone loses no run; when the last one goes, all fail with the cause."""

    async def scene() -> tuple[str, list[dict[str, Any]]]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans[:1]))
        await broker.join("lane 0", "first", {})
        await broker.next_assignment("lane 0", "first", 0)
        await broker.leave(["lane 0"], "the job ended")
        await broker.join("lane 1", "first", {})
        again = run_of(await broker.next_assignment("lane 1", "first", 0))
        await broker.leave(["lane 1"], "the job ended, too")
        return again, await submitted

    again, endings = play(scene())

    assert again == "demo/1/seed=0"
    assert [ending["error"] for ending in endings] == ["the job ended, too"]


def test_a_full_disk_ends_the_search(tmp_path: Path, plans: list[dict[str, Any]]) -> None:
    """Nothing more can be recorded: no run is waited for, none is trained on."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0"])
        submitted = asyncio.create_task(broker.train(plans))
        await broker.join("lane 0", "first", {})
        run = run_of(await broker.next_assignment("lane 0", "first", 0))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (tmp_path / journal.FILE_NAME).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            assert await broker.report("lane 0", "first", run, 1, {"a": 1.0}) == "stop"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert await broker.report("lane 0", "first", run, 2, {"a": 1.0}) == "stop"
        return await submitted

    endings = play(scene())

    assert [ending["status"] for ending in endings] == ["failed"] * 3
    file = tmp_path / journal.FILE_NAME
    text = f"cannot write {file} (File too large); what was recorded before is kept"
    assert {ending["error"] for ending in endings} == {text}
    assert [kind for kind, _ in kinds(tmp_path)] == ["lane", "start"]


def test_a_run_out_of_memory_is_tried_with_smaller_parts(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """As many as the worker says, the next run of all; given up where none can be smaller."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0"])
        submitted = asyncio.create_task(broker.train(plans[:2]))
        await broker.join("lane 0", "first", {})
        for index, (parts, following) in enumerate(((1, 8), (8, 16), (16, None))):
            text = await broker.next_assignment("lane 0", "first", index)
            assert text is not None
            assignment = Assignment.from_json(text)
            assert (assignment.plan.run_id, assignment.parts) == ("demo/1/seed=0", parts)
            ending = {"status": "out of memory", "error": "too large", "parts": following}
            await broker.finish("lane 0", "first", "demo/1/seed=0", ending)
        text = await broker.next_assignment("lane 0", "first", 3)
        await broker.finish("lane 0", "first", run_of(text), FINISHED)
        return await submitted

    first, second = play(scene())

    assert (first["status"], first["error"]) == ("failed", "too large")
    assert second["status"] == "finished"


def test_parts_that_were_found_once_are_not_sought_again(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """A lane that dies before its first checkpoint trains with the same ones; a broker too."""

    async def scene() -> tuple[int, int]:
        broker = Broker(str(tmp_path), ["lane 0"])
        await broker.settle({}, {"demo/1/seed=0": 2})
        submitted = asyncio.create_task(broker.train(plans[:1]))
        found = []
        for generation in ("first", "second"):
            await broker.join("lane 0", generation, {})
            text = await broker.next_assignment("lane 0", generation, 0)
            assert text is not None
            found.append(Assignment.from_json(text).parts)
            note = {"note": "parts", "parts": 4}
            await broker.note("lane 0", generation, run_of(text), note)
        await broker.finish("lane 0", "second", run_of(text), FINISHED)
        await submitted
        return found[0], found[1]

    assert play(scene()) == (2, 4)


def test_runs_that_are_settled_are_not_trained(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Whoever submits them gets the endings that they have had; nothing is journalled."""

    async def scene() -> list[dict[str, Any]]:
        broker = Broker(str(tmp_path), ["lane 0"])
        await broker.settle({"demo/1/seed=0": FINISHED}, {})
        submitted = asyncio.create_task(broker.train(plans[:2]))
        await broker.join("lane 0", "first", {})
        text = await broker.next_assignment("lane 0", "first", 0)
        assert run_of(text) == "demo/1/seed=1"
        await broker.finish("lane 0", "first", run_of(text), {**FINISHED, "status": "failed"})
        return await submitted

    first, second = play(scene())

    assert first == FINISHED
    assert second["status"] == "failed"
    assert ("start", "demo/1/seed=0") not in kinds(tmp_path)


def test_a_pause_brings_back_what_is_trained(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Lanes are told to stop and take nothing more; their runs wait again, and none has ended.

    What is on a machine that is gone, or will go, is preempted; a lost one is not waited for.
    """

    async def scene() -> tuple[str, list[bool]]:
        broker = Broker(str(tmp_path), ["gone", "doomed", "well"])
        submitted = asyncio.create_task(broker.train(plans))
        for lane in ("gone", "doomed", "well"):
            await broker.join(lane, "first", {"nodes": {f"id-{lane}": lane}})
            await broker.next_assignment(lane, "first", 0)
        names = {"id-gone": "gone", "id-doomed": "doomed", "id-well": "well"}
        assert await broker.list_nodes() == (names, True)
        pausing = asyncio.create_task(broker.pause(["id-gone"], ["id-doomed"]))
        await broker.wait_for_stop("well", "first")
        verdict = await broker.report("well", "first", plans[2]["run_id"], 1, {"a": 1.0})
        waited = [pausing.done()]
        stopped = {**FINISHED, "status": "stopped"}
        await broker.finish("doomed", "first", plans[1]["run_id"], stopped)
        await broker.finish("well", "first", plans[2]["run_id"], stopped)
        await pausing
        asked = asyncio.create_task(broker.next_assignment("well", "first", 1))
        await asyncio.sleep(0)
        waited += [asked.done(), submitted.done()]
        for task in (asked, submitted):
            task.cancel()
        return verdict, waited

    verdict, done = play(scene())

    assert (verdict, done) == ("stop", [False, False, False])
    entries = list(journal.JournalReader(tmp_path).read())
    assert [(e["run"], e["why"]) for e in entries if e["kind"] == journal.NOTE] == [
        (plans[0]["run_id"], "its machine is gone"),
        (plans[1]["run_id"], "its machine will be taken away"),
    ]
    assert journal.END not in {entry["kind"] for entry in entries}


def test_a_death_is_noted_once_the_lane_is_up_again(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Until then it may turn out that the machine is gone, which is no death of a worker."""

    async def scene() -> None:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1"])
        submitted = asyncio.create_task(broker.train(plans[:2]))
        for lane in ("lane 0", "lane 1"):
            await broker.join(lane, "first", {"nodes": {f"id-{lane}": lane}})
            await broker.next_assignment(lane, "first", 0)
            await broker.charge(lane, [0], "the actor is dead")
        await broker.join("lane 0", "second", {})
        await broker.pause(["id-lane 1"], [])
        submitted.cancel()

    play(scene())

    noted = [e for e in journal.JournalReader(tmp_path).read() if e["kind"] == journal.NOTE]
    assert [(entry["run"], entry["note"]) for entry in noted] == [
        (plans[0]["run_id"], "died"),
        (plans[1]["run_id"], "preempted"),
    ]


def test_a_pause_does_not_wait_for_lanes_that_fell_with_another(
    tmp_path: Path, plans: list[dict[str, Any]]
) -> None:
    """Ray Train ends all workers of a job when one is gone: nobody brings their runs back."""

    async def scene() -> list[bool]:
        broker = Broker(str(tmp_path), ["lane 0", "lane 1", "lane 2"])
        submitted = asyncio.create_task(broker.train(plans[:2]))
        up = []
        for lane in ("lane 0", "lane 1"):
            await broker.join(lane, "first", {"nodes": {f"id-{lane}": lane}})
            await broker.next_assignment(lane, "first", 0)
            up.append((await broker.list_nodes())[1])
        pausing = asyncio.create_task(broker.pause(["id-lane 0"], []))
        await asyncio.sleep(0)
        up.append(pausing.done())
        await broker.charge("lane 0", [0], "the node is gone")
        await broker.fall(["lane 0", "lane 1"])
        await pausing
        submitted.cancel()
        return up

    assert play(scene()) == [False, False, False]
