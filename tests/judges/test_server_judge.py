"""The client of OpenAI's protocol against a real server that fails in every way, and its limits."""

import json
import logging
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from k15_plugins import ServerJudge

QUICK = {"timeout_seconds": 0.5, "patience_seconds": 20.0}


class Script:
    """What a server answers to the posts that it gets, one after the other; the last for ever. It notes the posts."""

    def __init__(self, *answers, served=("judge",)):
        self.answers = list(answers)
        self.served = served
        self.drips = False
        self.bodies, self.paths, self.keys = [], [], []
        self.now, self.most = 0, 0
        self.lock = threading.Lock()

    def next(self, path, body, key):
        with self.lock:
            self.paths.append(path)
            self.bodies.append(body)
            self.keys.append(key)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def said(text):
    return 200, {"choices": [{"message": {"content": text}, "text": text}]}


@contextmanager
def serving(script):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer(200, {"data": [{"id": each} for each in script.served]})

        def do_POST(self):
            with script.lock:
                script.now += 1
                script.most = max(script.most, script.now)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer, *headers = script.next(self.path, body, self.headers["Authorization"])
            if callable(answer):
                answer = answer(body)
            with script.lock:
                script.now -= 1
            self.answer(status, answer, *headers)

        def answer(self, status, answer, headers=()):
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            try:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for part in [content] if not script.drips else [content[i : i + 1] for i in range(len(content))]:
                    self.wfile.write(part)
                    time.sleep(0.2 * script.drips)
            except OSError:  # the client has gone
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def echo(body):
    time.sleep(0.02)
    content = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
    return said(content)[1]


def stall(body):
    time.sleep(1.5)
    return said("late")[1]


def test_each_prompt_gets_its_own_answer_at_most_so_many_at_once():
    script = Script((200, echo))
    prompts = [f"prompt {number}" for number in range(20)]
    with serving(script) as address:
        assert ServerJudge(address, "judge", concurrency=3).write(prompts) == prompts
    assert 1 < script.most <= 3


@pytest.mark.parametrize(("chat", "path"), [(True, "/v1/chat/completions"), (False, "/v1/completions")])
def test_the_request_is_greedy_and_of_the_protocol(chat, path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    script = Script((200, echo))
    with serving(script) as address:
        judge = ServerJudge(f"{address}/v1/", "judge", chat=chat, max_new_tokens=7, key_variable="MY_KEY")
        assert judge.write(["p"]) == ["p"]
    content = {"messages": [{"role": "user", "content": "p"}]} if chat else {"prompt": "p"}
    assert script.bodies == [{"model": "judge", "temperature": 0.0, "max_tokens": 7, **content}]
    assert script.paths == [path]
    assert script.keys == ["Bearer secret"]


@pytest.mark.parametrize(
    "bad",
    [
        (500, b"oops"),
        (503, b"loading"),
        (429, b"slow down"),
        (200, b"not JSON"),
        (200, b"[" * 200_000),
        (200, {"choices": []}),
        (200, {"error": "?"}),
        (200, []),
        (200, {"choices": [{"message": {"content": 7}}]}),
        (200, stall),
    ],
)
def test_a_server_that_fails_once_is_asked_again(bad):
    script = Script(bad, said("fine"))
    with serving(script) as address:
        assert ServerJudge(address, "judge", **QUICK).write(["p"]) == ["fine"]
    assert len(script.paths) == 2


def test_a_server_that_never_ends_is_left():
    script = Script(said("a slow word"))
    with serving(script) as address:
        judge = ServerJudge(address, "judge", tries=1, **QUICK)
        script.drips = True
        start = time.monotonic()
        assert judge.write(["p"]) == [None]
    assert time.monotonic() - start < 5


def test_a_busy_server_is_left_alone_as_long_as_it_asks():
    script = Script((429, b"", [("Retry-After", "1.2")]), said("fine"))
    with serving(script) as address:
        start = time.monotonic()
        assert ServerJudge(address, "judge").write(["p"]) == ["fine"]
    assert time.monotonic() - start >= 1.2


def test_a_server_that_goes_on_failing_gives_none_with_one_warning(caplog):
    script = Script((500, b"out of memory"))
    with serving(script) as address, caplog.at_level(logging.WARNING):
        assert ServerJudge(address, "judge", tries=2).write(["p", "q"]) == [None, None]
    assert len(script.paths) == 4
    assert len(caplog.records) == 1
    assert "2 of 2 judgements failed; the first: http://127.0.0.1:" in caplog.text
    assert "says 500: out of memory (tried 2 times)" in caplog.text


def test_a_request_that_is_refused_is_told_in_the_servers_words_and_not_sent_again(caplog):
    script = Script((400, {"message": "maximum context length is 16 tokens"}), said("fine"))
    with serving(script) as address, caplog.at_level(logging.WARNING):
        judge = ServerJudge(address, "judge", concurrency=1)
        assert judge.write(["long", "short"]) == [None, "fine"]
    assert len(script.paths) == 2
    assert "refuses the request (400): " in caplog.text
    assert "maximum context length is 16 tokens" in caplog.text


def test_a_dead_server_among_others_is_passed_over(caplog):
    with serving(Script((200, echo))) as address, caplog.at_level(logging.WARNING):
        judge = ServerJudge(["http://127.0.0.1:9", address], "judge")
        assert "does not answer yet: http://127.0.0.1:9" in caplog.text
        start = time.monotonic()
        assert judge.write(["p", "q", "r"]) == ["p", "q", "r"]
    assert time.monotonic() - start < 2  # the other server is asked at once


def test_servers_share_the_requests():
    scripts = [Script((200, echo)), Script((200, echo))]
    with serving(scripts[0]) as one, serving(scripts[1]) as other:
        ServerJudge([one, other], "judge").write([str(number) for number in range(10)])
    assert [len(each.paths) for each in scripts] == [5, 5]


def test_a_batch_is_given_up_when_nothing_answers():
    with serving(Script((200, echo))) as address:
        judge = ServerJudge(address, "judge", patience_seconds=0.3, concurrency=2)
    start = time.monotonic()
    assert judge.write(["p"] * 200) == [None] * 200
    assert time.monotonic() - start < 10


def test_an_answer_without_content_is_an_answer():
    with serving(Script((200, {"choices": [{"message": {"content": None, "reasoning": "so"}}]}))) as address:
        assert ServerJudge(address, "judge").write(["p"]) == [""]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"endpoints": []}, "endpoints must be addresses such as http://10.0.0.7:8000, got None"),
        ({"endpoints": "10.0.0.7:8000"}, "got '10.0.0.7:8000'; start a server such as vllm serve"),
        (
            {"endpoints": "http://127.0.0.1:9"},
            "endpoints must name a server that answers, got none .*vllm serve MODEL",
        ),
        ({"tries": 0}, "tries must be 1 or more, got 0"),
        ({"concurrency": 1.5}, "concurrency must be a whole number, got 1.5"),
        ({"timeout_seconds": 0}, "timeout_seconds and patience_seconds must be above 0, got 0"),
        ({"patience_seconds": "x"}, "patience_seconds must be a number, got 'x'"),
    ],
)
def test_what_cannot_work_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ServerJudge(**{"endpoints": "http://127.0.0.1:9", "model": "judge"} | given)


def test_another_model_than_the_server_has_is_refused():
    with (
        serving(Script((200, echo), served=("one", "two"))) as address,
        pytest.raises(ValueError, match=r"serves \(one, two\), got 'judge'; correct it"),
    ):
        ServerJudge(address, "judge")
