"""What is asked of the registry's upkeep."""

from typing import Annotated

from pydantic import Field

from registry.collection import RETENTION_DAYS
from router.wire.base import Body


class GcRequest(Body):
    """What may go."""

    days: Annotated[float, Field(ge=0, le=36500, allow_inf_nan=False)] = Field(
        RETENTION_DAYS, description="Give up what was retired so long ago."
    )
