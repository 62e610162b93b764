"""What routing compares of texts."""

import numpy as np
import pytest
from hashed import HashedWords

from router.routing import view
from router.routing.general import base_requests, general_requests
from router.routing.view import View, base_vectors, routing_view


class Layered(HashedWords):
    layer_dimensions = 96

    def layers(self, texts):
        self.encoded.extend(texts)
        return HashedWords(96).encode(texts)


def test_an_encoder_without_layers_is_compared_as_it_is():
    encoder = HashedWords()
    assert routing_view(encoder) is encoder


def test_vectors_are_unit_rows_and_the_same_again(tmp_path):
    texts = ["rain in oslo", "sun", ""]
    first = routing_view(Layered(), tmp_path).encode(texts)
    assert (first.shape, first.dtype) == ((3, 96), np.float32)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    encoder = Layered()
    again = routing_view(encoder, tmp_path)
    assert encoder.encoded == []
    np.testing.assert_array_equal(again.encode(texts), first)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_the_base_answers_is_read_once(tmp_path, keeps):
    encoder, cache = Layered(), tmp_path if keeps else None
    made = View(encoder, cache)
    bases = base_vectors(made, cache)
    assert encoder.encoded == base_requests()
    np.testing.assert_allclose(bases, made.encode(base_requests()), atol=1e-6)


def test_general_requests_lie_around_the_origin_and_their_directions_are_uncorrelated():
    made = View(Layered())
    turned = (Layered().layers(general_requests()) - made._centre) @ made._basis
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-5)
    spread = np.cov(turned.T)
    np.testing.assert_allclose(spread - np.diag(np.diag(spread)), 0, atol=1e-5)
    assert (np.diff(np.diag(spread)) < 1e-6).all()


def test_turning_keeps_what_texts_have_in_common(monkeypatch):
    monkeypatch.setattr(view, "EVENNESS", 0)
    made = View(Layered())
    layers = Layered().layers(["rain in oslo", "rain in rome", "a poem"])
    moved = layers - made._centre
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(made.of(layers) @ made.of(layers).T, moved @ moved.T, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_directions_do_not_depend_on_the_sign_that_was_found(monkeypatch, seed):
    found, real = View(Layered())._basis, np.linalg.eigh

    def flipped(matrix):
        values, vectors = real(matrix)
        return values, vectors * np.random.default_rng(seed).choice([-1, 1], vectors.shape[1])

    monkeypatch.setattr(np.linalg, "eigh", flipped)
    np.testing.assert_array_equal(View(Layered())._basis, found)


def test_views_that_differ_have_other_names(monkeypatch):
    before = View(Layered()).identity
    assert before == View(Layered()).identity
    monkeypatch.setattr(view, "EVENNESS", 0.5)
    assert View(Layered()).identity != before != Layered().identity
