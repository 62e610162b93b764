"""Batches in the words of OpenAI's API: https://platform.openai.com/docs/api-reference/batch."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from registry.batch import Batch, Status
from router.wire.base import Body, Text
from router.wire.metadata import Metadata
from router.wire.moments import seconds

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"]
WINDOW: Literal["24h"] = "24h"


class BatchRequest(Body):
    """Requests of a file that are to be answered."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {"output_expires_after": ()}
    input_file_id: Annotated[Text, Field(min_length=1, max_length=64)]
    endpoint: Endpoint
    completion_window: Literal["24h"] = WINDOW
    metadata: Metadata = Field(default_factory=dict)


class Line(Body):
    """A request in the file."""

    custom_id: Annotated[Text, Field(min_length=1, max_length=512)]
    method: Literal["POST"]
    url: Text
    body: dict[str, Any]


def shown(batch: Batch) -> dict[str, Any]:
    """A batch as its asker sees it."""
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": _problems(batch),
        "input_file_id": batch.input,
        "completion_window": WINDOW,
        "status": batch.status,
        "output_file_id": batch.output,
        "error_file_id": batch.failures,
        "created_at": seconds(batch.created),
        "in_progress_at": seconds(batch.began),
        "expires_at": seconds(batch.expires),
        "finalizing_at": seconds(batch.finishing),
        "completed_at": _ended(batch, Status.COMPLETED),
        "failed_at": _ended(batch, Status.FAILED),
        "expired_at": _ended(batch, Status.EXPIRED),
        "cancelling_at": seconds(batch.cancelled),
        "cancelled_at": _ended(batch, Status.CANCELLED),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "metadata": dict(batch.metadata),
    }


def _problems(batch: Batch) -> dict[str, Any] | None:
    if not batch.problems:
        return None
    return {"object": "list", "data": [asdict(each) for each in batch.problems]}


def _ended(batch: Batch, status: Status) -> int | None:
    return seconds(batch.ended) if batch.status == status else None
