"""The clusters' files under Ray's own schema, and one of them up to a pretend EC2."""

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")
pytest.importorskip("opencensus")

from ray.autoscaler._private import commands  # noqa: E402
from ray.autoscaler._private.util import prepare_config, validate_config  # noqa: E402

ROOT = Path(__file__).parents[2]
FILES = ("cluster.yaml", "cluster-onprem.yaml")
Config = dict[str, Any]


def read(name: str) -> Config:
    """One of the files, as it stands."""
    config: Config = yaml.safe_load((ROOT / name).read_text())
    return config


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file(name: str) -> None:
    """It holds under Ray's schema, with Ray's defaults filled in."""
    config = prepare_config(read(name))

    validate_config(config)
    assert config["cluster_name"] == read(name)["cluster_name"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda config: config.update(max_worker=4), "'max_worker' was unexpected"),
        (lambda config: gpu(config).update(max_workers="4"), "'4' is not of type 'integer'"),
        (lambda config: gpu(config).update(min_workers=9), "min_workers"),
        (lambda config: config.update(idle_timeout_minutes="ten"), "'ten' is not of type"),
        (lambda config: config.pop("head_node_type"), "head_node_type"),
    ],
    ids=["unknown key", "text for a number", "min over max", "text for minutes", "no head"],
)
def test_the_schema_is_one_that_refuses(spoil: Callable[[Config], None], said: str) -> None:
    """What the test above rests on: Ray refuses the same file with one mistake in it."""
    config = read("cluster.yaml")
    spoil(config)

    with pytest.raises(Exception, match=said):
        validate_config(prepare_config(config))


def gpu(config: Config) -> Config:
    """The type of the machines with a GPU."""
    kind: Config = config["available_node_types"]["gpu"]
    return kind


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_open_to_the_world(name: str) -> None:
    """Pages are served on the head's loopback alone, and a token is asked for."""
    config = read(name)
    start = " ".join(config["head_start_ray_commands"])

    assert "--dashboard-host=127.0.0.1" in start
    assert "0.0.0.0" not in json.dumps(config)
    assert "RAY_AUTH_MODE=token" in " ".join(config["initialization_commands"])
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert next(iter(config["file_mounts"].items())) == ("~/project", ".")


@pytest.mark.parametrize("name", FILES)
def test_the_environment_is_that_of_the_constraints(name: str) -> None:
    """Machines install what constraints.txt pins, and all of Ray that `ray submit` needs."""
    setup = " ".join(read(name)["setup_commands"])
    pins = (ROOT / "constraints.txt").read_text().splitlines()

    assert "pip install -q -c ~/project/constraints.txt -e ~/project'[vision,cluster]'" in setup
    assert f"ray=={version('ray')}" in pins
    for package in ("boto3", "opencensus", "aiohttp-cors"):
        assert any(pin.lower().startswith(f"{package}==") for pin in pins), package


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_one_for_the_shell(name: str) -> None:
    """No command has lost a quote on its way through YAML: the shell can read each."""
    config = read(name)
    for key, value in config.items():
        if key.endswith("_commands"):
            for command in value:
                read_only = ["bash", "-n", "-c", command]
                subprocess.run(read_only, check=True, capture_output=True)


@pytest.mark.parametrize("name", FILES)
def test_workers_declare_their_gpus(name: str) -> None:
    """Ray starts on workers with a token and a label for each GPU."""
    (start,) = [c for c in read(name)["worker_start_ray_commands"] if "ray start" in c]

    assert '--resources="$(python -m orchestrator.launch.tokens)"' in start
    assert '--labels="$(python -m orchestrator.launch.tokens --labels)"' in start


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A pretend EC2 in which nothing is rented yet, and a home without keys."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "pretended")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    # Ray waits seconds for what takes EC2 seconds.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with moto.mock_aws():
        yield boto3.client("ec2")


def make_group(ec2: Any) -> str:
    """The security group, by the three commands that cluster.yaml's head shows."""
    text = (ROOT / "cluster.yaml").read_text()
    shown = [line[1:].strip() for line in text.splitlines() if "aws ec2" in line]
    create, ssh, members = map(shlex.split, shown)
    option = {
        words[0].removeprefix("--"): words[-1]
        for command in (create, ssh, members)
        for words in (word.split("=", 1) for word in _joined(command))
    }
    group: str = ec2.create_security_group(
        GroupName=option["group-name"], Description=option["description"]
    )["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": int(option["port"]),
                "ToPort": int(option["port"]),
                "IpRanges": [{"CidrIp": "203.0.113.7/32"}],
            },
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
        ],
    )
    return group


def _joined(command: list[str]) -> list[str]:
    """`--option value` and `--option=value` alike as the latter."""
    return [
        word if "=" in word else f"{word}={following}"
        for word, following in zip(command, [*command[1:], ""], strict=True)
        if word.startswith("--")
    ]


def test_up_on_a_pretend_ec2(ec2: Any) -> None:
    """A CPU head, workers on spot with a token per GPU; SSH from one address, nothing else."""
    config = read("cluster.yaml")
    group = make_group(ec2)
    for kind in config["available_node_types"].values():
        kind["node_config"]["SecurityGroupIds"] = [group]

    ready = commands._bootstrap_config(config, no_config_cache=True)
    provider = commands._get_node_provider(ready["provider"], ready["cluster_name"])
    for kind in ("head", "gpu"):
        tags = {"ray-node-type": kind, "ray-node-name": kind, "ray-launch-config": "x"}
        node = dict(ready["available_node_types"][kind]["node_config"])
        provider.create_node(node, tags, 1)

    offered = {kind: of["resources"] for kind, of in ready["available_node_types"].items()}
    assert offered["head"]["CPU"] == 0
    assert "GPU" not in offered["head"]
    tokens = sorted(key for key in offered["gpu"] if re.fullmatch(r"gpu_\d+", key))
    assert tokens == [f"gpu_{index}" for index in range(offered["gpu"]["GPU"])]
    assert ready["available_node_types"]["gpu"]["min_workers"] == 0
    rented = {
        instance["InstanceType"]: instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    }
    assert sorted(rented) == ["g6.xlarge", "m7i.xlarge"]
    assert rented["g6.xlarge"]["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in rented["m7i.xlarge"]
    # Whoever breaks into a worker has no rights on AWS.
    assert "IamInstanceProfile" not in rented["g6.xlarge"]
    _only_ssh_from_one_address(ec2, group)


def _only_ssh_from_one_address(ec2: Any, group: str) -> None:
    """What Ray has left of the firewall: the owner's own group, as it was."""
    used = ec2.describe_security_groups()["SecurityGroups"]
    assert not [entry for entry in used if entry["GroupName"].startswith("ray-autoscaler")]
    (ours,) = [entry for entry in used if entry["GroupId"] == group]
    ranges = [r["CidrIp"] for rule in ours["IpPermissions"] for r in rule["IpRanges"]]
    assert ranges == ["203.0.113.7/32"]
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            assert [entry["GroupId"] for entry in instance["SecurityGroups"]] == [group]


def test_without_a_security_group_nothing_is_rented(
    ec2: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file as it stands, its EDIT undone, ends before a machine is rented."""
    with pytest.raises(AssertionError):  # Ray's way to refuse
        commands._bootstrap_config(read("cluster.yaml"), no_config_cache=True)

    assert "Failed to detect a security group" in capsys.readouterr().err
    assert ec2.describe_instances()["Reservations"] == []
