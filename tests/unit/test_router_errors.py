import pickle

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import registry.errors as registry_errors
import router.errors as router_errors
from registry.errors import RegistryError
from router.api.failures import INTERNAL, failure
from router.errors import RouterError


def tree(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


ROUTER = {
    RouterError: (RouterError("m"), 500),
    router_errors.InvalidRequest: (router_errors.InvalidRequest("m", param="n"), 400),
    router_errors.UnsupportedParameter: (router_errors.UnsupportedParameter("m", param="n"), 400),
    router_errors.BodyTooLarge: (router_errors.BodyTooLarge(9), 413),
    router_errors.BodyStalled: (router_errors.BodyStalled(60), 408),
    router_errors.UnreadableMedia: (router_errors.UnreadableMedia("m"), 415),
    router_errors.Unauthorized: (router_errors.Unauthorized("m"), 401),
    router_errors.Forbidden: (router_errors.Forbidden("m"), 403),
    router_errors.UnknownModel: (router_errors.UnknownModel("a/b", ["a/c"]), 404),
    router_errors.RateLimited: (router_errors.RateLimited("tokens", 9, 2.0), 429),
    router_errors.NotReady: (router_errors.NotReady("m"), 503),
    router_errors.ClientGone: (router_errors.ClientGone("m"), 499),
    router_errors.EngineRefused: (router_errors.EngineRefused("m"), 500),
    router_errors.ContextOverflow: (router_errors.ContextOverflow(900, 512), 400),
    router_errors.Overloaded: (router_errors.Overloaded(2.5), 429),
    router_errors.Unavailable: (router_errors.Unavailable(), 503),
    router_errors.DeadlinePassed: (router_errors.DeadlinePassed(600), 504),
}
REGISTRY = {
    RegistryError: (RegistryError("m"), 500),
    registry_errors.UnknownSpecialist: (registry_errors.UnknownSpecialist("a/b", ["a/c"]), 404),
    registry_errors.InvalidInput: (registry_errors.InvalidInput("m", "p", "c"), 400),
    registry_errors.InvalidReference: (registry_errors.InvalidReference("m"), 400),
    registry_errors.InvalidCard: (registry_errors.InvalidCard("m", "tags"), 400),
    registry_errors.InvalidAdapter: (registry_errors.InvalidAdapter("m", "f", "t"), 400),
    registry_errors.UnknownAnswer: (registry_errors.UnknownAnswer("x"), 404),
    registry_errors.UnknownKey: (registry_errors.UnknownKey("x"), 404),
    registry_errors.UnknownObject: (registry_errors.UnknownObject("file", "x"), 404),
    registry_errors.Lost: (registry_errors.Lost("x"), 500),
    registry_errors.NotOwned: (registry_errors.NotOwned("a/b", "c"), 403),
    registry_errors.QuotaExceeded: (registry_errors.QuotaExceeded("bytes", 9), 429),
    registry_errors.Conflict: (registry_errors.Conflict("m", "c"), 409),
    registry_errors.UnreadableCard: (registry_errors.UnreadableCard("m"), 500),
    registry_errors.UnsupportedBase: (registry_errors.UnsupportedBase("m"), 500),
    registry_errors.BaseChanged: (registry_errors.BaseChanged("m", "a", "b"), 500),
    registry_errors.StorageError: (registry_errors.StorageError("/secret/path"), 503),
    registry_errors.StoreFailed: (registry_errors.StoreFailed("s3://secret"), 503),
}


@pytest.mark.parametrize(("root", "table"), [(RouterError, ROUTER), (RegistryError, REGISTRY)])
def test_every_error_class_has_its_status(root, table):
    package = root.__module__.partition(".")[0]
    known = {cls for cls in tree(root) if cls.__module__.startswith(f"{package}.")}
    assert known == set(table)
    for error, status in table.values():
        assert failure(error).status == status, error


@pytest.mark.parametrize("error", [error for error, _ in ROUTER.values()], ids=repr)
def test_router_errors_survive_pickling(error: RouterError):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert failure(copy) == failure(error)
    assert str(copy) == error.message


def test_the_body_is_openais():
    assert failure(router_errors.UnknownModel("a/b", ["a/c"])).body == {
        "error": {
            "message": "There is no model 'a/b'. Did you mean 'a/c'?",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_retry_after_is_whole_seconds_and_at_least_one():
    assert failure(router_errors.Overloaded(2.5)).headers == {"Retry-After": "3"}
    assert failure(router_errors.Unavailable(0)).headers == {"Retry-After": "1"}
    assert failure(registry_errors.StorageError("x")).headers == {"Retry-After": "1"}
    assert failure(router_errors.ContextOverflow(9, 5)).headers == {}


def test_an_overflow_names_both_numbers():
    assert "900" in failure(router_errors.ContextOverflow(900, 512)).message
    assert "512" in failure(router_errors.ContextOverflow(900, 512)).message


def test_the_inside_is_not_shown():
    assert "secret" not in failure(registry_errors.StorageError("/secret/path")).message
    assert failure(KeyError("secret")) == INTERNAL
    assert failure(RegistryError("secret")) == INTERNAL
    assert failure(registry_errors.UnsupportedBase("secret")) == INTERNAL


def test_the_frameworks_errors_are_translated():
    error = {"loc": ("query", "limit"), "msg": "Input should be at most 100", "type": "x"}
    found = failure(RequestValidationError([error]))
    assert (found.status, found.param) == (400, "limit")
    assert failure(HTTPException(405, headers={"Allow": "GET"})).headers == {"Allow": "GET"}
    assert failure(HTTPException(404)).code == "not_found"
