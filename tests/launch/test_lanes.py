"""What the driver knows of a broker and of a Ray that have gone."""

import os
import subprocess
import sys

from orchestrator.launch.lanes import BrokerHandle


def test_a_broker_whose_process_is_gone_has_died() -> None:
    """Seen without Ray, which may tell late; of an unknown process nothing is said."""
    broker = BrokerHandle("broker", actor=None)
    unknown = broker.has_died()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        broker.process = process.pid
        alive = not broker.has_died()
        process.kill()

    assert (unknown, alive, broker.has_died()) == (False, True, True)


def test_no_thread_starts_a_ray_by_itself() -> None:
    """Where a Ray has ended, a thread that still speaks to it gets an error, not a new one."""
    program = (
        "from orchestrator.launch.environment import prepare_environment; "
        "prepare_environment(); import ray; ray.put(1)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ENABLE_AUTO_CONNECT"}

    said = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 1
    assert "Ray has not been started yet" in said.stderr
