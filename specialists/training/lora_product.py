"""An adapter's share as training computes it: added by the product itself, in the base's own dtype.

PEFT keeps adapters in single precision, and takes every linear's inputs there and what comes out
back, with a pass over all outputs for the scale and another for the sum. Here A and B are rounded,
as autocast would, and the last product scales and adds. Weights and their gradients stay exact.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from torch.nn import functional as F


class AddedByTheProduct:
    """Plain LoRA (Hu et al. 2021, equation 3) in two products, to PEFT a variant of its own."""

    @staticmethod
    def forward(
        module: LoraLayer, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        """What the base's linear gave, and the adapter's share: [..., outputs].

        Args:
            module: of PEFT, the base's linear with its adapters.
            active_adapter: which of them.
            x: [..., inputs].
            result: [..., outputs], what the base's linear gave.
            _: options of other variants.
        """
        down = module.lora_A[active_adapter].weight.to(x.dtype)
        up = module.lora_B[active_adapter].weight.to(x.dtype)
        shrunk = F.linear(module.lora_dropout[active_adapter](x), down)
        summed = torch.addmm(
            result.flatten(0, -2),
            shrunk.flatten(0, -2),
            up.t(),
            alpha=module.scaling[active_adapter],
        )
        return summed.view_as(result)


def add_by_products(network: Any) -> Any:
    """A PEFT network of linears whose adapters are computed so."""
    for module in network.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False
            for name in module.lora_A:
                module.lora_variant[name] = AddedByTheProduct()
    return network
