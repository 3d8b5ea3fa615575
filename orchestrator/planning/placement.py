"""How many lanes fit the machines, and which GPU a worker is given."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster, Device, Node, word_count
from orchestrator.planning.devices import KEY, NodeDevices, check_pins, find_visible
from orchestrator.planning.lanes import LanePlan, LaneRequest, Seat
from orchestrator.planning.refusals import explain_misfit, find_held


def place_lanes(cluster: Cluster, asked: LaneRequest, *, most: int) -> LanePlan:
    """Fit as many lanes as are useful: whole ones, before any has fewer workers.

    Args:
        cluster: The machines.
        asked: What is asked of every lane.
        most: Lanes that could be used at all.

    Raises:
        InfeasibleError: Not even one lane fits, or a GPU is not there; names what to change.
    """
    check_pins(cluster, asked.visible)
    fewest = asked.min_workers or asked.workers
    if asked.min_workers:
        # Fewer workers on free GPUs come before all of them on those that others hold.
        for workers in range(asked.workers, fewest - 1, -1):
            with suppress(InfeasibleError):
                return _place(cluster, asked, most, workers=workers, takes_held=False)
    return _place(cluster, asked, most, workers=fewest, takes_held=True)


def place_again(
    cluster: Cluster,
    planned: LanePlan,
    room: tuple[int, int] | None = None,
    *,
    takes_held: bool = False,
) -> LanePlan:
    """The lanes of a plan on the machines that there are now, as many as there is room for.

    Args:
        cluster: The machines.
        planned: The lanes, with those that it lacks.
        room: Lanes, and workers of each, at most: others may use the machines too. None for
            whatever the machines hold.
        takes_held: Whether to plan for GPUs that others hold, where no lane fits the free ones.

    Raises:
        InfeasibleError: As for `place_lanes`; or others hold GPUs that it would take.
    """
    lanes, asked = planned.lanes + planned.missing_lanes, planned.request
    most, workers = room or (lanes, asked.workers)
    fewer = replace(asked, workers=min(asked.workers, max(workers, asked.min_workers or 0)))
    placed = place_lanes(cluster, fewer, most=min(lanes, most))
    held = find_held(cluster, placed)
    if held and not takes_held:
        raise InfeasibleError("; ".join(held))
    return replace(
        placed,
        missing_lanes=lanes - placed.lanes,
        missing=asked.workers - placed.workers,
    )


def _place(
    cluster: Cluster, whole: LaneRequest, most: int, *, workers: int, takes_held: bool
) -> LanePlan:
    """Lanes of so many workers each, whatever a whole one has.

    Args:
        cluster: The machines.
        whole: What is asked of a whole lane.
        most: Lanes that could be used at all.
        workers: Ranks of each.
        takes_held: Whether to plan for GPUs that others hold where no lane fits the free ones.
    """
    asked = replace(whole, workers=workers)
    slots = sum(_slots(node, asked) for node in cluster.nodes)
    if slots < asked.workers:
        raise InfeasibleError(
            explain_misfit(
                cluster,
                workers=asked.workers,
                cpus=asked.cpus_per_worker,
                gpus=asked.gpus_per_worker,
                slots=slots,
                key="min_workers" if asked.min_workers else "num_workers",
            )
        )
    seats: tuple[tuple[Seat, ...], ...] = ()
    lanes = min(slots // asked.workers, most)
    used = lanes * asked.workers * asked.gpus_per_worker
    if asked.gpus_per_worker and cluster.knows_devices:
        seats = _seat_all(cluster, asked, takes_held=takes_held)[:most]
        lanes = len(seats)
        used = len({(seat.node_id, seat.device) for lane in seats for seat in lane})
    on_gpus = bool(asked.gpus_per_worker) and not cluster.rehearses
    return LanePlan(
        **{field.name: getattr(asked, field.name) for field in fields(LaneRequest)},
        lanes=lanes,
        device="cuda" if on_gpus else "cpu",
        idle_gpus=int(cluster.gpus - used),
        backend="nccl" if on_gpus else "gloo",
        seats=seats,
        missing=whole.workers - workers,
    )


def _slots(node: Node, asked: LaneRequest) -> int:
    by_cpu, gpus = node.cpus // asked.cpus_per_worker, asked.gpus_per_worker
    return min(by_cpu, _slots_of(node.gpus, gpus)) if gpus else by_cpu


def _slots_of(devices: int, gpus: float) -> int:
    """Workers that so many GPUs hold."""
    return devices * _sharers(gpus) if gpus < 1 else int(devices // gpus)


def _sharers(gpus: float) -> int:
    """Workers that share one GPU."""
    # In floating point 1 / 0.1 may be a little less than 10.
    return int(1 / gpus + 1e-6)


def _seat_all(
    cluster: Cluster, asked: LaneRequest, *, takes_held: bool
) -> tuple[tuple[Seat, ...], ...]:
    """A seat for each worker of as many lanes as fit: on free GPUs, else on those to come."""
    found = find_visible(cluster, asked.visible)
    free = found if takes_held and asked.visible is not None else _without_held(found)
    if seats := _seat(free, asked) or (_seat(found, asked) if takes_held else ()):
        return seats
    raise InfeasibleError(_explain_visible(found, asked))


def _seat(found: Sequence[NodeDevices], asked: LaneRequest) -> tuple[tuple[Seat, ...], ...]:
    if any(one.by_lane for one in found):
        return _seat_by_lane(found, asked)
    free = [_free_seats(one, asked) for one in found]
    lanes: list[tuple[Seat, ...]] = []
    while sum(map(len, free)) >= asked.workers:
        take = _pack if asked.placement == "pack" else _spread
        lanes.append(take(free, asked.workers))
    return tuple(lanes)


def _free_seats(found: NodeDevices, asked: LaneRequest) -> list[Seat]:
    """The seats of a node: each GPU once before any is shared."""
    rounds = range(_sharers(asked.gpus_per_worker))
    seats = [_seat_on(found.node, device) for _ in rounds for device in found.devices]
    return seats[: found.node.cpus // asked.cpus_per_worker]


def _without_held(found: Sequence[NodeDevices]) -> tuple[NodeDevices, ...]:
    return tuple(
        replace(one, devices=tuple(device for device in one.devices if not device.holder))
        for one in found
    )


def _pack(free: list[list[Seat]], workers: int) -> tuple[Seat, ...]:
    """Take one lane's seats away: on one node, or on as few as possible."""
    fitting = [seats for seats in free if len(seats) >= workers]
    # The fullest node that holds the lane leaves the others whole.
    order = [min(fitting, key=len)] if fitting else sorted(free, key=len, reverse=True)
    taken: list[Seat] = []
    for seats in order:
        count = min(len(seats), workers - len(taken))
        taken += seats[:count]
        del seats[:count]
    return tuple(taken)


