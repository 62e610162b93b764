"""Teachers, as commands name them: a model behind OpenAI's API, or the base that is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.options import connect

if TYPE_CHECKING:
    from specialists.training.teacher import Teacher

TeacherUrl = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="URL",
        help="OpenAI base URL of the model that is asked, such as https://host/v1; default: the "
        "served base.",
    ),
]
TeacherModel = Annotated[str, typer.Option(help="Its name there; it is needed for a URL.")]
Budget = Annotated[int, typer.Option(min=0, help="Tokens that it may read and write.")]
Terms = Annotated[str | None, typer.Option("--license", help="Terms of its answers.")]


@dataclass(frozen=True, slots=True)
class Whom:
    """Where a teacher is, its name there, and the key; `own` is the base that is served."""

    url: str
    model: str
    key: str | None
    own: bool

    def asked(self, notebook: Path, budget: int) -> "Teacher":
        """The teacher, who is asked nothing that stands in the notebook already."""
        from specialists.training.teacher import Address

        return Address(self.url, self.model, self.key).teacher(notebook, budget)

    def learnt_from(self, terms: str | None, tokens: int, rejected: float) -> dict[str, Any]:
        """What the lineage says of it."""
        return {
            "name": self.model,
            "license": terms,
            "tokens": tokens,
            "rejected": round(rejected, 4),
        }


def whom(teacher: str | None, model: str, url: str | None) -> Whom:
    """Who is asked: at `teacher`, or else the base that the server at `url` has."""
    from deploy.settings import read_settings, revealed

    if teacher is not None:
        if not model:
            raise typer.BadParameter("say whom to ask there: --teacher-model NAME")
        return Whom(teacher, model, revealed(read_settings().teacher_key), own=False)
    with connect(url) as client:
        return Whom(f"{client.url}/v1", client.base() or "", client.key, own=True)
