"""What the compiled kernels say of the real base and the demos, against float32."""

from random import Random

import pytest
import torch
from torch.nn.functional import kl_div

from deploy.demos import EXAMPLES
from registry.files import AdapterFiles
from specialists.base import EMBEDDED, locate_base
from specialists.engine.core import Row, Run, SamplingParams
from specialists.engine.networks import open_network
from specialists.engine.pages import pages_needed
from specialists.engine.slots import SlotPool
from specialists.engine.text import Tokenizer
from specialists.training.data import read_rows
from specialists.training.encoding import encode

ROWS, LIMIT = 6, 512
DEMOS = sorted(folder.name for folder in EXAMPLES.iterdir())
BOUNDS = {"int4": (0.94, 0.01), "int8": (0.94, 0.01)}
"""As docs/operations.md states them: least share of equal likeliest tokens, largest mean divergence
in nats."""


def rows_of(tokenizer, adapter, page):
    """Held-out conversations up to somewhere in their answers."""
    rows, random = [], Random(adapter)
    for chat in read_rows(EXAMPLES / adapter / "heldout.jsonl")[:ROWS]:
        example = encode(chat, tokenizer, LIMIT)
        begin = example.learnt.index(True)
        tokens = example.tokens[: random.randrange(begin, len(example.tokens))]
        pages = range(page, page := page + pages_needed(len(tokens)))
        rows.append(
            Row(
                "", adapter, tokens, begin, SamplingParams(), tokenizer.stream(()), None, random,
                pages=list(pages),
            )
        )  # fmt: skip
    return rows, page


def likeliest(base, weights):
    """Log probabilities of the next token of every row, all demos in one batch."""
    network = open_network(base.folder, weights, torch.device("cpu"), None)
    tokenizer, pool = Tokenizer.from_folder(base.folder), SlotPool(1 << 30)
    rows, page = [], 0
    for name in DEMOS:
        files = AdapterFiles.in_folder(EXAMPLES / name / "adapter")
        pool.reserve(name, network.adapter_bytes(files))
        pool.fill(name, network.load_adapter(files))
        more, page = rows_of(tokenizer, name, page)
        rows += more
    network.allocate(page)
    network.clear(list(range(page)))
    runs = [Run(row, len(row.tokens)) for row in rows]
    return network.forward(runs, pool).log_softmax(-1)


@pytest.fixture(scope="module")
def base(prepared_home):
    return locate_base(EMBEDDED, prepared_home)


@pytest.fixture(scope="module")
def exact(base):
    return likeliest(base, "float32")


@pytest.mark.parametrize("weights", BOUNDS)
def test_few_bits_say_nearly_what_float32_says(base, exact, weights):
    found = likeliest(base, weights)
    agreement = (found.argmax(-1) == exact.argmax(-1)).double().mean()
    divergence = kl_div(found, exact, log_target=True, reduction="batchmean")
    least, most = BOUNDS[weights]
    assert agreement >= least
    assert divergence <= most
