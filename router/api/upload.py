"""A registration's multipart body: a card and an adapter's two files, nothing else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from registry.card import Card
from registry.files import CONFIG, WEIGHTS
from registry.limits import MAX_CARD_BYTES, Limits
from registry.registry import Registry, Version
from registry.view import Visibility
from router.api.multipart import Part, content, read_form
from router.errors import InvalidRequest

SLOTS: Mapping[str, str] = {
    "card": "card",
    "card.json": "card",
    "card.yaml": "card",
    "card.yml": "card",
    "adapter_config": CONFIG,
    CONFIG: CONFIG,
    "adapter_model": WEIGHTS,
    WEIGHTS: WEIGHTS,
}


@dataclass(frozen=True, slots=True)
class Upload:
    """What a registration brings; what is large lies in files that end with the request."""

    card: Part
    config: Part
    weights: Part

    def register(
        self, registry: Registry, alias: str | None, visibility: Visibility | None
    ) -> tuple[Version, bool, list[str]]:
        """Register it; blocks, for as long as reading, checking and storing it takes.

        Returns:
            The version, whether it is new, and what its owner had better know.

        Raises:
            InvalidCard: The card cannot be read.
            InvalidInput: The registry refuses it.
        """
        with content(self.card) as card, content(self.config) as config:
            parsed, plain = Card.parse(bytes(card)), bytes(config)
        with content(self.weights) as weights:
            version, created = registry.register(parsed, plain, weights, alias, visibility)
            warnings = registry.warnings(plain, weights) + registry.licence_warnings(version)
            if created and (alias is None or version.quarantined):
                warnings += registry.aliases.held_back(version)
            return version, created, warnings


@asynccontextmanager
async def uploaded(request: Request, limits: Limits) -> AsyncIterator[Upload]:
    """A registration as it came, large parts in files, never more than the limits allow.

    Raises:
        BodyTooLarge: It is over the sum of the limits.
        InvalidRequest: It is no multipart, or a part is missing, unknown or there twice.
    """
    total = limits.max_bytes + limits.max_config_bytes + 2 * MAX_CARD_BYTES
    form = await read_form(request, total, "the registration: a card and the adapter's files")
    try:
        parts = _parts(form)
        for slot in ("card", CONFIG, WEIGHTS):
            if slot not in parts:
                message = f"The part '{slot}' is missing; send card, {CONFIG} and {WEIGHTS}."
                raise InvalidRequest(message, param=slot, code="missing_required_parameter")
        yield Upload(parts["card"], parts[CONFIG], parts[WEIGHTS])
    finally:
        await form.close()


def _parts(form: FormData) -> dict[str, Part]:
    """The parts by what they are: "card" or one of the two file names."""
    parts: dict[str, Part] = {}
    for field, value in form.multi_items():
        slot = _slot(field, value)
        if slot in parts:
            raise InvalidRequest(f"The part '{slot}' is there twice; send one.", param=slot)
        parts[slot] = value
    return parts


def _slot(field: str, value: str | UploadFile) -> str:
    """What a part is, by its field or else by its file name."""
    filename = value.filename or "" if isinstance(value, UploadFile) else ""
    name = field if field in SLOTS else PurePosixPath(filename).name
    if name in SLOTS:
        return SLOTS[name]
    shown = (filename or field)[:64]
    message = (
        f"The part '{shown}' is not taken; send only a card, {CONFIG} and {WEIGHTS} "
        "(safetensors, never pickle files or archives)."
    )
    raise InvalidRequest(message, param=shown, code="unknown_parameter")
