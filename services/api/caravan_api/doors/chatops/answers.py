"""What is answered in a chat, whatever the product: plain text, lines with buttons, a text to copy."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from caravan_api.errors import problem_of
from caravan_shared.plumbing.errors import CaravanError

COMMAND = "/caravan"
SURE = "--yes"


@dataclass(frozen=True, slots=True)
class Button:
    """Says `words` to us as if its reader had typed them."""

    label: str
    words: tuple[str, ...]
    asks: str | None = None
    """The question before what ends something; where a product cannot ask it, we do when it is pressed."""

    @property
    def destroys(self) -> bool:
        """True where pressing it, or answering its question, ends something."""
        return self.asks is not None or SURE in self.words

    @property
    def command(self) -> str:
        """The words as typed."""
        return shlex.join(self.words)

    @property
    def sure_command(self) -> str:
        """The words of somebody who was asked."""
        return shlex.join((*self.words, SURE))


@dataclass(frozen=True, slots=True)
class Line:
    """One thing of several, with what can be done about it."""

    text: str
    buttons: Sequence[Button] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person alone sees."""

    text: str
    lines: Sequence[Line] = ()
    to_copy: str = ""


def refusal(error: CaravanError) -> Answer:
    """An error as an answer: what is wrong, and what would be right."""
    problem = problem_of(error)
    told = [Line(f"{each.field}: {each.problem}; {each.remedy}") for each in problem.problems]
    if told:
        return Answer(f"{problem.title}:", told)
    again = " It may well work in a moment." if problem.retry_helps else ""
    return Answer(f"{problem.title}: {problem.detail}.{again}")
