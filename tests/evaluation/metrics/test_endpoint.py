import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from diysink.evaluation.metrics.endpoint import Endpoint, EndpointError
from diysink.evaluation.metrics.mathvista import MathVista
from tests.evaluation.metrics.tables import item

OPTIONS = ("12 cm", "21 cm")


class Server(HTTPServer):
    """Answers each chat completion with the next of its replies, and keeps what it was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.asked, self.headers = [], [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.asked.append((self.path, json.loads(self.rfile.read(length))))
        self.server.headers.append(dict(self.headers))
        status, body, headers = self.server.replies.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


def said(text):
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return 200, json.dumps(body).encode(), {}


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint(server, tmp_path):
    return Endpoint(server.url, "some-model", tmp_path / "replies", key="secret", timeout=5.0)


def choice():
    details = {"question_type": "multi_choice", "answer_type": "text"}
    return item("21 cm", options=OPTIONS, details=details, question="How long is it?")


def number(kind="integer"):
    return item("7", details={"question_type": "free_form", "answer_type": kind, "precision": 1})


def test_what_is_asked_and_what_is_made_of_it(server, endpoint):
    server.replies = [said("(B)\n"), said("7"), said("None.")]
    metric = MathVista(endpoint, label=endpoint.model)
    assert metric.headline == "accuracy (some-model)"
    assert metric.judge("Twice as long, so 21", choice()) == (1.0, "21 cm", False)
    assert metric.judge("Seven, I think", number()).score == 1
    assert metric.judge("I do not know", number()) == (0.0, None, False)
    path, asked = server.asked[0]
    assert path == "/v1/chat/completions"
    assert (asked["model"], asked["temperature"]) == ("some-model", 0)
    [message] = asked["messages"]
    assert message["role"] == "user"
    assert "How long is it?" in message["content"]
    assert "Twice as long, so 21" in message["content"]
    assert server.headers[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("prediction", "asked", "score"),
    [("21 cm", choice(), 1), ("7", number(), 1), ("7.04", number("float"), 0), ("", number(), 0)],
)
def test_what_is_plain_is_not_asked(server, endpoint, prediction, asked, score):
    assert MathVista(endpoint).judge(prediction, asked).score == score
    assert not server.asked


def test_a_rerun_asks_nothing_again(server, endpoint, tmp_path):
    server.replies = [said("7"), said("8")]
    assert endpoint("seven", number()) == "7"
    again = Endpoint(server.url, "some-model", tmp_path / "replies")
    assert again("seven", number()) == "7"
    assert len(server.asked) == 1
    another = Endpoint(server.url, "another", tmp_path / "replies")
    assert another("seven", number()) == "8"
    files = list((tmp_path / "replies").iterdir())
    assert len(files) == 2
    assert not any("secret" in file.read_text() for file in files)
    assert "secret" not in repr(endpoint)


def test_a_damaged_reply_is_asked_for_again(server, endpoint, tmp_path):
    server.replies = [said("7"), said("8")]
    assert endpoint("seven", number()) == "7"
    [file] = (tmp_path / "replies").iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert endpoint("seven", number()) == "8"


@pytest.mark.parametrize(
    "reply",
    [
        (500, b"oops", {}),
        (401, b"{}", {}),
        (200, b"not JSON", {}),
        (200, b"[]", {}),
        (200, b'{"choices": []}', {}),
        (200, b'{"choices": [{"message": {"content": null}}]}', {}),
        (200, b'{"choices": [{"message": {"content": "7"', {"Content-Length": "999"}),
    ],
)
def test_a_failure_is_an_error_that_keeps_what_is_done(server, endpoint, reply):
    server.replies = [said("7"), reply, said("8")]
    assert endpoint("seven", number()) == "7"
    with pytest.raises(EndpointError, match="some-model"):
        endpoint("eight", number())
    assert endpoint("eight", number()) == "8"
    assert endpoint("seven", number()) == "7"
    assert len(server.asked) == 3


def test_a_redirect_does_not_get_the_key(server, endpoint):
    server.replies = [(302, b"", {"Location": f"{server.url}/elsewhere"}), said("7")]
    with pytest.raises(EndpointError, match="302"):
        endpoint("seven", number())
    assert len(server.asked) == 1


def test_nobody_there(tmp_path):
    closed = Server()
    url = closed.url
    closed.server_close()
    with pytest.raises(EndpointError):
        Endpoint(url, "m", tmp_path, timeout=5.0)("seven", number())


@pytest.mark.parametrize(
    "url", ["", "api.example.org/v1", "file:///etc/passwd", "https://me:word@example.org/v1"]
)
def test_other_urls_are_refused(tmp_path, url):
    with pytest.raises(ValueError, match="http"):
        Endpoint(url, "m", tmp_path)
