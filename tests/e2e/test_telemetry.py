"""A chat's way through router and engine, as an OpenTelemetry collector and the logs have it."""

import json

from clusters import LOG_BYTES
from patience import HANGS, until

from deploy.ray_cluster import session_folder

TRACE = "5b8efff798038103d269b633813fc60c"
REQUEST, CHAT_SPAN = "POST /v1/chat/completions", "chat demo/salary-coach"
SPANS = {REQUEST, "route", CHAT_SPAN, "generate"}
CHAT = {
    "model": "auto",
    "messages": [{"role": "user", "content": "I was offered 62k but hoped for 70k"}],
    "max_tokens": 8,
}


def test_one_trace_holds_what_router_and_engine_did(cluster, collector):
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with cluster.http() as http:
        assert http.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200
    found = collector.of(TRACE, SPANS, HANGS)
    assert found.keys() >= SPANS
    (router, chat), (engine, generate) = found[CHAT_SPAN], found["generate"]
    assert generate.parent_span_id == chat.span_id
    assert router != engine
    assert chat.start_time_unix_nano <= generate.start_time_unix_nano
    said = {each.key: each.value for each in generate.attributes}
    assert said["gen_ai.usage.output_tokens"].int_value > 0


def logs(cluster):
    return list(session_folder(cluster.home).glob("session_latest/logs/worker-*.err*"))


def logged(cluster, word):
    """The whole lines of the cluster's logs that have a word."""
    lines = [line for log in logs(cluster) for line in log.read_text().splitlines(keepends=True)]
    return [line for line in lines if word in line and line.endswith("\n")]


def test_the_log_has_a_line_of_json_for_it(cluster):
    with cluster.http() as http:
        answer = http.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "its-name"})
    assert answer.headers["x-request-id"] == "its-name"
    # It is written once all of the answer was sent, which may be read before.
    until(lambda: logged(cluster, "its-name"))
    [said] = [json.loads(line) for line in logged(cluster, "its-name")]
    assert said["request_id"] == "its-name"
    assert (said["route"], said["status"]) == ("/v1/chat/completions", 200)


def test_logs_do_not_grow_for_ever(cluster):
    [router] = cluster.named(":router")

    def kept():
        return [log.stat().st_size for log in logs(cluster) if f"-{router.pid}.err" in log.name]

    with cluster.http() as http:
        while len(kept()) < 4:
            for _ in range(50):
                assert http.get("/no/such/path").status_code == 404
    assert max(kept()) <= LOG_BYTES
