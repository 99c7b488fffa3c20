"""The page of a comparison in a browser: it is drawn without errors and without a network, and sorts its table."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from lightning_gen.comparison.page import make_page
from lightning_gen.comparison.runs import read_runs
from tests.test_comparison import make_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; the tests are skipped without one, or without the package playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=["light", "dark"])
def opened(request, browser, tmp_path) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page, its errors, and the addresses that it asked for."""
    runs = [
        make_run(tmp_path / f"{name}" / "1", factor=factor) for name, factor in (("b", 2.0), ("a", 1.0), ("c", 9.0))
    ]
    runs.append(make_run(tmp_path / "unscored" / "1", seconds=False))
    shutil.rmtree(runs[-1] / "evaluation")
    path = tmp_path / "comparison.html"
    path.write_text(make_page(read_runs(runs)), encoding="utf-8")
    page = browser.new_page(color_scheme=request.param, viewport={"width": 1200, "height": 800})
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda sent: requests.append(sent.url))
    page.goto(path.as_uri())
    yield page, errors, requests
    page.close()


def test_the_page_is_complete_without_a_network(opened, request):
    page, errors, requests = opened
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [page.url]
    assert page.title() == "Comparison of 4 runs"
    sizes = page.eval_on_selector_all("img", "images => images.map(i => [i.naturalWidth, i.naturalHeight])")
    assert len(sizes) == 1 + 4
    assert all(width > 0 and height > 0 for width, height in sizes)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = "dark" in request.node.name
    assert background == ("rgb(13, 17, 23)" if is_dark else "rgb(255, 255, 255)")
    used = page.eval_on_selector("picture img", "image => image.currentSrc")
    light = page.eval_on_selector("picture img", "image => image.src")
    assert (used != light) == is_dark
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


def test_a_click_on_a_column_sorts_by_it(opened):
    page, errors, _ = opened

    def names() -> list[str]:
        return page.eval_on_selector_all("tbody tr", "rows => rows.map(row => row.cells[0].textContent)")

    assert names() == ["b", "a", "c", "unscored"]
    page.get_by_role("button", name="run").click()
    assert names() == ["a", "b", "c", "unscored"]
    score = page.get_by_role("button", name="fid1437_train@classifier")
    score.click()
    assert names() == ["a", "b", "c", "unscored"]  # 20, 40 and 180, as numbers; an empty cell comes last
    score.click()
    assert names() == ["c", "b", "a", "unscored"]
    assert page.locator("th[aria-sort]").count() == 1
    assert errors == []
