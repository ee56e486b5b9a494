"""The reference pages say what the code says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = ["events.md", "asyncapi.yaml", "states.md", "configuration.md", "large-clusters.md", "metrics.md"]


@pytest.mark.parametrize("page", PAGES)
def test_page_is_what_make_docs_would_write(page: str) -> None:
    assert (DOCS / page).read_text() == _generator().PAGES[page](), "run `make docs`"
