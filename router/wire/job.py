"""Fine-tuning jobs in the words of OpenAI's API.

https://platform.openai.com/docs/api-reference/fine-tuning. Beyond it a job may say which
`specialist` it makes, with which `description`, and with how much `effort`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from registry.effort import Effort
from registry.job import Creation, Distillation, Event, Job
from registry.method import Method
from router.wire.base import Body, ModelName, Share, Text, bounded, refused
from router.wire.metadata import Metadata
from router.wire.moments import seconds

Auto = Literal["auto"]
Number = TypeVar("Number", int, float)
# The tags keep pydantic's names for the two out of what a refusal calls the field.
OrAuto = Annotated[
    Annotated[Number, Tag("(number)")] | Annotated[Auto, Tag("(auto)")],
    Discriminator(lambda value: "(auto)" if isinstance(value, str) else "(number)"),
]
Identity = Annotated[Text, Field(min_length=1, max_length=64)]
Prompt = Annotated[Text, Field(min_length=1, max_length=20_000)]
MOST_PROMPTS = 20_000
MOST_FILES = 1000


class HyperparametersRequest(Body):
    """How it is trained; `auto` is chosen by what there is to learn from."""

    n_epochs: OrAuto[Annotated[int, Field(ge=1, le=50)]] = "auto"
    batch_size: OrAuto[Annotated[int, Field(ge=1, le=256)]] = "auto"
    learning_rate_multiplier: OrAuto[
        Annotated[float, Field(gt=0, le=100, allow_inf_nan=False, strict=False)]
    ] = Field("auto", description="Of the learning rate: 0.001, of dpo 0.0001.")
    rank: OrAuto[Annotated[int, Field(ge=1, le=256)]] = Field("auto", description="Of the adapter.")

    @property
    def said(self) -> dict[str, float]:
        """Those that were not left to be chosen."""
        return {name: value for name, value in self if value != "auto"}


class PreferenceHyperparameters(HyperparametersRequest):
    """How it is trained on preferences; `auto` is chosen by what there is to learn from."""

    beta: OrAuto[Annotated[float, Field(gt=0, le=2, allow_inf_nan=False, strict=False)]] = Field(
        "auto", description="The larger, the nearer it stays to what it was trained on from; 0.1."
    )


class SupervisedRequest(Body):
    """Learning from answers as they should be."""

    hyperparameters: HyperparametersRequest = HyperparametersRequest()


class PreferenceRequest(Body):
    """Learning which of two answers is preferred."""

    hyperparameters: PreferenceHyperparameters = PreferenceHyperparameters()


class MethodRequest(Body):
    """How it learns."""

    type: Method
    supervised: SupervisedRequest = SupervisedRequest()
    dpo: PreferenceRequest = PreferenceRequest()

    @property
    def said(self) -> dict[str, float]:
        """The hyperparameters of the method that is asked for."""
        chosen = self.dpo if self.type == "dpo" else self.supervised
        return chosen.hyperparameters.said


class TeacherRequest(Body):
    """A model whose answers are learnt from; it stands in the specialist's lineage."""

    name: Annotated[Text, Field(min_length=1, max_length=256)]
    license: Annotated[Text, Field(min_length=1, max_length=256)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    rejected: Share | None = None


class DistillationRequest(Body):
    """What a teacher is asked, whose answers are then trained on."""

    teacher: Identity = Field(description="One of those that the server's operator named.")
    brief: Annotated[Text, Field(min_length=1, max_length=100_000)] | None = Field(
        None, description="Instructions that it follows, and that the specialist shall follow."
    )
    prompts: Annotated[list[Prompt], bounded(MOST_PROMPTS, "prompts")] = Field(
        default_factory=list, description="Requests; it thinks of more where these are too few."
    )
    count: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] | None = Field(
        None, description="Of requests; those in `prompts`, or 200."
    )
    budget: Annotated[int, Field(ge=1, le=10**9)] = Field(
        500_000, description="Tokens that it may read and write."
    )
    judge: bool = Field(True, description="It judges its answers, and poor ones are left out.")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.brief is None and not self.prompts:
            raise refused("missing", "brief", "or 'prompts' is missing; add one")
        return self

    @property
    def wanted(self) -> Distillation:
        """What is noted of it."""
        return Distillation(
            teacher=self.teacher,
            brief=self.brief,
            prompts=tuple(self.prompts),
            count=self.count or len(self.prompts) or 200,
            budget=self.budget,
            judged=self.judge,
        )


class CreationRequest(Body):
    """What somebody wrote and said, of which rows are made that are then trained on."""

    files: Annotated[list[Identity], Field(min_length=1), bounded(MOST_FILES, "files")] = Field(
        description="Uploaded ones: Markdown, text, JSON, CSV, PDF, subtitles, Character Cards."
    )
    teacher: Identity | None = Field(
        None,
        description="One of those that the server's operator named, to think of questions; "
        "without, titles are gone by.",
    )
    questions: Annotated[int, Field(ge=0, le=20)] = Field(3, description="For each passage.")
    budget: Annotated[int, Field(ge=1, le=10**9)] = Field(
        500_000, description="Tokens that the teacher may read and write."
    )

    @property
    def wanted(self) -> Creation:
        """What is noted of it."""
        return Creation(**self.model_dump())


