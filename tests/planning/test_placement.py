"""How many lanes fit, and what is said where none does."""

from typing import Any

import pytest

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster, Node, word_count
from orchestrator.planning.lanes import LanePlan, LaneRequest
from orchestrator.planning.placement import place_again, place_lanes


def cluster(*nodes: tuple[int, int], address: str = "") -> Cluster:
    """Nodes of so many CPUs and GPUs."""
    return Cluster(
        nodes=tuple(Node(name=str(i), cpus=c, gpus=g) for i, (c, g) in enumerate(nodes)),
        address=address,
    )


def place(machines: Cluster, **changes: Any) -> LanePlan:
    """Lanes of one worker with one CPU, as many as fit."""
    values: dict[str, Any] = {
        "workers": 1,
        "cpus_per_worker": 1,
        "gpus_per_worker": 0,
        "deterministic": "true",
    }
    most = changes.pop("most", 1000)
    return place_lanes(machines, LaneRequest(**(values | changes)), most=most)


def test_a_lane_of_one_worker_takes_its_cpus() -> None:
    """Eight CPUs hold eight lanes of one, and two of three."""
    assert place(cluster((8, 0))).lanes == 8
    assert place(cluster((8, 0)), cpus_per_worker=3).lanes == 2


def test_no_more_lanes_are_placed_than_can_be_used() -> None:
    """Three runs need three lanes, whatever there is."""
    assert place(cluster((8, 0)), most=3).lanes == 3


def test_a_worker_lies_on_one_node_and_a_lane_may_span_several() -> None:
    """Nodes of 3 and 5 CPUs hold 1 + 2 workers of two CPUs: one lane of three or of two."""
    machines = cluster((3, 0), (5, 0))

    assert place(machines, cpus_per_worker=2).lanes == 3
    assert place(machines, cpus_per_worker=2, workers=3).lanes == 1
    assert place(machines, cpus_per_worker=2, workers=2).lanes == 1


def test_gpus_decide_where_they_are_scarcer() -> None:
    """Two GPUs beside 16 CPUs are two lanes of one GPU; beside one CPU they are one."""
    assert place(cluster((16, 2)), gpus_per_worker=1).lanes == 2
    assert place(cluster((1, 2)), gpus_per_worker=1).lanes == 1


def test_a_lane_plan_says_what_each_lane_consists_of() -> None:
    """Four of five GPUs are used by two lanes of one worker with two GPUs."""
    plan = place(
        cluster((8, 5)), cpus_per_worker=4, gpus_per_worker=2, deterministic="false", most=9
    )

    assert plan == LanePlan(
        lanes=2,
        workers=1,
        cpus_per_worker=4,
        gpus_per_worker=2,
        device="cuda",
        deterministic="false",
        idle_gpus=1,
        backend="nccl",
    )


def test_lanes_on_cpus_leave_every_gpu_idle() -> None:
    """With no GPU per worker the device is the CPU."""
    plan = place(cluster((4, 2)), gpus_per_worker=0)

    assert (plan.device, plan.idle_gpus) == ("cpu", 2)


