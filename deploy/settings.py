"""All settings: one tree, read once from the environment (prefix `MYRIAD_`)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deploy.errors import InvalidSetting
from registry.collection import RETENTION_DAYS
from registry.copies import MOST_BYTES
from registry.location import Location
from registry.plain_words import in_words
from specialists import gguf_source
from specialists.base import EMBEDDED
from specialists.hub import is_of_hub

if TYPE_CHECKING:
    from specialists.training.teacher import Address

PREFIX = "MYRIAD_"
NESTING = "__"
MIB = 1 << 20
MOST_CACHE_MIB = 1024
"""What keys and values, and adapters, take each where nobody says how much."""
SECRETS = ("database", "api_key", "teacher_key", "teachers")


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _source(text: str) -> str:
    """A folder as an absolute path; what a hub, or we, have under a name, as it is."""
    if text == EMBEDDED or is_of_hub(text) or gguf_source.is_of_hub(text):
        return text
    return str(Path(text).expanduser().absolute())


def _origin(text: str) -> str:
    """An origin as browsers write it."""
    parts = urlsplit(text.rstrip("/").lower())
    if text != "*" and (not parts.scheme or not parts.netloc or parts.path):
        raise ValueError("an origin is a scheme and a host, such as https://chat.example.org")
    return text if text == "*" else parts.geturl()


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_split)]
Origin = Annotated[str, AfterValidator(_origin)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Source = Annotated[str, AfterValidator(_source)]
Origins = Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)]


class VllmSettings(BaseModel):
    """vLLM, where it is what computes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    python: str | None = Field(
        None, description="interpreter that has vLLM, such as /opt/vllm/bin/python; default: ours"
    )
    max_rank: Literal[8, 16, 32, 64, 128, 256, 320, 512] = Field(
        64, description="largest rank of an adapter; vLLM pads those in a batch to it"
    )
    batch_adapters: int = Field(8, ge=1, description="adapters computed in one step")
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="engine arguments of vLLM's own, as JSON, which go before what we give it",
    )

    @property
    def interpreter(self) -> str:
        """Which is to run it."""
        return self.python or sys.executable


class EngineSettings(BaseModel):
    """The engine replicas."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["builtin", "vllm"] = Field(
        "builtin", description="what computes: our own engine, or vLLM in a process beside it"
    )
    vllm: VllmSettings = VllmSettings()
    replicas: int = Field(1, ge=1, description="engine replicas, each with the base in memory")
    max_replicas: int | None = Field(
        None, ge=1, description="up to so many more under load; default: no more"
    )
    device: str = Field("cpu", description="where the base lives, in torch's terms: cpu, cuda")
    gpus: float = Field(
        1.0, gt=0, description="GPUs that a replica on cuda reserves; 0.5 leaves room for a trainer"
    )
    weights: Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"] = Field(
        "auto", description="how the base's weights are held; auto takes the fastest here"
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads; default: the cores, shared by the replicas"
    )
    max_rows: int = Field(32, ge=1, description="sequences computed in one step")
    max_waiting: int = Field(256, ge=0, description="sequences that may wait; then 429")
    step_tokens: int = Field(512, ge=16, description="tokens computed in one step")
    kv_mib: int | None = Field(
        None, ge=16, description="MiB for keys and values; default: 1024, less on small machines"
    )
    slot_mib: int | None = Field(
        None, ge=16, description="MiB for resident adapters; default: as for keys and values"
    )
    max_context: int | None = Field(
        None, ge=32, description="tokens of prompt and answer; default: what the base allows"
    )

    @model_validator(mode="after")
    def _more_than_least(self) -> "EngineSettings":
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError("max_replicas must not be below replicas")
        return self

    @model_validator(mode="after")
    def _weights_that_vllm_has(self) -> "EngineSettings":
        if self.kind == "vllm" and self.weights in ("int8", "int4"):
            raise ValueError("must leave weights at auto: vLLM's are as the base's folder has them")
        return self

    @property
    def most_replicas(self) -> int:
        """Replicas that there may be."""
        return self.max_replicas or self.replicas

    @property
    def reserved_gpus(self) -> float:
        """GPUs that a replica reserves."""
        return self.gpus if self.device.startswith("cuda") else 0

    @property
    def whole_caches(self) -> dict[str, int]:
        """What the caches take where there is room for them."""
        asked = {"kv_mib": self.kv_mib, "slot_mib": self.slot_mib}
        return {name: mib or MOST_CACHE_MIB for name, mib in asked.items()}

    @property
    def cpus(self) -> int:
        """CPUs that a replica reserves."""
        return self.threads or 1

    @property
    def places(self) -> int:
        """Sequences that a replica takes on, computed or waiting."""
        return self.max_rows + self.max_waiting

    @property
    def wants_kernels(self) -> bool:
        """Whether compiled kernels are to compute the base, where they can be had."""
        own = self.kind == "builtin"
        return own and self.device == "cpu" and self.weights in ("auto", "int8", "int4")


class SamplingSettings(BaseModel):
    """What neither a request, nor a card, nor the base's generation_config.json says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(1.0, ge=0, le=2, description="0 always takes the likeliest token")
    top_p: float = Field(1.0, ge=0, le=1, description="share of the likeliest tokens drawn from")
    max_tokens: int = Field(1024, ge=1, description="most tokens of an answer")


