"""Headers that would steer the cluster do not get past its front."""

import asyncio

import pytest

from deploy.front import WithoutSteering, middlewares


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

    assert len(validate_http_proxy_callback_return(middlewares())) == 3
