"""The dtype follows the hardware, in training, in scoring and in the engine alike."""

import pytest
import torch
from engines import engine, make_adapter, run, sequence
from tiny import tiny_base
from torch.utils._python_dispatch import TorchDispatchMode

from registry.files import AdapterFiles
from specialists import hardware
from specialists.engine import networks
from specialists.engine.engine import EngineOptions
from specialists.errors import NoKernels
from specialists.training import evaluate as evaluation
from specialists.training.data import Message, Row
from specialists.training.finetune import finetune
from specialists.training.recipe import Recipe

CPU = torch.device("cpu")
PRODUCTS = {
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "linear",
    "_scaled_dot_product_flash_attention_for_cpu",
}
ROWS = [
    Row(messages=(Message(role="user", content=ask), Message(role="assistant", content="fox")))
    for ask in ("the quick", "brown", "lazy dog")
]


class Products(TorchDispatchMode):
    """Notes the dtypes of all products, of forward and backward passes."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name.removeprefix("aten::") in PRODUCTS:
            self.dtypes |= {each.dtype for each in args if isinstance(each, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(params=["this processor", "bfloat16 is computed", "bfloat16 is emulated"])
def fast(request, monkeypatch):
    """Whether bfloat16 is fast: as this machine has it, and as either kind of machine has it."""
    if request.param != "this processor":
        answer = request.param.endswith("computed")
        monkeypatch.setattr(hardware, "computes_bfloat16", lambda _: answer)
    return hardware.computes_bfloat16(CPU)


def no_kernels():
    raise NoKernels("there is no compiler")


def test_training_multiplies_in_bfloat16_only_where_it_is_computed(fast, base, tmp_path):
    with Products() as products:
        finetune(base, ROWS, tmp_path, Recipe(rank=2, epochs=1), lambda _: None)
    assert products.dtypes
    assert (torch.bfloat16 in products.dtypes) == fast


def test_scoring_multiplies_in_bfloat16_only_where_it_is_computed(fast, base, tmp_path):
    adapters = {"specialist": AdapterFiles.in_folder(make_adapter(base, tmp_path, seed=1))}
    with Products() as products:
        evaluation._perplexities(base, adapters, ROWS, lambda *_: None)
    assert products.dtypes
    assert (torch.bfloat16 in products.dtypes) == fast


def test_the_engine_multiplies_in_bfloat16_only_where_it_is_computed(fast, base, monkeypatch):
    monkeypatch.setattr(networks, "kernels", no_kernels)
    made = engine(base, {}, EngineOptions(kv_bytes=1 << 20))
    with Products() as products:
        sequence(made, [5, 6, 7], max_tokens=3)
        run(made)
    assert products.dtypes
    assert (torch.bfloat16 in products.dtypes) == fast


def test_what_is_asked_for_by_name_is_taken():
    for name in ("float32", "bfloat16", "float16"):
        assert hardware.choose_dtype(name, CPU) == getattr(torch, name)


def test_other_devices_than_the_processor_compute_it():
    assert hardware.choose_dtype("auto", torch.device("meta")) == torch.bfloat16


def test_scoring_tells_how_far_it_is(base, tmp_path):
    told = []
    adapter = AdapterFiles.in_folder(make_adapter(base, tmp_path / "adapter", seed=1))
    evaluation.evaluate(base, adapter, ROWS, "sha256:x", lambda *step: told.append(step))
    assert [step[1:] for step in told if step[0].startswith("Answering")] == [
        (number, 6) for number in range(1, 7)
    ]
    for who in ("base", "specialist"):
        assert (f"Reading references as the {who}", 3, 3) in told


def test_rows_that_do_not_fit_are_not_counted(base, tmp_path):
    adapter = AdapterFiles.in_folder(make_adapter(base, tmp_path, seed=1))
    long = Message(role="user", content="the fox " * 2000)
    rows = [*ROWS, Row(messages=(long, ROWS[0].answer))]
    scores = evaluation.evaluate(base, adapter, rows, "sha256:x")
    assert {score.rows for score in scores} == {len(ROWS)}
