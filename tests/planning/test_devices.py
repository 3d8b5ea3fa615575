"""Which GPUs a plan may use, and which of them each worker is given."""

from typing import Any

import pytest

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster, Device, Node
from orchestrator.planning.lanes import LanePlan, LaneRequest
from orchestrator.planning.placement import place_again, place_lanes
from orchestrator.planning.refusals import explain_held, find_held


def node(name: str, *devices: str, cpus: int = 8, held: str = "") -> Node:
    """A node of a cluster with GPUs of these numbers, some of them held by another search."""
    return Node(
        name=name,
        cpus=cpus,
        gpus=len(devices),
        node_id=f"id-{name}",
        address=f"10.0.0.{len(name)}",
        labels=(("zone", name),),
        devices=tuple(
            Device(index=d, uuid=f"GPU-{name}{d}", holder="other#1" if d in held else "")
            for d in devices
        ),
    )


ONE = Cluster(nodes=(node("a", "0", "1", "2", "3"),), address="a:1")
TWO = Cluster(nodes=(node("a", "0", "1"), node("bb", "0", "1", "2")), address="a:1")


def place(
    machines: Cluster, visible: Any = None, *, most: int = 99, **changes: Any
) -> LanePlan:
    """Lanes of one worker with a whole GPU."""
    values: dict[str, Any] = {
        "workers": 1,
        "cpus_per_worker": 1,
        "gpus_per_worker": 1,
        "deterministic": "false",
    }
    asked = LaneRequest(**(values | changes), visible=visible)
    return place_lanes(machines, asked, most=most)


def seats(plan: LanePlan) -> list[str]:
    """Each lane's seats: `a0 a1`."""
    return [" ".join(f"{seat.node}{seat.device}" for seat in lane) for lane in plan.seats]


@pytest.mark.parametrize(
    ("machines", "visible", "changes", "expected"),
    [
        (ONE, None, {}, ["a0", "a1", "a2", "a3"]),
        (ONE, [0, 2], {}, ["a0", "a2"]),
        (ONE, [2, 0], {"most": 1}, ["a2"]),
        (ONE, ["GPU-a3", 1], {}, ["a3", "a1"]),
        (ONE, [[3], [1]], {}, ["a3", "a1"]),
        (ONE, [[0, 1], [3, 2]], {"workers": 2}, ["a0 a1", "a3 a2"]),
        (ONE, [1], {"gpus_per_worker": 0.5}, ["a1", "a1"]),
        (ONE, [0, 1], {"gpus_per_worker": 0.5, "most": 3}, ["a0", "a1", "a0"]),
        (ONE, [[0], [0], [1]], {"gpus_per_worker": 0.25}, ["a0", "a0", "a1"]),
        (TWO, None, {}, ["a0", "a1", "bb0", "bb1", "bb2"]),
        (TWO, [1], {}, ["a1", "bb1"]),
        (TWO, {"bb": [2, 0]}, {}, ["bb2", "bb0"]),
        (TWO, {"10.0.0.2": [1], "zone=a": [0]}, {}, ["bb1", "a0"]),
        (TWO, {"a": [[1]], "bb": [[0], [2]]}, {}, ["a1", "bb0", "bb2"]),
        (TWO, None, {"workers": 2}, ["a0 a1", "bb0 bb1"]),
        (TWO, None, {"workers": 3}, ["bb0 bb1 bb2"]),
        (TWO, None, {"workers": 4}, ["bb0 bb1 bb2 a0"]),
        (TWO, None, {"workers": 2, "placement": "spread"}, ["a0 bb0", "a1 bb1"]),
        (TWO, None, {"workers": 4, "placement": "spread"}, ["a0 a1 bb0 bb1"]),
        (TWO, [[0, 1]], {"workers": 4}, ["a0 a1 bb0 bb1"]),
    ],
)
def test_each_worker_is_given_a_gpu(
    machines: Cluster, visible: Any, changes: dict[str, Any], expected: list[str]
) -> None:
    """A list, a list for each lane, or a map from a node to either; whole GPUs and shares."""
    plan = place(machines, visible, **changes)

    assert seats(plan) == expected
    assert (plan.lanes, plan.device, plan.backend) == (len(expected), "cuda", "nccl")


