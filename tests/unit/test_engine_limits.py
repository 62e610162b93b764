"""What the engine does when something runs out, fails, or is not wanted any more."""

import json
import threading
from dataclasses import replace

import pytest
from engines import SMALL, engine, make_adapter, make_adapters, run, sequence
from patience import until
from safetensors.torch import load_file, save_file
from tiny import tiny_base

from registry.files import AdapterFiles
from specialists.engine.core import FinishReason, wanted
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.lora import float32_bytes, shapes_of
from specialists.engine.pace import TOGETHER
from specialists.engine.pages import PagePool, pages_needed
from specialists.engine.scheduler import SCORED_TOKENS
from specialists.errors import AdapterUnavailable, BaseUnavailable, EngineStopped

ROOM_FOR_ONE = EngineOptions(weights="float32", kv_bytes=1 << 20, slot_bytes=30_000)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), {name: {} for name in "0123"})


def test_pages_are_handed_out_once():
    pool = PagePool(4)
    first, second = pool.allocate(3), pool.allocate(1)
    assert sorted(first + second) == [0, 1, 2, 3]
    assert pool.available == 0
    with pytest.raises(AssertionError):
        pool.check_integrity(first)
    pool.free(second)
    pool.check_integrity(first)


@pytest.mark.parametrize(("tokens", "pages"), [(0, 0), (1, 1), (16, 1), (17, 2)])
def test_pages_needed(tokens, pages):
    assert pages_needed(tokens) == pages


def test_an_answer_ends_at_its_max_tokens(base):
    made = engine(base, {})
    row, emissions = sequence(made, [5, 6, 7], max_tokens=4)
    run(made)
    assert row.generated == len(emissions) == 4
    assert emissions[-1].finish is FinishReason.LENGTH


def test_an_answer_ends_where_the_context_does(base):
    made = engine(base, {}, EngineOptions(weights="float32", kv_bytes=1 << 20, max_context=20))
    row, emissions = sequence(made, list(range(5, 20)), max_tokens=500)
    run(made)
    assert len(row.tokens) == 20
    assert emissions[-1].finish is FinishReason.LENGTH


def test_a_report_tells_load_pace_and_residents(base, adapters):
    named = {f"sha256:{number:064x}": adapters[str(number)] for number in range(2)}
    made = engine(
        base, named, EngineOptions(weights="float32", kv_bytes=1 << 20, slot_bytes=30_000)
    )
    assert made.report().rows == 0
    assert not made.report().full
    row, _ = sequence(made, [5, 6, 7], next(iter(named)), max_tokens=12)
    while not made.stats()["running"]:
        made.step()
        made._loads.wait()
    assert made.report().rows == 1
    # As many rows as this one's pages fit into all pages, and never more than a step holds.
    assert made.report().capacity == 32
    run(made)
    report = made.report()
    assert report.marks == {0}
    assert report.full
    assert report.step > 0
    assert report.load != 0.1
    assert report.answer == row.generated == 12
    made.close()


def test_an_engine_short_of_pages_has_room_for_few_rows(base):
    made = engine(base, {}, EngineOptions(weights="float32", kv_bytes=9 * 4096))
    sequence(made, list(range(5, 45)), max_tokens=3)
    made.step()
    assert made.stats()["pages"] - made.stats()["pages_free"] == 3
    assert made.report().capacity == made.stats()["pages"] // 3
    run(made)


def test_an_abort_frees_everything_whenever_it_comes(base, adapters):
    for steps in range(6):
        made = engine(base, adapters)
        rows = [sequence(made, list(range(5, 40)), name)[0] for name in (None, "0", "1")]
        for _ in range(steps):
            made.step()
        for row in rows:
            made.abort(row)
            made.abort(row)
        made.check_integrity()
        stats = made.stats()
        assert (stats["running"], stats["waiting"]) == (0, 0)
        assert stats["pages_free"] == stats["pages"]
        made.close()


def test_an_adapter_that_cannot_be_loaded_fails_its_own_rows_only(base, adapters):
    made = engine(base, adapters)
    _, lost = sequence(made, [5, 6, 7], "no-such-digest")
    _, fine = sequence(made, [5, 6, 7], "0")
    run(made)
    assert isinstance(lost[-1].error, AdapterUnavailable)
    assert fine[-1].finish is not None
    made.close()


def test_more_adapters_than_fit_all_get_their_turn(base, adapters):
    made = engine(base, adapters, ROOM_FOR_ONE)
    results = [sequence(made, [5, 6, 7], name)[1] for name in [*adapters, *adapters]]
    run(made)
    assert all(emissions[-1].finish is not None for emissions in results)
    assert made.stats()["adapters_resident"] == 1
    made.close()


