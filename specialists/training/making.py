"""The making of a specialist: one job, from its rows to a version in service."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from registry.card import FILLED_IN, Card, Dataset, Origins
from registry.errors import (
    Conflict,
    QuotaExceeded,
    UnknownSpecialist,
)
from registry.files import AdapterFiles
from registry.job import Job, Task
from registry.method import Method
from registry.reference import parse_reference
from registry.registry import Registry
from registry.version import Version
from specialists.base import Base
from specialists.errors import TrainingDataError
from specialists.training import curve
from specialists.training.card import complete
from specialists.training.courtesy import Courtesy
from specialists.training.evaluate import Score, divergence, evaluate, preference
from specialists.training.finetune import Progress, Trained, finetune
from specialists.training.gathering import Gathering, Kept
from specialists.training.lessons import Lesson, lessons_of
from specialists.training.pairs import Pair
from specialists.training.pulse import Pulse
from specialists.training.recipe import LEARNING_RATES, Recipe, recipe_for
from specialists.training.split import Split, held_apart, hold_out
from specialists.training.teacher import Address
from specialists.training.verdict import shortcomings

CANDIDATE = "candidate"
"""The alias of what was trained last, whether or not it is served."""
RESULTS = "fine-tune-results"
"""The purpose of files that a job left."""


class InvalidValidation(TrainingDataError):
    """It is the rows to judge by that cannot be used."""


class Making:
    """One job, from its rows to its outcome."""

    def __init__(
        self,
        registry: Registry,
        base: Base,
        job: Job,
        holder: str,
        pulse: Pulse,
        teachers: Mapping[str, Address],
    ) -> None:
        self._registry = registry
        self._teachers = teachers
        self._base = base
        self._job = job
        self._holder = holder
        self._pulse = pulse

    def done(self, scratch: Path) -> dict[str, Any]:
        """Train, score, register and, if it may be served, promote; what came of it, by name.

        Raises:
            TeacherFailed: a teacher that was to be asked answered nothing at all.
            TrainingDataError: there is nothing that can be learnt.
            TrainingStopped: the job is not ours any more.
            RegistryError: the result cannot be registered.
        """
        self._require_wanted()
        gathering = Gathering(self._registry, self._job, self._holder, self._pulse, self._teachers)
        self._job = gathering.gathered(scratch)
        split = self._split()
        recipe = _recipe(self._job.task, len(split.learnt))
        trained = self._train(split, recipe, scratch)
        before = self._in_service()
        scores = self._scores(split, trained, before)
        self._require_wanted()
        version = self._register(split, trained, scores, before)
        model = self._promote(version, scores)
        return {
            "model": model,
            "version": version.number,
            "digest": version.digest,
            "trained_tokens": trained.tokens,
            "hyperparameters": _used(recipe, self._job.task.method),
            "result_files": self._results(trained),
            "evaluation": [asdict(score) for score in scores],
            "checkpoints": [_checkpoint(version, trained)],
        }

    def _require_wanted(self) -> None:
        """Go on only if nobody has changed their mind.

        Raises:
            Conflict: the specialist was retired since the job was asked for.
            TrainingStopped: the job is not ours any more.
        """
        self._pulse.require()
        retired = self._registry.retired(self._job.specialist)
        if retired is not None and retired > self._job.created:
            message = (
                f"'{self._job.specialist}' was retired after this job was asked for, and stays so: "
                "restore it, or ask for another job."
            )
            raise Conflict(message, "retired")

    def _split(self) -> Split:
        job = self._job
        rows = self._rows(job.training, job.task.training_name)
        if again := len(rows) - len(set(rows)):
            self._pulse.tell(f"{again} rows stand there more than once.", "warn")
        if job.validation is None:
            split = hold_out(rows, job.task.seed)
            if split.held:
                self._pulse.tell(f"{len(split.held)} rows are held out to judge the result by.")
            else:
                few = f"{len(rows)} rows are too few to hold some out: the result is not judged."
                self._pulse.tell(few, "warn")
            return split
        try:
            held = self._rows(job.validation, job.task.validation_name)
            split = held_apart(rows, held)
        except TrainingDataError as error:
            raise InvalidValidation(str(error)) from error
        if split.repeated:
            message = f"{split.repeated} rows are not learnt from: the validation file has them."
            self._pulse.tell(message, "warn")
        return split

    def _rows(self, content: str, name: str) -> Sequence[Lesson]:
        rows = self._registry.queue.content(content)
        return lessons_of(rows, name, self._job.task.method)

    def _train(self, split: Split, recipe: Recipe, scratch: Path) -> Trained:
        task = self._job.task
        self._pulse.is_running()
        self._pulse.tell("Fine-tuning job started")
        trained = finetune(
            self._base,
            split.learnt,
            scratch / "adapter",
            recipe,
            self._report,
            validation=split.held,
            parent=self._parent(task, scratch),
            instruction=task.instruction,
            keeper=Kept(self._registry, self._job, self._holder),
            stop=self._pulse.ends,
            pause=Courtesy(),
            measured=self._pulse.go_on,
        )
        if trained.left_out:
            message = f"{trained.left_out} rows were left out: over {recipe.max_tokens} tokens."
            self._pulse.tell(message, "warn")
        return trained

    def _parent(self, task: Task, scratch: Path) -> Path | None:
        if task.parent is None:
            return None
        folder = scratch / "parent"
        folder.mkdir()
        self._registry.files(task.parent).copied_into(folder)
        return folder

    def _report(self, step: Progress) -> None:
        held = step.validation_loss
        said = f"Step {step.step}/{step.steps}: training loss={step.loss:.2f}"
        said += "" if held is None else f", validation loss={held:.2f}"
        figures = {
            "step": step.step,
            "total_steps": step.steps,
            "train_loss": step.loss,
            "train_mean_token_accuracy": step.accuracy,
            "tokens_per_second": step.tokens_per_second,
        }
        more = {} if held is None else {"valid_loss": held, "full_valid_loss": held}
        self._pulse.measure(said, figures | more, step.seconds_left)

    def _in_service(self) -> Version | None:
        try:
            return self._registry.get(self._job.specialist)
        except UnknownSpecialist:
            return None

    def _scores(self, split: Split, trained: Trained, before: Version | None) -> list[Score]:
        if not split.held:
            return []
        self._pulse.tell(f"Judging it by {len(split.held)} held-out rows")
        files = AdapterFiles.in_folder(trained.folder)
        earlier = self._registry.files(before.digest) if before and before.kind == "lora" else None
        data = self._job.validation or f"{self._job.training} (held out)"
        told = self._pulse.go_on
        pairs = [each for each in split.held if isinstance(each, Pair)]
        if pairs:
            return [preference(self._base, files, pairs, data, told, before=earlier)]
        rows = [each for each in split.held if not isinstance(each, Pair)]
        scores = evaluate(self._base, files, rows, data, told, before=earlier)
        instruction = self._job.task.instruction
        if instruction is not None:
            scores.append(divergence(self._base, files, rows, instruction, data, told))
        return scores

    def _register(
        self, split: Split, trained: Trained, scores: list[Score], before: Version | None
    ) -> Version:
        card = self._draft(before)
        name = self._job.task.training_name
        learnt = Dataset(name=name, digest=self._job.training, rows=trained.rows)
        base = self._registry.base_spec
        final = complete(
            card,
            base.name,
            base.digest,
            learnt,
            split.learnt,
            scores,
            publish=self._job.task.publish,
        )
        files = AdapterFiles.in_folder(trained.folder)
        version, _ = self._registry.register(
            final, files.config.read_bytes(), files.weights.read_bytes(), CANDIDATE
        )
        self._pulse.tell(f"New fine-tuned model created: {version.id}@{version.number}")
        return version

    def _draft(self, before: Version | None) -> Card:
        """The card in service without what its training had added, or a new one."""
        job = self._job
        fields: dict[str, Any] = {"description": f"Fine-tuned on {job.task.training_name}."}
        if before is not None:
            kept = before.card.model_dump(exclude_defaults=True)
            added = FILLED_IN | {"private_examples"}
            fields |= {name: value for name, value in kept.items() if name not in added}
        fields |= job.task.card | {"id": job.specialist}
        fields["origins"] = _origins(job).model_dump(exclude_defaults=True)
        return Card.of(fields)

    def _promote(self, version: Version, scores: list[Score]) -> str:
        """Put a version into service that may be; the reference by which it answers."""
        candidate = f"{version.id}:{CANDIDATE}"
        reasons = list(shortcomings(scores))
        if version.quarantined is not None:
            reasons = [version.quarantined]
        if not reasons:
            try:
                reason = f"trained by {self._job.id}"
                self._registry.aliases.promote(f"{version.id}@{version.number}", reason=reason)
            except Conflict as error:
                reasons = [error.message]
        if not reasons:
            return version.id
        self._pulse.tell(f"It is not in service, but at {candidate}. {' '.join(reasons)}", "warn")
        return candidate

    def _results(self, trained: Trained) -> list[str]:
        held, name = trained.validation, self._job.specialist
        contents = {
            "metrics.csv": curve.table(trained.losses, held),
            "loss.svg": curve.picture(trained.losses, held, f"{name}: loss"),
        }
        try:
            return [
                self._registry.data.add(name, content.encode(), RESULTS).id
                for name, content in contents.items()
            ]
        except QuotaExceeded as error:
            self._pulse.tell(f"The loss curve was not kept. {error.message}", "warn")
            return []


def _origins(job: Job) -> Origins:
    task = job.task
    teachers = () if task.teacher is None else (task.teacher,)
    if task.parent is None:
        return Origins(teachers=teachers, job=job.id)
    parent = f"{parse_reference(task.model).id}@{task.parent}"
    return Origins(parents=(parent,), teachers=teachers, job=job.id)


def _recipe(task: Task, rows: int) -> Recipe:
    asked = task.hyperparameters
    chosen = recipe_for(rows, task.effort, task.seed, task.method)
    said: dict[str, Any] = {
        field: int(asked[name])
        for name, field in (("n_epochs", "epochs"), ("batch_size", "batch_size"), ("rank", "rank"))
        if name in asked
    }
    if "learning_rate_multiplier" in asked:
        said["learning_rate"] = chosen.learning_rate * asked["learning_rate_multiplier"]
    if "beta" in asked:
        said["beta"] = asked["beta"]
    return replace(chosen, **said)


def _used(recipe: Recipe, method: Method) -> Mapping[str, float]:
    of_method = {"beta": recipe.beta} if method == "dpo" else {}
    return of_method | {
        "n_epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate_multiplier": recipe.learning_rate / LEARNING_RATES[method],
        "rank": recipe.rank,
    }


def _checkpoint(version: Version, trained: Trained) -> dict[str, Any]:
    step = trained.best_step
    metrics: dict[str, float] = {"step": step, "train_loss": trained.losses[step - 1]}
    if trained.validation_loss is not None:
        metrics |= {"valid_loss": trained.validation_loss}
        metrics |= {"full_valid_loss": trained.validation_loss}
    return {"step": step, "model": f"{version.id}@{version.number}", "metrics": metrics}
