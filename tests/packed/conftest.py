from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field

import pytest


@dataclass
class Answer:
    """What the server sends for one path: `announced` is the Content-Length, None to leave it out."""

    body: bytes
    status: int = 200
    announced: int | None = -1  # -1: the true length
    silent: bool = False


@dataclass
class Server:
    """A web server on this machine; `answers` by path, `asked` lists the paths requested."""

    address: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def serve(self, path: str, body: bytes, **how) -> str:
        self.answers[path] = Answer(body, **how)
        return self.address + path


@pytest.fixture
def server():
    stop = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found.asked.append(self.path)
            answer = found.answers.get(self.path) or Answer(b"no such page", status=404)
            if answer.silent:
                stop.wait(10)
                return
            self.send_response(answer.status)
            if answer.announced is not None:
                length = len(answer.body) if answer.announced == -1 else answer.announced
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        found = Server(f"http://127.0.0.1:{running.server_address[1]}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        stop.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the user's cache, and his proxy, out of the tests."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("COMPSRT_CACHE", str(folder))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder
