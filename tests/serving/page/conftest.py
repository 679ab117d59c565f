"""A browser, a service with something to show, and pages of it that are looked after."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.test_runs import REPORTS, write_run
from tests.serving.page.browser import Page, as_screen, chromium, missing
from tests.serving.running import Running, running
from weixing.serving.loading import loader
from weixing.serving.pages import Exhibits


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, on a desk; skipped where there is none."""
    if reason := missing():
        pytest.skip(reason)
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as driver:
        as_screen(driver, 1200, 900)
        yield driver


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs: one that is done, one that goes on, one that is broken."""
    folder = tmp_path_factory.mktemp("runs")
    broken = write_run(folder / "broken", [])
    (broken / "run.json").write_text("[]")
    return {
        "broken": broken,
        "done": write_run(folder / "done", [*REPORTS, {**REPORTS[1], "step": 300, "tokens": 3000}]),
        "going": write_run(folder / "going", REPORTS),
    }


@pytest.fixture(scope="session")
def exhibition(folders: dict[str, str], run_folders: dict[str, Path]) -> Iterator[Running]:
    """A service of all models and runs."""
    exhibits = Exhibits([run_folders["done"].parent])
    with running(folders, loader("auto", "float32"), exhibits=exhibits) as service:
        yield service


@pytest.fixture
def pages(browser: Any) -> Iterator[Callable[[Running], Page]]:
    """The page of a service. In the end: nothing was asked of anyone else, and the console has no complaints."""
    opened: list[Page] = []

    def page(service: Running) -> Page:
        opened.append(Page(browser, f"http://127.0.0.1:{service.port}"))
        return opened[-1]

    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    yield page
    browser.get("about:blank")
    origins = tuple(f"{each.origin}/" for each in opened)
    assert [address for address in opened[0].addresses() if not address.startswith((*origins, "about:"))] == []
    assert opened[0].complaints() == []


@pytest.fixture
def page(pages: Callable[[Running], Page], exhibition: Running) -> Page:
    """The page of the exhibition."""
    return pages(exhibition)