def test_a_crowded_out_adapter_is_not_overtaken_for_ever(base, adapters):
    # Rows of adapter 0 keep coming; adapter 1 fits only once all of those have ended.
    made = engine(
        base, adapters, EngineOptions(weights="float32", kv_bytes=1 << 20, slot_bytes=30_000)
    )
    sequence(made, [5, 6, 7], "0", max_tokens=10)
    while not made.stats()["running"]:
        made.step()
        made._loads.wait()
    _, wanted = sequence(made, [5, 6, 7], "1", max_tokens=2)
    for _ in range(60):
        sequence(made, [5, 6, 7], "0", max_tokens=10)
        made.step()
        made._loads.wait()
    assert wanted[-1].finish is not None
    made.close()


def test_pages_run_out_and_the_youngest_steps_back(base):
    made = engine(base, {}, EngineOptions(weights="float32", kv_bytes=9 * 4096))
    # Each of another tenant: they share nothing.
    rows = [sequence(made, list(range(5, 35)), tenant=name, max_tokens=60) for name in "abc"]
    least = made.stats()["pages"]
    stepped_back = False
    for _ in range(400):
        made.step()
        made.check_integrity()
        least = min(least, made.stats()["pages_free"])
        stepped_back |= any(
            row.generated and not row.pages for row, out in rows if not out[-1].finish
        )
    assert least == 0
    assert stepped_back
    assert all(emissions[-1].finish is not None for _, emissions in rows)
    assert rows[0][0].tokens == rows[1][0].tokens == rows[2][0].tokens


def test_one_step_never_has_more_logits_than_memory_is_meant_for(base, monkeypatch):
    made = engine(base, {}, replace(SMALL, step_tokens=512))
    asked = [sequence(made, [20] * 150, logprobs=0, prompt_logprobs=0) for _ in range(3)]
    asked.append(sequence(made, [21] * 150))
    logits, forward = [], made._network.forward

    def counted(runs, slots):
        logits.append(len(wanted(runs)))
        return forward(runs, slots)

    monkeypatch.setattr(made._network, "forward", counted)
    run(made)
    assert max(logits) <= SCORED_TOKENS + len(asked)
    assert [sum(each.of_prompt for each in told) for _, told in asked] == [149, 149, 149, 0]
    made.close()


def test_one_step_never_computes_more_than_its_tokens(base):
    made = engine(base, {}, SMALL)
    row, _ = sequence(made, [5] * 150)
    made.step()
    assert row.computed == SMALL.step_tokens


def poisoned(base, folder):
    """An adapter that is finite on disk and computes infinities."""
    make_adapter(base, folder, seed=0)
    file = folder / "adapter_model.safetensors"
    save_file({name: tensor.fill_(1e30) for name, tensor in load_file(file).items()}, file)
    return folder


def answers(emissions):
    return [(each.choice, each.text, each.finish, each.error) for each in emissions]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_adapter_that_overflows_harms_nobody_else(base, tmp_path, temperature):
    made = engine(base, {"poison": poisoned(base, tmp_path / "poison")})
    prompt = list(range(5, 40))
    _, alone = sequence(made, prompt, max_tokens=6)
    run(made)
    _, lost = sequence(made, prompt, "poison", temperature=temperature)
    _, beside = sequence(made, prompt, max_tokens=6)
    run(made)
    _, after = sequence(made, prompt, max_tokens=6)
    run(made)
    assert isinstance(lost[-1].error, AdapterUnavailable)
    assert answers(alone) == answers(beside) == answers(after)
    made.close()


def test_who_waits_longest_is_served_though_others_keep_coming(base, adapters):
    # Room for one of four adapters: whoever is loaded last must not push out who came first.
    made = engine(base, adapters, ROOM_FOR_ONE)
    order, results = ["0", "1", "2", "3"], []
    for at in range(60):
        results.append(sequence(made, [5, 6, 7], order[at % 4], max_tokens=3)[1])
        for _ in range(4):
            made.step()
            made.check_integrity()
            made._loads.wait()
    ended = [bool(out) and out[-1].finish is not None for out in results]
    assert sum(ended) >= 4
    # In the order in which they came, but for the few that shared the batch with an older one.
    assert all(ended[: sum(ended) - 4])
    made.close()


def test_what_was_loaded_for_those_who_left_is_forgotten(base, adapters):
    made = engine(base, adapters, ROOM_FOR_ONE)
    sequence(made, [5, 6, 7], "0", max_tokens=200)
    while not made.stats()["running"]:
        made.step()
        made._loads.wait()
    for name in ("1", "2", "3"):
        row, _ = sequence(made, [5, 6, 7], name)
        made.step()
        made._loads.wait()
        made.abort(row)
        made.step()
    assert made._loads._loads == {}
    made.close()


