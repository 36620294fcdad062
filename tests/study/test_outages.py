"""A server of MLflow that is broken in any way: it changes no score, and that it lacks the runs is told.

`AUTOOPT_TEST_ALL=1` takes all outages instead of a sample.
"""

import os
import socket
import struct
import threading
from contextlib import contextmanager, suppress

import pytest
from test_stages import Study

from autoopt.records.stages import STORED
from autoopt.records.stored import open_stored
from autoopt.tracking.server import free_port

pytestmark = pytest.mark.slow
FOR_EVER = None


def answer(status: str, body: bytes, *headers: str, size: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body) if size is None else size}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


ANSWERS = {
    "hangs": FOR_EVER,
    "closes": b"",
    "says garbage": b"\xff\x00\x1b[2J garbage\r\n\r\n" * 50,
    "begins an answer": b"HTTP/1.1 200 OK\r\n",
    "breaks off": answer("200 OK", b'{"experiment"', size=10_000),
    "has a bug": answer("500 Internal Server Error", b"Traceback (most recent call last)"),
    "has no backend": answer("502 Bad Gateway", b"<html>bad gateway</html>"),
    "is down for an hour": answer("503 Service Unavailable", b"", "Retry-After: 3600"),
    "has had too much": answer("429 Too Many Requests", b"{}", "Retry-After: 3600"),
    "wants a password": answer("401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="x"'),
    "forbids it": answer("403 Forbidden", b'{"error_code": "PERMISSION_DENIED", "message": "no"}'),
    "is another": answer("404 Not Found", b"<html>nothing here</html>"),
    "leads in a circle": answer("302 Found", b"", "Location: /"),
    "is a page": answer("200 OK", b"<html>log in</html>"),
    "says nothing": answer("200 OK", b""),
    "knows nothing": answer("200 OK", b"{}"),
    "says null": answer("200 OK", b"null"),
    "says a list": answer("200 OK", b"[1, 2]"),
    "nests": answer("200 OK", b"[" * 100_000 + b"]" * 100_000),
    "says other types": answer("200 OK", b'{"experiment": {"experiment_id": [1], "lifecycle_stage": 7}, "experiments": 3}'),
    "has lied about its length": answer("200 OK", b"{}" * 1000, size=1),
}
ADDRESSES = {
    "refuses": "http://127.0.0.1:{port}",
    "has no address": "http://no-such-host.invalid",
    "speaks no TLS": "https://127.0.0.1:{port}",
    "resets": "http://127.0.0.1:{port}",
}
OUTAGES = [*ANSWERS, *ADDRESSES]
SAMPLE = OUTAGES if os.environ.get("AUTOOPT_TEST_ALL") else ["knows nothing", "resets"]


@contextmanager
def serving(outage: str):
    """The address of a server that is broken in this way."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port, kept = server.getsockname()[1], []

        def serve():
            with suppress(OSError):  # the test has ended
                while True:
                    client, _ = server.accept()
                    kept.append(client)
                    with suppress(OSError):
                        reply(client, outage)

        threading.Thread(target=serve, daemon=True).start()
        yield ADDRESSES.get(outage, "http://127.0.0.1:{port}").format(port=free_port() if outage == "refuses" else port)
        server.shutdown(socket.SHUT_RDWR)


def reply(client: socket.socket, outage: str) -> None:
    if outage == "resets":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    elif (said := ANSWERS.get(outage, b"no TLS")) is not FOR_EVER:
        client.recv(1 << 16)
        client.sendall(said)
        client.close()


def results(folder):
    """What does not depend on the server."""
    study = open_stored("s", str(folder))
    records = {stage.name: [(r.key, r.recipe, r.seed, r.state, r.score) for r in study.records[stage.name]] for stage in STORED}
    return records, study.verdict.gain, study.verdict.interval, study.verdict.winner.trial


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untracked")
    Study(folder).search()
    return results(folder)


@pytest.mark.parametrize("outage", SAMPLE)
def test_a_server_that(outage, untracked, tmp_path):
    study = Study(tmp_path)
    with serving(outage) as address:
        study.search("tracking.enabled=true", f"tracking.uri={address}")
    assert results(tmp_path) == untracked
    (told,) = [line for line in study.screen.lines if line.startswith("MLflow lacks ")]
    assert "records so far; the next run of this command tries again" in told
    assert "Traceback (most recent call last):\n  File" not in (tmp_path / "s" / "tracking.log").read_text()
