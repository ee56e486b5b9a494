"""Tell a person what went wrong: what, where, what would be right, who can fix it, and whether trying again helps."""

from rich.console import Console

from caravan_cli.errors import CliError, Problem
from caravan_cli.render import say

_WHO = {
    "user": "you, by asking for something else",
    "operator": "whoever runs Caravan or the cloud",
}


def complain(console: Console, error: CliError) -> None:
    """Print an error as the API gives it, or the sentence of one of our own."""
    problem = error.problem
    say(console, f"Error: {problem.title if problem else error}", style="bold red")
    if problem is None:
        return
    if problem.detail and not problem.problems:  # with problems, the detail is only their summary
        say(console, f"  {problem.detail}")
    for each in problem.problems:
        say(console, f"  {each.field}: {each.problem}")
        if each.remedy:
            say(console, f"    → {each.remedy}")
    for sentence in who_and_whether(problem):
        say(console, sentence)


def who_and_whether(problem: Problem) -> list[str]:
    """Who can fix it, whether a retry helps, and what to quote in a report; what the API left out is left out."""
    told: list[str] = []
    if problem.who_can_fix:
        told.append(f"Who can fix it: {_WHO.get(problem.who_can_fix, problem.who_can_fix)}.")
    if problem.retry_helps is not None:
        told.append("Trying again may help." if problem.retry_helps else "Trying again as it is does not help.")
    if problem.trace_id:
        told.append(f"Trace: {problem.trace_id}")
    return told
