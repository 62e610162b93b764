"""Headers that would steer the cluster do not get past its front."""

import asyncio

import pytest

from deploy.front import Named, WithoutSteering, middlewares


def passed(*headers):
    seen = []

    async def app(scope, receive, send):
        seen.extend(scope.get("headers", ()))

    scope = {"type": "http", "headers": list(headers)}
    before = dict(scope)
    asyncio.run(WithoutSteering(app)(scope, None, None))
    assert scope == before
    return seen


@pytest.mark.parametrize(
    "name",
    [
        b"x-request-timeout-seconds",
        b"x_request_timeout_seconds",
        b"X-Request-Disconnect-Disabled",
        b"serve_multiplexed_model_id",
        b"serve-multiplexed-model-id",
        b"x-session-id",
        b"x-serve-anything",
    ],
)
def test_what_steers_is_taken_out(name):
    kept = (b"authorization", b"Bearer x"), (b"x-request-id", b"abc")
    assert passed(kept[0], (name, b"?1"), kept[1]) == list(kept)


def test_every_header_that_serve_obeys_is_known_here():
    from ray.serve._private import constants

    obeyed = {
        constants.SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
        constants.SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
        constants.SERVE_MULTIPLEXED_MODEL_ID,
        constants.SERVE_SESSION_ID,
    }
    assert passed(*((name.encode(), b"1") for name in obeyed)) == []


def test_scopes_without_headers_pass():
    async def app(scope, receive, send):
        assert scope == {"type": "lifespan"}

    asyncio.run(WithoutSteering(app)({"type": "lifespan"}, None, None))


def test_serve_takes_it_as_it_is():
    from ray.serve._private.http_util import validate_http_proxy_callback_return

    assert len(validate_http_proxy_callback_return(middlewares())) == 5


SANE, INSANE = b"mine-1", b"two words"


@pytest.mark.parametrize("given", [None, SANE, INSANE])
def test_requests_have_one_id_and_so_have_their_responses(given):
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.append([value for name, value in scope["headers"] if name == b"x-request-id"])
        # As Serve's proxy adds one of its own, and a router's message arrives in lists.
        headers = [[b"x-request-id", b"another"], [b"a", b"b"], [b"x-request-id", b"third"]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    headers = [] if given is None else [(b"x-request-id", given)]
    asyncio.run(Named(app)({"type": "http", "headers": headers}, None, send))
    [[name]] = seen
    assert (name == given) == (given == SANE)
    assert sorted(map(tuple, sent[0]["headers"])) == [(b"a", b"b"), (b"x-request-id", name)]
    assert len(sent) == 2


def test_names_are_for_requests_alone():
    async def app(scope, receive, send):
        assert scope == {"type": "websocket"}

    asyncio.run(Named(app)({"type": "websocket"}, None, None))