class RouterSettings(BaseModel):
    """The router replicas."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(1, ge=1, description="router replicas, each with its own snapshot")
    encoder: Source | None = Field(
        None,
        description="encoder that `auto` routes by, as a base is named; default: all-MiniLM-L6-v2",
    )
    threads: int = Field(1, ge=1, description="CPU threads of the encoder")
    poll_seconds: float = Field(0.2, gt=0, le=1, description="how often the registry is asked")
    deadline_seconds: float = Field(
        600, gt=0, description="for an answer from its request to its end; then 504"
    )


class TrainingSettings(BaseModel):
    """The trainers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: int = Field(1, ge=0, description="fine-tuning jobs trained at once; 0 trains none here")
    threads: int | None = Field(None, ge=1, description="CPU threads of each; default: the cores")
    gpus: float = Field(0.0, ge=0, description="GPUs that each reserves, such as 0.5; 0 uses none")
    resource: str | None = Field(
        None, description="Ray resource that nodes for trainers have; default: they run on any"
    )


class LogSettings(BaseModel):
    """What replicas and trainers log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="from which on messages are logged; `info` has a line per request"
    )
    format: Literal["text", "json"] = Field("text", description="for people, or an object a line")


class TraceSettings(BaseModel):
    """Spans of the way that requests take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = Field(
        None,
        description="collector that takes OTLP over HTTP, such as http://localhost:4318/v1/traces; "
        "default: none are recorded",
    )
    share: float = Field(
        1.0, ge=0, le=1, description="of the requests whose caller does not say, that are recorded"
    )


def _of_http(url: str) -> str:
    TypeAdapter(HttpUrl).validate_python(url)
    return url


class TeacherSettings(BaseModel):
    """A model behind OpenAI's API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(_of_http)]
    model: str
    key: SecretStr | None = None
    license: str | None = None

    @property
    def address(self) -> "Address":
        """Where it is asked."""
        from specialists.training.teacher import Address

        return Address(self.url, self.model, revealed(self.key), self.license)


class Settings(BaseSettings):
    """Where Myriad keeps its state, where it listens, what it serves."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTING, extra="forbid", frozen=True
    )

    home: Folder = Field(
        default_factory=lambda: user_data_path("myriad"),
        validate_default=True,
        description="folder of all state; default: the platform's data folder",
    )
    database: SecretStr | None = Field(
        None, description="postgresql://user@host/name; default: SQLite in the home"
    )
    files: str | None = Field(
        None, description="where adapters are kept, such as s3://bucket/prefix; default: the home"
    )
    copies_mib: int = Field(
        MOST_BYTES // MIB, ge=64, description="MiB that copies of such adapters may take in a home"
    )
    host: str = Field(
        "127.0.0.1", description="address to listen on; others than loopback's need API keys"
    )
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    allowed_hosts: Names = Field(
        (), description="names it may be called by beside loopback's, with commas; `*` is any"
    )
    allowed_origins: Origins = Field(
        (), description="origins whose pages may use it, with commas; `*` is any"
    )
    url: str | None = Field(
        None, description="server that the commands talk to; default: the one on `port`"
    )
    api_key: SecretStr | None = Field(
        None, description="key that the commands send; default: the one that `login` saved"
    )
    teacher_key: SecretStr | None = Field(
        None, description="key that `distill` and `create` send to the teacher; default: none"
    )
    teachers: dict[Name, TeacherSettings] | None = Field(
        None,
        description="models that jobs may learn from, as JSON: by name `url`, `model`, `key`, "
        "`license`; default: none",
    )
    base: Source = Field(
        EMBEDDED,
        description="the embedded base, a folder, a GGUF file, or a hub's owner/name, "
        "owner/name@revision, or owner/name:Q4_K_M for a GGUF file",
    )
    retention_days: float = Field(
        RETENTION_DAYS, ge=0, description="days for which a retired specialist can be restored"
    )
    drain_seconds: float = Field(
        5, ge=0, description="for answers in flight when a replica is stopped or replaced"
    )
    demos: bool = Field(True, description="register the demo specialists of `examples/` at start")
    engine: EngineSettings = EngineSettings()
    router: RouterSettings = RouterSettings()
    training: TrainingSettings = TrainingSettings()
    sampling: SamplingSettings = SamplingSettings()
    logs: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()

    @property
    def without_secrets(self) -> "Settings":
        """As they may be kept with the application; replicas read the rest where they run."""
        return self.model_copy(update=dict.fromkeys(SECRETS))

    @property
    def with_secrets(self) -> "Settings":
        """Completed by the secrets of this process's environment."""
        here = read_settings()
        return self.model_copy(update={name: getattr(here, name) for name in SECRETS})

    @property
    def location(self) -> Location:
        """Where the registry keeps what it knows."""
        return Location(self.home, revealed(self.database), self.files, self.copies_mib * MIB)

    @property
    def gpus(self) -> float:
        """GPUs that engines and a trainer reserve together."""
        trainer = self.training.gpus if self.training.jobs else 0
        return self.engine.reserved_gpus * self.engine.replicas + trainer

    @property
    def server_url(self) -> str:
        """Where the commands find the server."""
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{reached}]" if ":" in reached else reached
        return (self.url or f"http://{host}:{self.port}").rstrip("/")


def revealed(secret: SecretStr | None) -> str | None:
    """A secret as whoever needs it sends it."""
    return None if secret is None else secret.get_secret_value()


def read_settings(**given: Any) -> Settings:
    """Read the environment; what is given comes before it.

    Raises:
        InvalidSetting: a value cannot be used; the message names the variable.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidSetting("\n".join(map(_sentence, error.errors()))) from None


def _sentence(error: ErrorDetails) -> str:
    name = PREFIX + NESTING.join(str(part).upper() for part in error["loc"])
    value = "" if error["loc"][:1] in [(secret,) for secret in SECRETS] else f"={error['input']!r}"
    return f"{name}{value} cannot be used: it {in_words(error)}"
