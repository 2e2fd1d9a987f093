"""The kind `endpoint` against a real local HTTP server: what it asks, what it makes of answers, refusals and faults."""

import base64
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captioners.core.errors import CaptionersError, EngineLostError, UserError
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.kinds.captioner import Request
from captioners.kinds.endpoint_options import EndpointOptions
from tests.kinds.tiny_models import pictures

SAMPLE = Sample(top_p=0.9, min_tokens=0)


class Served:
    """What a server was asked, and how it answers: `answers(number, body) -> (status, JSON or text, headers)`."""

    def __init__(self, answers):
        self.answers, self.asked, self.keys, self.lock = answers, [], [], threading.Lock()
        self.now = self.most = 0
        self.address = ""


def caption(number, body):
    choices = [
        {"index": n, "message": {"content": f" caption of seed {body['seed'] + n}\n"}, "finish_reason": "stop"}
        for n in range(body["n"])
    ]
    return 200, {"choices": choices, "usage": {"completion_tokens": 6}}, {}


@contextmanager
def serving(answers=caption, models=("tiny",)):
    served = Served(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            listed = {"data": [{"id": name, "owned_by": "test"} for name in models]}
            self.answer(200 if models else 404, listed, {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                number = len(served.asked)
                served.asked.append(body)
                served.keys.append(self.headers.get("Authorization"))
                served.now += 1
                served.most = max(served.most, served.now)
            try:
                self.answer(*served.answers(number, body))
            finally:
                with served.lock:
                    served.now -= 1

        def answer(self, status, content, headers):
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except BrokenPipeError:
                pass  # the client gave up

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def opened(served, **options):
    options = {"model": "tiny", "retries": 2, "backoff_s": 0.01, **options}
    captioner = EndpointOptions(base_url=served.address, **options).load("auto", "auto")
    captioner.open()
    try:
        yield captioner
    finally:
        captioner.close()


def requests(count, **how):
    how = {"decoding": SAMPLE, "prompt": "Describe this picture.", **how}
    return [
        Request(index=n, image=image, stream=Stream(0, str(n) * 64), **how) for n, image in enumerate(pictures(count))
    ]


def test_each_draw_is_asked_for_with_its_seed_and_the_picture_arrives_whole():
    asked = requests(3, draws=2)
    with serving() as served, opened(served, system="You are brief.", concurrency=1) as captioner:
        found = list(captioner.caption(asked))
    assert [(r.index, r.draw) for r in found] == [(n, draw) for n in range(3) for draw in range(2)]
    assert found[3].text == f"caption of seed {asked[1].seed + 1}" and found[3].raw_text == f" {found[3].text}\n"
    assert {r.finish for r in found} == {"eos"} and {r.logprob for r in found} == {None}
    body = served.asked[1]
    assert (body["model"], body["n"], body["temperature"], body["top_p"]) == ("tiny", 2, 1.0, 0.9)
    assert not {"top_k", "min_p", "min_tokens"} & set(body), "an openai server is told nothing that it does not know"
    assert body["messages"][0] == {"role": "system", "content": "You are brief."}
    picture, text = body["messages"][1]["content"]
    assert text["text"] == "Describe this picture."
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    sent = np.asarray(Image.open(BytesIO(base64.b64decode(data))))
    assert np.array_equal(sent, np.asarray(asked[1].image))


def test_a_draw_asked_for_by_itself_has_the_seed_it_had_and_an_attempt_has_another():
    (all_three,) = requests(1, draws=3)
    (third,) = requests(1, draws=1, first_draw=2)
    (again,) = requests(1, draws=1, first_draw=2, attempt=1)
    assert third.seed == all_three.seed + 2 and abs(again.seed - third.seed) > 2
    with serving() as served, opened(served) as captioner:
        (result,) = captioner.caption([third])
    assert (result.draw, served.asked[0]["seed"]) == (2, third.seed) and result.num_tokens == 5


def test_a_server_of_vllm_is_told_every_filter():
    decoding = Sample(top_k=5, min_tokens=2, repetition_penalty=1.1, max_tokens=9)
    with serving() as served, opened(served, server="vllm") as captioner:
        list(captioner.caption(requests(1, decoding=decoding)))
        list(captioner.caption(requests(1, decoding=Beam(width=1, min_tokens=0))))
    sampled, greedy = served.asked
    told = {"top_k": 5, "top_p": 1.0, "min_p": 0.0, "min_tokens": 2, "repetition_penalty": 1.1, "max_tokens": 9}
    assert told.items() <= sampled.items()
    assert greedy["temperature"] == 0.0


def test_pictures_may_be_sent_smaller_and_as_jpeg():
    with serving() as served, opened(served, image_format="jpeg", max_side=20) as captioner:
        list(captioner.caption(requests(1)))
    url = served.asked[0]["messages"][0]["content"][0]["image_url"]["url"]
    sent = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    assert sent.format == "JPEG" and max(sent.size) == 20


def test_a_server_that_knows_no_n_is_asked_for_the_rest():
    def one(number, body):
        return caption(number, {**body, "n": 1})

    asked = requests(2, draws=3)
    with serving(one) as served, opened(served) as captioner:
        found = {(r.index, r.draw): r.text for r in captioner.caption(asked)}
    assert found == {(q.index, d): f"caption of seed {q.seed + d}" for q in asked for d in range(3)}
    assert len(served.asked) == 6


def test_no_more_requests_are_under_way_than_said_and_no_more_are_pulled():
    pulled = []

    def slow(number, body):
        time.sleep(0.05)
        return caption(number, body)

    def source():
        for request in requests(8):
            pulled.append(request)
            yield request

    with serving(slow) as served, opened(served, concurrency=3) as captioner:
        results = captioner.caption(source())
        next(results)
        assert len(pulled) == 3
        assert len(list(results)) == 7
    assert served.most <= 3


@pytest.mark.parametrize("status", [429, 500, 503, 401, 403, 408])
def test_a_busy_server_is_asked_again(status):
    def twice(number, body):
        return caption(number, body) if number >= 2 else (status, {"error": {"message": "later"}}, {})

    with serving(twice) as served, opened(served) as captioner:
        (result,) = captioner.caption(requests(1))
    assert result.finish == "eos" and len(served.asked) == 3


def test_what_the_server_asks_to_wait_is_waited():
    def later(number, body):
        return caption(number, body) if number else (429, "", {"Retry-After": "0.3"})

    with serving(later) as served, opened(served) as captioner:
        start = time.monotonic()
        list(captioner.caption(requests(1)))
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {"error": {"message": "no room"}}, {}), "status 500, no room, 3 times in a row"),
        ((401, {"error": "no such key"}, {}), "status 401, no such key, 3 times in a row. Is the key right"),
        ((200, "<html>", {}), "an answer that is no JSON, 3 times"),
    ],
)
def test_a_server_that_stays_so_is_lost_and_the_unit_stays_open(answer, said):
    with serving(lambda *_: answer) as served, opened(served) as captioner:
        with pytest.raises(EngineLostError, match=said) as raised:
            list(captioner.caption(requests(2)))
        assert raised.value.exit_code == 75


