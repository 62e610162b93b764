import pickle

import pytest

from registry import errors

EVERY = [
    errors.RegistryError("broken"),
    errors.UnknownSpecialist("a/b", ["a/c"]),
    errors.InvalidInput("too long", param="search", code="search_too_long"),
    errors.InvalidReference("bad", param="id"),
    errors.InvalidCard("bad", field="tags[1]"),
    errors.InvalidAdapter("bad", file="adapter_model.safetensors", tensor="x"),
    errors.UnknownKey("abc"),
    errors.UnknownObject("file", "file-abc"),
    errors.Lost("The job is paused."),
    errors.UnknownAnswer("chatcmpl-x"),
    errors.NotOwned("ada/coach", "bob"),
    errors.QuotaExceeded("specialists", 3),
    errors.Conflict("moved", code="alias_moved"),
    errors.UnreadableCard("card.colour: unknown"),
    errors.UnsupportedBase("bad"),
    errors.BaseChanged("tiny", "sha256:a", "sha256:b"),
    errors.StorageError("disk full"),
    errors.StoreFailed("it says nothing"),
]


def test_every_error_is_tried_here():
    defined = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    exceptions = {kind for kind in defined if issubclass(kind, errors.RegistryError)}
    assert {type(error) for error in EVERY} == exceptions
    assert all(kind.__name__ in errors.__doc__ for kind in exceptions)


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_an_unknown_specialist_names_its_neighbours():
    assert str(errors.UnknownSpecialist("a/b", ["a/c", "a/d"])).endswith("names: a/c, a/d.")
    assert str(errors.UnknownSpecialist("a/b")) == "There is no specialist 'a/b'."


def test_an_adapter_error_names_file_and_tensor():
    message = str(errors.InvalidAdapter("is bad.", "weights", "q"))
    assert message == "weights: tensor 'q': is bad."
