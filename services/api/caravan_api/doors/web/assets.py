"""The files from npm packages that pages need: which they are, and how they come into `static/vendor/`.

`python -m caravan_api.doors.web.assets <node_modules>` copies them there when Caravan is installed; what is served is
then a part of this package, and nothing is fetched from anywhere at run time.
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

STATIC = Path(__file__).with_name("static")
VENDOR = STATIC / "vendor"

FILES: Mapping[str, str] = {
    "tabler.css": "@tabler/core/dist/css/tabler.min.css",
    "inter.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "idiomorph.js": "idiomorph/dist/idiomorph-ext.min.js",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
}
"""By the name that pages use."""

ICONS = (
    "activity",
    "alert-circle",
    "alert-triangle",
    "arrow-back-up",
    "arrow-down",
    "arrow-up",
    "bell",
    "building-community",
    "check",
    "chevron-down",
    "circle-check",
    "circle-dashed",
    "circle-x",
    "clock",
    "clock-plus",
    "cpu",
    "device-floppy",
    "download",
    "droplet",
    "gauge",
    "hammer",
    "heartbeat",
    "help-circle",
    "history",
    "hourglass",
    "info-circle",
    "key",
    "key-off",
    "layout-dashboard",
    "lock-open",
    "login-2",
    "logout",
    "mail-x",
    "menu-2",
    "moon",
    "player-pause",
    "player-play",
    "plug-connected-x",
    "plus",
    "refresh",
    "robot",
    "search",
    "selector",
    "send",
    "server-2",
    "settings",
    "stack-2",
    "sun",
    "sun-moon",
    "terminal-2",
    "tool",
    "trash",
    "user",
    "user-plus",
    "users",
    "x",
)
"""Of Tabler's icons, by their names there."""

_SYMBOL = re.compile(r'<symbol id="tabler-([^"]+)".*?</symbol>', re.DOTALL)
_ALL_ICONS = "@tabler/icons-sprite/dist/tabler-sprite.svg"


def install(node_modules: Path) -> None:
    """Copy all that pages need from an installed `node_modules`. FileNotFoundError for what is not in there."""
    VENDOR.mkdir(exist_ok=True)
    for name, source in FILES.items():
        shutil.copyfile(node_modules / source, VENDOR / name)
    (VENDOR / "icons.svg").write_text(sprite((node_modules / _ALL_ICONS).read_text(), ICONS))


def sprite(everything: str, names: Iterable[str]) -> str:
    """An SVG file with these icons alone, each a symbol of its name: pages draw one with a short `<use>`.

    KeyError for one that is not in there.
    """
    symbols = {found[1]: found[0] for found in _SYMBOL.finditer(everything)}
    drawn = "\n".join(symbols[name].replace('id="tabler-', 'id="', 1) for name in names)
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{drawn}\n</svg>\n'


def missing() -> list[str]:
    """The files that are not installed."""
    return [name for name in (*FILES, "icons.svg") if not (VENDOR / name).is_file()]


@cache
def address() -> str:
    """Where all static files are found. It names their contents: browsers may keep each for ever."""
    digest = hashlib.sha256()
    for path in _all_files():
        digest.update(str(path.relative_to(STATIC)).encode())
        digest.update(path.read_bytes())
    return f"/static/{digest.hexdigest()[:12]}"


def _all_files() -> Iterable[Path]:
    return sorted(path for path in STATIC.rglob("*") if path.is_file())


if __name__ == "__main__":
    install(Path(sys.argv[1]))
