"""The site in a real browser: pages load without an error, and the search finds what is looked for."""

import functools
import http.server
import shutil
import threading

import pytest

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = (
    "docs/index.html",
    "docs/start.html",
    "docs/paper.html",
    "docs/results.html",
    "docs/reference/configuration.html",
    "docs/reference/api/p2net_tf/layers/exchange/index.html",
    "notebooks/quickstart.html",
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(_Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the site is tried with playwright: pip install playwright"
    )
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, address):
    """Any error of a script fails the test, and so does a file that is missing or from elsewhere."""
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", lambda answer: answer.status < 400 or errors.append(f"{answer.status} {answer.url}"))
    page.on("request", lambda asked: asked.url.startswith((address, "data:")) or errors.append(asked.url))
    yield page
    page.close()
    assert errors == []


@pytest.mark.parametrize("path", PAGES)
def test_pages_load(page, address, path):
    page.goto(f"{address}/{path}")
    assert len(page.inner_text("article h1")) > 3
    # Every picture of the page is drawn.
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert (
        page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")
        == []
    )


def test_the_root_leads_to_the_first_page(page, address):
    page.goto(f"{address}/")
    page.wait_for_url(f"{address}/docs/index.html")
    assert page.locator("article img").count() == 1


def test_the_search_finds_the_exchange_unit(page, address):
    page.goto(f"{address}/docs/index.html")
    page.fill("input[name=q]", "ExchangeUnit")
    page.press("input[name=q]", "Enter")
    found = page.locator("#search-results li a", has_text="ExchangeUnit").first
    found.click()
    page.wait_for_url("**/layers/exchange/index.html*")
    assert "R'(r)" in page.inner_text("article")


def test_equations_are_drawn(page, address):
    page.goto(f"{address}/docs/paper.html")
    boxes = page.locator("div.math math")
    assert boxes.count() >= 9
    assert all(box.bounding_box()["height"] > 10 for box in boxes.all())


def test_a_phone_shows_a_page_without_scrolling_sideways(browser, address):
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    for path in ("docs/index.html", "docs/results.html", "docs/reference/configuration.html"):
        phone.goto(f"{address}/{path}")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()