def test_an_adapter_that_is_far_away_holds_up_none_that_is_here(base, adapters):
    come = threading.Event()

    def locate(digest):
        if digest in ("0", "1"):
            come.wait()
        return AdapterFiles.in_folder(adapters[digest])

    made = Engine.from_folder(base.folder, locate, replace(SMALL, finders=3))
    far = [sequence(made, [5, 6, 7], name, max_tokens=3)[1] for name in ("0", "1")]
    here = [sequence(made, [5, 6, 7], name, max_tokens=3)[1] for name in ("2", "3")]

    def answered():
        made.step()
        return all(out and out[-1].finish for out in here)

    until(answered, every=0.001)
    assert far == [[], []]
    come.set()
    run(made)
    assert all(out[-1].finish for out in far)
    made.close()


def test_nothing_is_loaded_before_room_is_kept_for_it(base, tmp_path):
    """32 rows of 32 adapters, room for two: at no time are more than two in memory."""
    folder = make_adapter(base, tmp_path, seed=0)
    adapters = {str(number): folder for number in range(32)}
    one = float32_bytes(shapes_of(folder / "adapter_model.safetensors"))
    options = EngineOptions(weights="float32", kv_bytes=1 << 20, slot_bytes=2 * one)
    made = engine(base, adapters, options)
    results = [sequence(made, [5, 6, 7], name, max_tokens=2)[1] for name in adapters]
    held = []
    for _ in range(500):
        made.step()
        made._loads.wait()
        loaded = [load.loaded for load in made._loads._loads.values() if load.loaded is not None]
        held.append((len(loaded) + len(made._slots.resident())) * one)
        assert made.stats()["adapter_bytes"] <= 2 * one
    assert max(held) == 2 * one
    assert all(out[-1].finish is not None for out in results)
    made.close()


def test_the_bytes_that_are_reserved_are_those_that_are_taken(base, adapters):
    made = engine(base, adapters)
    sequence(made, [5, 6, 7], "0", max_tokens=2)
    run(made)
    assert made._slots["0"].nbytes == made.stats()["adapter_bytes"]
    assert made._slots["0"].nbytes == float32_bytes(
        shapes_of(adapters["0"] / "adapter_model.safetensors")
    )
    made.close()


def test_pages_are_promised_once(base):
    """Prompts that come in step by step keep their claim on pages that they have not got yet."""
    pages = 10
    made = engine(base, {}, EngineOptions(weights="float32", kv_bytes=pages * 4096, step_tokens=16))
    rows = [sequence(made, [5 + at] * 70, max_tokens=4) for at in range(4)]
    for _ in range(200):
        before = {row.id: row.computed for row, _ in rows}
        made.step()
        made.check_integrity()
        promised = sum(pages_needed(len(row.tokens) + 1) for row in made._scheduler.running)
        assert promised <= pages
        assert all(row.computed >= before[row.id] for row, _ in rows), "work was done twice"
    assert all(emissions[-1].finish is not None for _, emissions in rows)


def test_every_row_is_served_when_a_step_holds_fewer_tokens_than_there_are_rows(base):
    options = EngineOptions(weights="float32", kv_bytes=1 << 21, max_rows=32, step_tokens=16)
    made = engine(base, {}, options)
    rows = [sequence(made, [5, 6, 7], max_tokens=200) for _ in range(32)]
    for _ in range(60):
        made.step()
        made.check_integrity()
    generated = [row.generated for row, _ in rows]
    assert min(generated) > 0
    assert max(generated) - min(generated) < max(generated)
    _, emissions = sequence(made, [5] * 20, max_tokens=200)
    made.abort(rows[0][0])
    # Where steps are slow its two pieces are read so far apart.
    for _ in range(3 * TOGETHER):
        made.step()
    assert emissions, "a prompt waits until decoding rows have ended"


def test_a_row_that_fails_takes_nobody_with_it(base):
    made = engine(base, {})
    bad, lost = sequence(made, [5, 6, 7], max_tokens=8)
    _, fine = sequence(made, [5, 6, 7], max_tokens=8)

    def fail(token):
        raise RuntimeError("no such text")

    bad.text.push = fail
    run(made)
    assert isinstance(lost[-1].error, EngineStopped)
    assert fine[-1].finish is not None
    made.close()


def test_a_cache_too_small_for_any_answer_is_refused_at_start(base):
    with pytest.raises(BaseUnavailable, match="KV_MIB"):
        engine(base, {}, EngineOptions(weights="float32", kv_bytes=4096))


@pytest.mark.parametrize("field", ["attention_bias", "mlp_bias"])
def test_a_base_that_would_be_computed_wrongly_is_refused(tmp_path, field):
    base = tiny_base(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {field: True}))
    with pytest.raises(BaseUnavailable, match=field):
        engine(base, {})