class JobRequest(Body):
    """A training that is asked for."""

    unsupported: ClassVar = {"integrations": ([],)}

    model: ModelName
    training_file: Identity | None = None
    distillation: DistillationRequest | None = Field(
        None, description="In the place of a training file."
    )
    creation: CreationRequest | None = Field(None, description="In the place of a training file.")
    validation_file: Identity | None = None
    suffix: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The specialist's name."
    )
    specialist: Annotated[Text, Field(max_length=160)] | None = Field(
        None, description="`owner/name`, in the place of a suffix."
    )
    description: Annotated[Text, Field(min_length=1, max_length=2000)] | None = Field(
        None, description="What the specialist is for."
    )
    card: dict[Text, Any] = Field(
        default_factory=dict,
        description="More of the specialist's card than its description; training fills in what it "
        "was made from and for, and its scores.",
    )
    publish_requests: bool = Field(
        False, description="Show the training requests that serve routing in the card."
    )
    teacher: TeacherRequest | None = Field(None, description="Whose answers the rows are.")
    instruction: Annotated[Text, Field(min_length=1, max_length=100_000)] | None = Field(
        None,
        description="What the base was told that gave the answers: the specialist learns to answer "
        "without it as the base does with it.",
    )
    effort: Effort = "standard"
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    method: MethodRequest | None = None
    hyperparameters: HyperparametersRequest = HyperparametersRequest()
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        sources = "training_file", "distillation", "creation"
        given = [name for name in sources if getattr(self, name) is not None]
        if not given:
            raise refused("missing", "training_file", "is missing; add it")
        if len(given) > 1:
            message = f"cannot go with '{given[0]}'; send one of the two"
            raise refused("invalid_value", given[1], message)
        if given != ["training_file"] and self.method is not None and self.method.type == "dpo":
            message = "gives answers, and no preferences; use the method 'supervised'"
            raise refused("invalid_value", given[0], message)
        return self

    @property
    def said_of_it(self) -> dict[str, Any]:
        """What the card is to say."""
        return self.card | ({"description": self.description} if self.description else {})

    @property
    def wanted(self) -> dict[str, float]:
        """The hyperparameters that were asked for, wherever they stand."""
        return self.hyperparameters.said | (self.method.said if self.method else {})


def shown(job: Job) -> dict[str, Any]:
    """A job, as far as it is."""
    used = {
        name: _whole(job.outcome.get("hyperparameters", {}).get(name, value))
        for name, value in (_AUTO | job.task.hyperparameters).items()
    }
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created.timestamp()),
        "finished_at": seconds(job.ended) if job.status == "succeeded" else None,
        "estimated_finish": seconds(job.expected),
        "model": job.task.model,
        "specialist": job.specialist,
        "fine_tuned_model": job.outcome.get("model"),
        "organization_id": job.owner or "",
        "status": job.status,
        "training_file": job.task.training_file,
        "validation_file": job.task.validation_file,
        "hyperparameters": used,
        "method": {"type": job.task.method, job.task.method: {"hyperparameters": used}},
        "distillation": job.task.distils and {"teacher": job.task.distils},
        "creation": job.task.creation and job.task.creation.model_dump(mode="json"),
        "effort": job.task.effort,
        "seed": job.task.seed,
        "user_provided_suffix": job.task.suffix,
        "trained_tokens": job.outcome.get("trained_tokens"),
        "result_files": job.outcome.get("result_files", []),
        "evaluation": job.outcome.get("evaluation", []),
        "integrations": [],
        "metadata": job.task.metadata,
        "error": job.error,
    }


def event(told: Event) -> dict[str, Any]:
    """Something that there is to tell of a job."""
    return {
        "id": told.id,
        "object": "fine_tuning.job.event",
        "created_at": int(told.created.timestamp()),
        "level": told.level,
        "type": told.kind,
        "message": told.message,
        "data": dict(told.data),
    }


def checkpoint(job: Job, found: Mapping[str, Any]) -> dict[str, Any]:
    """A version that a job left."""
    return {
        "id": f"ftckpt-{job.id.removeprefix('ftjob-')}-{found['step']}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": seconds(job.ended),
        "fine_tuning_job_id": job.id,
        "fine_tuned_model_checkpoint": found["model"],
        "step_number": found["step"],
        "metrics": found["metrics"],
    }


_AUTO: dict[str, Any] = {
    "n_epochs": "auto",
    "batch_size": "auto",
    "learning_rate_multiplier": "auto",
}


def _whole(value: Any) -> Any:
    """A number as it would be written: JSON made numbers of all kinds floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