@pytest.mark.parametrize(
    ("machines", "asked", "message"),
    [
        (
            cluster((2, 0)),
            {"workers": 4},
            "resources.num_workers: 4 workers of 1 CPU each do not fit on this machine with "
            "2 CPUs and 0 GPUs; set it to 2 at most",
        ),
        (
            cluster((8, 1)),
            {"workers": 2, "gpus_per_worker": 1, "cpus_per_worker": 2},
            "resources.num_workers: 2 workers of 2 CPUs and 1 GPU each do not fit on this "
            "machine with 8 CPUs and 1 GPU; set it to 1 at most",
        ),
        (
            cluster((4, 0), (4, 0), address="10.0.0.1:6379"),
            {"workers": 9},
            "resources.num_workers: 9 workers of 1 CPU each do not fit on 2 nodes with 8 CPUs "
            "and 0 GPUs; set it to 8 at most",
        ),
        (
            cluster((1, 0)),
            {"gpus_per_worker": 1},
            "resources.gpus_per_worker: no machine has 1 GPU (this machine with 1 CPU and "
            "0 GPUs); set it to 0 at most",
        ),
        (
            cluster((4, 1), (4, 2), address="a:1"),
            {"gpus_per_worker": 3},
            "resources.gpus_per_worker: no machine has 3 GPUs (2 nodes with 8 CPUs and 3 GPUs);"
            " set it to 2 at most",
        ),
        (
            cluster((2, 0)),
            {"cpus_per_worker": 3},
            "resources.cpus_per_worker: no machine has 3 CPUs (this machine with 2 CPUs and "
            "0 GPUs); set it to 2 at most",
        ),
        (
            cluster((16, 0), (4, 1), address="a:1"),
            {"cpus_per_worker": 8, "gpus_per_worker": 1},
            "resources.cpus_per_worker: the machines with 1 GPU have 4 CPUs at most; set it to "
            "4 at most (got 8)",
        ),
    ],
)
def test_what_does_not_fit_names_the_number_to_change(
    machines: Cluster, asked: dict[str, int], message: str
) -> None:
    """The key, what there is, and the largest value that would do."""
    with pytest.raises(InfeasibleError) as caught:
        place(machines, **asked)

    assert str(caught.value) == message


def test_a_cluster_counts_all_its_nodes() -> None:
    """CPUs and GPUs of two nodes together."""
    machines = cluster((3, 1), (5, 2))

    assert (machines.cpus, machines.gpus) == (8, 3)


def test_counts_are_worded_in_singular_and_plural() -> None:
    """One is one, none are several."""
    words = [word_count(n, "GPU") for n in (0, 1, 2)]

    assert words == ["0 GPUs", "1 GPU", "2 GPUs"]


def test_an_elastic_lane_has_fewer_workers_where_there_is_no_room_for_all() -> None:
    """As many as there is room for; it still knows how many it should have."""
    asked = {"workers": 4, "min_workers": 2}

    plan = place(cluster((3, 0)), **asked)

    assert (plan.lanes, plan.workers, plan.missing) == (1, 3, 1)
    assert plan.request.workers == 4
    whole = place_lanes(cluster((3, 0), (2, 0)), plan.request, most=9)
    assert (whole.lanes, whole.workers, whole.missing) == (1, 4, 0)


def test_whole_lanes_come_before_more_of_them() -> None:
    """Eight CPUs hold two lanes of four, not four of two."""
    plan = place(cluster((8, 0)), workers=4, min_workers=2)

    assert (plan.lanes, plan.workers, plan.missing) == (2, 4, 0)


def test_too_few_for_an_elastic_lane_names_the_least_number() -> None:
    """It is the one to change."""
    with pytest.raises(InfeasibleError) as told:
        place(cluster((1, 0)), workers=4, min_workers=2)

    assert str(told.value) == (
        "resources.min_workers: 2 workers of 1 CPU each do not fit on this machine with 1 CPU "
        "and 0 GPUs; set it to 1 at most"
    )


def test_a_lane_that_is_cut_to_fewer_workers_lacks_none() -> None:
    """It was decided so, and waits for nobody."""
    plan = place(cluster((3, 0)), workers=4, min_workers=2).cut(1, workers=1)

    assert (plan.workers, plan.missing, plan.min_workers) == (1, 0, None)


def test_lanes_that_lost_their_room_are_remembered() -> None:
    """A machine is lost and comes back: as many lanes as at first, never more."""
    planned = place(cluster((2, 0), (2, 0)), most=3)

    fewer = place_again(cluster((2, 0)), planned)
    again = place_again(cluster((2, 0), (4, 0)), fewer)

    assert (fewer.lanes, fewer.missing_lanes) == (2, 1)
    assert (again.lanes, again.missing_lanes) == (3, 0)
    assert fewer.cut(1).missing_lanes == 0
