"""What the driver knows of a broker that has gone."""

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
