"""The page in a real browser, on a real cluster."""

from browsing import browse, needs_chromium, needs_driver

pytestmark = [needs_chromium, needs_driver]


def test_a_visitor_sees_who_would_answer_and_is_answered(cluster):
    browse("chat", cluster.url)
    with cluster.http() as http:
        kept = http.get("/v1/specialists/demo/captain-juniper/conversations").json()["data"]
    given = [each for each in kept if each["metadata"] == {"consent": "training"}]
    assert [each["correction"] for each in given] == ["Ahoy, and welcome aboard!"]
