"""What all tests share: how Hypothesis draws its examples, and a pretend S3."""

import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, and no limit of time: a busy one is no mistake of ours.
settings.register_profile(
    "orchestrator",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("orchestrator")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a pretend S3 on this machine."""
    server_module = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str) -> dict[str, str]:
    """The variables by which a pretend S3 is found."""
    return {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "pretended",
        "AWS_SECRET_ACCESS_KEY": "pretended",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def bucket(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket, which this process finds, too."""
    import boto3

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
