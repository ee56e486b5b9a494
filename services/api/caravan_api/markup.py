"""Texts for chat products: nothing that somebody else wrote becomes a mention or hides a link there. Pure."""

import re
from enum import StrEnum

_MARKDOWN = re.compile(r"([\\`*_~\[\]<>|!#])")
_NO_WORD = "\u200b"  # zero width space: what follows is no mention


class Product(StrEnum):
    """A chat product."""

    SLACK = "slack"
    MATTERMOST = "mattermost"


def escaped(product: Product, text: str) -> str:
    """The text with nothing in it that the product would read as a mention or a link with another text.

    Slack: https://docs.slack.dev/messaging/formatting-message-text#escaping. Mattermost: backslashes as in CommonMark,
    and a mention is none after a zero-width space.
    """
    if product is Product.SLACK:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text).replace("@", f"@{_NO_WORD}")


def literal(text: str) -> str:
    """A block of text that is shown as it is, to be copied, in either product."""
    return f"```\n{text.replace('`', 'ˋ')}\n```"
