"""Texts for chat products: nothing that somebody else wrote becomes a mention, a link or a format there. Pure."""

import re
from enum import StrEnum

_MARKDOWN = re.compile(r"([\\`*_~\[\]<>|!#])")
_NO_WORD = "​"  # zero width space: what follows is no mention


class Product(StrEnum):
    """A chat product."""

    SLACK = "slack"
    MATTERMOST = "mattermost"


def escaped(product: Product, text: str) -> str:
    """The text as the product shows it literally.

    Slack: https://docs.slack.dev/messaging/formatting-message-text#escaping. Mattermost: backslashes as in CommonMark,
    and a mention is none after a zero-width space.
    """
    if product is Product.SLACK:
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return plain.replace("`", "ˋ")
    return _MARKDOWN.sub(r"\\\1", text).replace("@", f"@{_NO_WORD}")


def literal(text: str) -> str:
    """A block of text that is shown as it is, to be copied, in either product."""
    return f"```\n{text.replace('`', 'ˋ')}\n```"
