"""The notice that a machine will be taken away, as clouds give it."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.launch.notice import read_notice

ACTION = "/latest/meta-data/spot/instance-action"
PREEMPTED = "/computeMetadata/v1/instance/preempted"


class Metadata(BaseHTTPRequestHandler):
    """What a cloud answers on the machine: Amazon's wants a token, Google's its own header."""

    said: dict[str, str]

    def do_PUT(self) -> None:
        """Give the token, to who says how long it shall hold."""
        asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        good = self.path == "/latest/api/token" and asked is not None
        self._answer("secret" if good else None)

    def do_GET(self) -> None:
        """Say what there is, to who may know it."""
        amazon = self.headers.get("X-aws-ec2-metadata-token") == "secret"
        google = self.headers.get("Metadata-Flavor") == "Google"
        known = amazon if self.path == ACTION else google
        self._answer(self.said.get(self.path) if known else None)

    def _answer(self, text: str | None) -> None:
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def metadata() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a machine's metadata, and what they say."""
    said: dict[str, str] = {}
    handler = type("Handler", (Metadata,), {"said": said})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", said
    server.shutdown()
    server.server_close()


def test_amazons_notice_is_there_or_not_found(metadata: tuple[str, dict[str, str]]) -> None:
    """Version 2 of its metadata asks for a token first."""
    address, said = metadata
    assert read_notice(address + ACTION) == ""

    said[ACTION] = '{"action": "terminate", "time": "2026-11-27T12:00:00Z"}'

    assert read_notice(address + ACTION) == said[ACTION]


def test_googles_notice_turns_from_false_to_true(metadata: tuple[str, dict[str, str]]) -> None:
    """There is always an answer."""
    address, said = metadata
    said[PREEMPTED] = "FALSE"
    assert read_notice(address + PREEMPTED) == ""

    said[PREEMPTED] = "TRUE"

    assert read_notice(address + PREEMPTED) == "TRUE"


def test_a_file_is_a_notice_once_it_is_there(tmp_path: Path) -> None:
    """What it says is why."""
    assert read_notice(str(tmp_path / "notice")) == ""

    (tmp_path / "notice").touch()
    assert read_notice(str(tmp_path / "notice")) == "announced"

    (tmp_path / "notice").write_text("maintenance at noon\n")
    assert read_notice(str(tmp_path / "notice")) == "maintenance at noon"


def test_who_does_not_answer_has_given_no_notice() -> None:
    """A machine outside a cloud has nobody at that address."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    assert read_notice(f"http://127.0.0.1:{port}{ACTION}") == ""