def test_a_server_that_hangs_is_lost_after_its_time_and_closing_waits_for_nothing():
    free = threading.Event()

    def hang(number, body):
        free.wait(20)
        return caption(number, body)

    with serving(hang) as served:
        start = time.monotonic()
        lost = pytest.raises(EngineLostError, match=r"no answer in 0.3 s, 2 times")
        with opened(served, timeout_s=0.3, retries=1) as captioner, lost:
            list(captioner.caption(requests(1)))
        with opened(served, timeout_s=60) as captioner:
            asker = threading.Timer(0.2, free.set)
            results = captioner.caption(requests(2))
            asker.start()
            next(results)
            results.close()
        assert time.monotonic() - start < 10


def test_a_server_that_is_gone_is_lost():
    with serving() as served:
        pass
    captioner = EndpointOptions(base_url=served.address, model="tiny", retries=1, backoff_s=0.01).load("auto", "auto")
    with pytest.raises(EngineLostError, match="no connection"):
        captioner.open()


def test_what_the_server_refuses_of_one_picture_is_that_sample_s_error():
    def narrow(number, body):
        refused = 400, {"error": {"message": "image is too narrow"}}, {}
        return refused if "special" in body["messages"][-1]["content"][1]["text"] else caption(number, body)

    mixed = [*requests(2), *requests(1, prompt="special", draws=2)]
    mixed[2] = Request(**{**mixed[2].__dict__, "index": 9})
    with serving(narrow) as served, opened(served) as captioner:
        found = {(r.index, r.draw): r for r in captioner.caption(mixed)}
    assert {found[0, 0].finish, found[1, 0].finish} == {"eos"}
    for draw in range(2):
        assert (found[9, draw].finish, found[9, draw].text) == ("error", "")
        assert found[9, draw].raw_text == "status 400, image is too narrow"
    assert len(served.asked) == 3, "a refusal is not asked again"


def test_a_server_that_refuses_everything_stops_the_run():
    stopped = pytest.raises(UserError, match="refused 20 requests in a row, the last with status 422")
    with serving(lambda *_: (422, {"detail": "no images, please"}, {})) as served, opened(served) as captioner, stopped:
        list(captioner.caption(requests(30)))


def test_a_model_that_the_server_lacks_is_said_on_opening():
    refused = pytest.raises(UserError, match=r"has no model 'tinny'\. Did you mean 'tiny'")
    with serving() as served, refused, opened(served, model="tinny"):
        pass
    with serving(models=()) as served, opened(served) as captioner:  # one that tells nothing is believed
        assert len(list(captioner.caption(requests(1)))) == 1


def test_the_key_comes_from_the_environment_each_time_and_is_nowhere_else(monkeypatch):
    options = EndpointOptions(base_url="http://host/v1", model="m", api_key_env="MY_KEY")
    monkeypatch.delenv("MY_KEY", raising=False)
    assert "MY_KEY is not set" in options.missing()
    monkeypatch.setenv("MY_KEY", "first-secret")
    assert options.missing() is None

    def rotate(number, body):
        if number == 0:
            monkeypatch.setenv("MY_KEY", "second-secret")
            return 401, {"error": {"message": "expired"}}, {}
        return caption(number, body)

    with serving(rotate) as served, opened(served, api_key_env="MY_KEY") as captioner:
        list(captioner.caption(requests(1)))
        assert "secret" not in str(captioner.info) + str(captioner.environment)
    assert served.keys == ["Bearer first-secret", "Bearer second-secret"]


def test_a_closed_one_says_so():
    with pytest.raises(CaptionersError, match="not open"):
        next(EndpointOptions(base_url="http://host/v1", model="m").load("auto", "auto").caption([]))


def test_where_it_runs_is_no_meaning_and_what_it_is_asked_is():
    def meaning(**options):
        return EndpointOptions(**{"base_url": "http://a/v1", "model": "m", **options}).load("", "").info.meaning

    assert meaning() == meaning(base_url="https://b:1/v1", concurrency=2, api_key_env="K", retries=0)
    assert all(
        meaning() != meaning(**{key: value}) for key, value in [("model", "n"), ("system", "x"), ("max_side", 9)]
    )