@pytest.mark.parametrize(
    ("machines", "visible", "changes", "message"),
    [
        (ONE, [7], {}, "GPU 7 is not there; node a has 4 GPUs: 0, 1, 2, 3"),
        (ONE, ["GPU-x"], {}, "GPU GPU-x is not there; node a has 4 GPUs: 0, 1, 2, 3 (GPU-a0, "),
        (ONE, ["GPU-a"], {}, "GPU GPU-a means several; node a has 4 GPUs"),
        (ONE, [1, "GPU-a1"], {}, "1, GPU-a1 names a GPU of node a twice"),
        (TWO, [2], {}, "GPU 2 is not there; node a has 2 GPUs: 0, 1"),
        (TWO, {"cc": [0]}, {}, "cc: no node is called so; there is a, bb"),
        (ONE, [[0], [0]], {}, "GPU 0 is named for 2 lanes, each of which has 1 GPU; set "),
        (
            ONE,
            [[0, 1]],
            {},
            "lane 1 has 2 GPUs for 1 worker; name one for each worker, or set ",
        ),
        (ONE, [0], {"workers": 2}, "2 workers of a run need a GPU each, and it leaves 1 GPU; "),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    machines: Cluster, visible: Any, changes: dict[str, Any], message: str
) -> None:
    """With what is there, or the number to change."""
    with pytest.raises(InfeasibleError) as caught:
        place(machines, visible, **changes)

    assert str(caught.value).startswith("resources.visible_devices")
    assert message in str(caught.value)


def test_a_pin_that_could_not_be_kept_is_refused() -> None:
    """GPUs that are known by their number alone: how they would be declared one by one."""
    uncounted = Cluster(nodes=(Node(name="a", cpus=8, gpus=2),), address="a:1")

    with pytest.raises(InfeasibleError, match=r"do not declare their GPUs one by one.*gpu_0"):
        place(uncounted, [0])
    assert place(uncounted).seats == ()


def test_no_gpu_at_all_is_said() -> None:
    """A list for a machine that has none."""
    bare = Cluster(nodes=(Node(name="here", cpus=8, gpus=0),))

    with pytest.raises(
        InfeasibleError, match="visible_devices: this machine has no GPU; leave"
    ):
        place(bare, [0], gpus_per_worker=0)


def test_free_gpus_come_before_held_ones() -> None:
    """Unasked, what others hold is left to them; where nothing is free, it is named."""
    some = Cluster(nodes=(node("a", "0", "1", "2", held="01"),), address="a:1")
    none = Cluster(nodes=(node("a", "0", "1", held="01"),), address="a:1")

    plan = place(some)
    asked = place(some, [0, 2])
    waiting = place(none)

    assert (seats(plan), find_held(some, plan)) == (["a2"], [])
    assert find_held(some, asked) == ["GPU 0 of a is held by other#1"]
    assert find_held(none, waiting) == ["GPUs 0, 1 of a are held by other#1"]
    assert explain_held(find_held(some, asked)) == (
        "GPU 0 of a is held by other#1; wait with --wait MINUTES, or name others in "
        "resources.visible_devices"
    )


def test_fewer_lanes_have_fewer_seats() -> None:
    """Where few runs are left, and where one worker alone is tried."""
    plan = place(ONE, workers=2)

    assert seats(plan.cut(1)) == ["a0 a1"]
    assert seats(plan.cut(1, workers=1)) == ["a0"]


def test_a_rehearsal_computes_on_cpus() -> None:
    """The seats are those of a plan for GPUs."""
    machines = Cluster(nodes=ONE.nodes, address="a:1", rehearses=True)

    plan = place(machines, [0, 2])

    assert (seats(plan), plan.device, plan.backend) == (["a0", "a2"], "cpu", "gloo")


def test_an_elastic_lane_takes_fewer_free_gpus_before_held_ones() -> None:
    """It would wait otherwise, which it need not; one that is not elastic is planned whole."""
    machines = Cluster(nodes=(node("a", "0", "1", held="0"),), address="a:1")

    elastic = place(machines, workers=2, min_workers=1)

    assert (seats(elastic), elastic.missing) == (["a1"], 1)
    assert seats(place(machines, workers=2)) == ["a0 a1"]


def test_lanes_grow_into_the_room_that_was_found_and_no_further() -> None:
    """Of what the machines hold, others may have taken the rest."""
    planned = place(ONE, most=4)
    fewer = place_again(ONE, planned, (2, 1))

    assert (fewer.lanes, fewer.missing_lanes) == (2, 2)
    assert place_again(ONE, fewer, (3, 1)).lanes == 3
    elastic = place(ONE, workers=4, min_workers=1)
    cut = place_again(ONE, elastic, (1, 2))
    assert (cut.workers, cut.missing, cut.request.workers) == (2, 2, 4)


def test_too_few_gpus_for_an_elastic_lane_name_its_key() -> None:
    """Lowering the other one would mend nothing."""
    with pytest.raises(InfeasibleError, match=r"lower resources\.min_workers"):
        place(ONE, [0], workers=4, min_workers=2)


def test_lanes_that_move_take_no_gpu_that_others_hold() -> None:
    """A machine is waited for, or made, before a search that trains there is disturbed."""
    planned = place(ONE, most=1)
    machines = Cluster(nodes=(node("a", "0", held="0"),), address="a:1")

    with pytest.raises(InfeasibleError, match=r"^GPU 0 of a is held by other#1$"):
        place_again(machines, planned)

    assert seats(place_again(machines, planned, takes_held=True)) == ["a0"]
