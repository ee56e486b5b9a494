"""A browser without a person: it follows redirects, fills in each form that it is shown and agrees to it.

As a command, `python -m tests.support.oidc.browser URL`, it is what `$BROWSER` may be set to: it goes as the user that
`BROWSER_USER` names, and does not agree where `BROWSER_DECLINES` is set.
"""

import os
import ssl
import sys
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

_MOST_PAGES = 10
_AGREEING = {"Authorize", "accept"}  # what the provider's buttons say


class Page(HTMLParser):
    """The fields of a page's form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.has_form = False
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field or a button."""
        told = {name: value or "" for name, value in attrs}
        name, value = told.get("name", ""), told.get("value", "")
        self.has_form |= tag == "form"
        if told.get("type") == "submit" and name:
            self.buttons.append((name, value))
        elif tag == "input" and name:
            self.fields[name] = value


def walk(url: str, user: str, *, decline: bool = False, tls: ssl.SSLContext | None = None) -> httpx.Response:
    """Go from page to page until one has no form. `decline` presses the other button where there are two."""
    with httpx.Client(verify=tls or True, follow_redirects=True, timeout=20) as client:
        answer = client.get(url)
        for _ in range(_MOST_PAGES):
            page = Page(answer.text)
            if not page.has_form:
                return answer
            answer = client.post(answer.url, data=_filled(page, user, decline), headers={"Referer": str(answer.url)})
    raise AssertionError(f"there is no end of pages at {answer.url}")


def walk_to(callback: str, url: str, user: str, *, tls: ssl.SSLContext | None = None) -> str:
    """As `walk`, until a redirect leads to `callback`, which is not followed; the whole address of that."""
    with httpx.Client(verify=tls or True, timeout=20) as client:
        answer = client.get(url)
        for _ in range(_MOST_PAGES):
            if answer.has_redirect_location:
                onward = urljoin(str(answer.url), answer.headers["Location"])
                if onward.startswith(callback):
                    return onward
                answer = client.get(onward)
                continue
            page = Page(answer.text)
            assert page.has_form, answer.text
            answer = client.post(answer.url, data=_filled(page, user), headers={"Referer": str(answer.url)})
    raise AssertionError(f"no way leads from {url} to {callback}")


def _filled(page: Page, user: str, decline: bool = False) -> dict[str, str]:
    known = {name: user for name in page.fields if name in ("username", "password")}
    pressed = [(name, value) for name, value in page.buttons if (value in _AGREEING) != decline]
    return {**page.fields, **known, **dict(pressed)}


if __name__ == "__main__":
    walk(sys.argv[1], os.environ["BROWSER_USER"], decline="BROWSER_DECLINES" in os.environ)
