"""The errors of this package.

SpecialistsError
├── BaseUnavailable        the base's weights are missing or not what they should be
├── EngineError
│   ├── InvalidPrompt      the prompt is empty, or cannot be read
│   ├── InvalidSampling    a sampling parameter asks for what the base cannot give
│   ├── ContextOverflow    the prompt leaves no room for an answer
│   ├── Overloaded         the waiting queue is full; try again later
│   ├── AdapterUnavailable the adapter could not be loaded, or computes no finite numbers
│   └── EngineStopped      the engine is shutting down, or failed while it answered
├── HubUnavailable         a hub does not give what is asked of it
├── NoAdapter              what others trained cannot be made into an adapter
├── NoVllm                 vLLM is not where it is looked for, or does not start
├── TrainingDataError      a row of the training data cannot be used
├── TrainingStopped        a run was asked to end before it was done
├── BudgetSpent            a teacher may be asked no more
└── TeacherFailed          a teacher did not answer, or refused to
"""


class SpecialistsError(Exception):
    """Root of this package's errors."""


class BaseUnavailable(SpecialistsError):
    """The base's weights are missing or not what they should be."""


class EngineError(SpecialistsError):
    """A request that the engine does not answer."""


class InvalidPrompt(EngineError):
    """The prompt is empty, has tokens that the base does not know, or a form it cannot take."""


class InvalidSampling(EngineError):
    """A sampling parameter asks for what the base cannot give; `param` names it."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.args = (message, param)
        self.param = param

    def __str__(self) -> str:
        return str(self.args[0])


class ContextOverflow(EngineError):
    """The prompt leaves no room for an answer.

    Args:
        prompt_tokens: length of the prompt, in tokens.
        limit: tokens that prompt and answer may have together.
    """

    def __init__(self, prompt_tokens: int, limit: int) -> None:
        super().__init__(f"the prompt has {prompt_tokens} tokens, the context is {limit} tokens")
        self.prompt_tokens = prompt_tokens
        self.limit = limit


class Overloaded(EngineError):
    """The waiting queue is full.

    Args:
        retry_after: seconds after which a new try is worth it.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("the engine's queue is full")
        self.retry_after = retry_after


class AdapterUnavailable(EngineError):
    """The adapter could not be loaded, or computes no finite numbers."""


class EngineStopped(EngineError):
    """The engine is shutting down, or failed while it answered."""


class NoKernels(SpecialistsError):
    """This machine, or this base, cannot have compiled kernels; the message says why."""


class HubUnavailable(SpecialistsError):
    """A hub does not have what is asked of it, or does not give it; the message says why."""


class NoAdapter(SpecialistsError):
    """No adapter can be made of what others trained; the message says why."""


class NoVllm(SpecialistsError):
    """vLLM cannot be had where it is looked for; the message says why."""


class TrainingDataError(SpecialistsError):
    """A row of the training data cannot be used; the message names the file and the line."""


class TrainingStopped(SpecialistsError):
    """A run of training was asked to end before it was done; it can be gone on with."""


class BudgetSpent(SpecialistsError):
    """The tokens that a teacher may take are spent."""


class TeacherFailed(SpecialistsError):
    """A teacher did not answer, however often it was asked, or refused to."""
