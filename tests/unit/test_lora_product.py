"""What training computes of an adapter is what PEFT computes of it, and so are its gradients."""

from copy import deepcopy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from specialists.training.lora_product import add_by_products

INPUTS, OUTPUTS, RANK = 48, 80, 4


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(INPUTS, OUTPUTS)

    def forward(self, inputs):
        return self.line(inputs)


def peft_network(dtype=torch.float32, dropout=0.0):
    """A linear with an adapter that does something, as PEFT has it."""
    config = LoraConfig(r=RANK, lora_alpha=3 * RANK, target_modules=["line"], lora_dropout=dropout)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = get_peft_model(Line().to(dtype), config)
        torch.nn.init.normal_(linear(network).lora_B["default"].weight)
    return network


def linear(network):
    return network.get_base_model().line


def inputs():
    return torch.randn(2, 9, INPUTS, generator=torch.Generator().manual_seed(1))


def computed(network, dtype=torch.float32):
    """What comes out, and the gradients of what goes in, of A and of B."""
    given = inputs().to(dtype).requires_grad_()
    found = network(given)
    found.float().square().sum().backward()
    adapter = linear(network)
    weights = [adapter.lora_A["default"].weight, adapter.lora_B["default"].weight]
    assert [found.dtype, *(weight.grad.dtype for weight in weights)] == [dtype, *2 * [torch.float]]
    return [found.detach(), given.grad, *(weight.grad for weight in weights)]


def off(ours, exact):
    """By what share of them what was computed is off, on the whole."""
    pairs = zip(ours, exact, strict=True)
    return [float((one.float() - other).norm() / other.norm()) for one, other in pairs]


def test_it_gives_what_peft_gives_and_the_same_gradients():
    ours = computed(add_by_products(peft_network()))
    assert max(off(ours, computed(peft_network()))) < 1e-6


def test_in_bfloat16_it_is_as_near_to_the_exact_one_as_bfloat16_is():
    rounded = peft_network(torch.bfloat16)
    exact = deepcopy(rounded).float()
    ours = computed(add_by_products(rounded), torch.bfloat16)
    # Each number is rounded three times at most (a weight, what it gives, and its gradient), each
    # time by 2^-9 of it or less.
    assert max(off(ours, computed(exact))) < 3 * 2**-9


def test_without_its_adapter_it_is_the_base():
    network = add_by_products(peft_network())
    with network.disable_adapter():
        assert torch.equal(network(inputs()), linear(network).base_layer(inputs()))


@pytest.mark.parametrize("learns", [True, False])
def test_what_drops_out_drops_out_of_the_adapter_alone(learns):
    network = add_by_products(peft_network(dropout=0.9)).train(learns)
    share = network(inputs()) - linear(network).base_layer(inputs())
    without = add_by_products(peft_network())
    whole = without(inputs()) - linear(without).base_layer(inputs())
    assert torch.allclose(share, whole, atol=1e-5) is not learns