def _spread(free: list[list[Seat]], workers: int) -> tuple[Seat, ...]:
    """Take one lane's seats away: on as many nodes as possible."""
    taken: list[Seat] = []
    while len(taken) < workers:
        for seats in sorted(free, key=len, reverse=True)[: workers - len(taken)]:
            taken += seats[:1]
            del seats[:1]
    return tuple(sorted(taken, key=lambda seat: seat.node))


def _seat_by_lane(
    found: Sequence[NodeDevices], asked: LaneRequest
) -> tuple[tuple[Seat, ...], ...]:
    """Seats of lanes whose devices were named one by one."""
    lanes: list[tuple[Seat, ...]] = []
    begun: dict[int, list[Seat]] = {}
    for one in found:
        _check_shares(one, asked)
        if sum(map(len, one.by_lane)) > one.node.cpus // asked.cpus_per_worker:
            continue
        for index, devices in enumerate(one.by_lane):
            seats = begun.setdefault(index, [])
            seats += [_seat_on(one.node, device) for device in devices]
            if len(seats) > asked.workers:
                raise InfeasibleError(
                    f"{KEY}: lane {index + 1} has {word_count(len(devices), 'GPU')} "
                    f"for {word_count(asked.workers, 'worker')}; name one for each worker, or "
                    f"set resources.num_workers to {len(devices)}"
                )
            if len(seats) == asked.workers:
                lanes.append(tuple(seats))
                begun[index] = []
    return tuple(lanes)


def _check_shares(found: NodeDevices, asked: LaneRequest) -> None:
    named = Counter(device.index for devices in found.by_lane for device in devices)
    for index, lanes in named.items():
        if lanes > _sharers(asked.gpus_per_worker):
            raise InfeasibleError(
                f"{KEY}: GPU {index} is named for {lanes} lanes, each of which has "
                f"{word_count(asked.gpus_per_worker, 'GPU')}; set resources.gpus_per_worker to "
                f"{1 / lanes:.2g} at most"
            )


def _seat_on(node: Node, device: Device) -> Seat:
    return Seat(node=node.name, node_id=node.node_id, device=device.index)


def _explain_visible(found: Sequence[NodeDevices], asked: LaneRequest) -> str:
    rooms = sum(one.node.cpus // asked.cpus_per_worker for one in found)
    left = word_count(sum(len(one.devices) for one in found), "GPU")
    key = "min_workers" if asked.min_workers else "num_workers"
    if rooms < asked.workers:
        left += f" beside {word_count(asked.cpus_per_worker, 'CPU')} for each worker"
    return (
        f"{KEY}: {word_count(asked.workers, 'worker')} of a run need a GPU each, and it leaves "
        f"{left}; name more, or lower resources.{key}"
    )
