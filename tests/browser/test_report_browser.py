"""The report in a real browser: it loads nothing, complains of nothing, shows every section and fits a phone, in light, dark and print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import matplotlib.image
import numpy as np
import pytest

from server.report import render
from tests.unit.sample_bank_result import bank_result, statistics_result
from tests.unit.sample_result import sample_curves, sample_result, sample_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

Scheme: TypeAlias = Literal["light", "dark"]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
SECTIONS = (
    "Summary", "Warnings", "Who took part", "How well it ranks", "The model", "Columns and bins", "What each source adds", "Convergence", "Time and traffic",
    "What each party learned", "Federated against pooled", "Glossary",
)  # fmt: skip

pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed: no browser test was run")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: no browser test was run (apt-get install chromium)")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(sample_result(), sample_curves()), "utf-8")
    return path


BANK_SECTIONS = {
    "trained": (
        "Summary", "Warnings", "Who took part", "How well it ranks", "Banks side by side", "The model", "Time and traffic",
        "What each party learned", "Federated against pooled", "Glossary",
    ),
    "measured": ("Summary", "Warnings", "Who took part", "Statistics", "Time and traffic", "What each party learned", "Glossary"),
    "outcomes": (*SECTIONS[:3], "How outcomes were made", *SECTIONS[3:]),
}  # fmt: skip
BANK_CHARTS = {"trained": 2 + 2, "measured": 1 + 2, "outcomes": 16 + 1}


@pytest.fixture(scope="module")
def bank_reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("banks")
    for name, document in (("trained", bank_result()), ("measured", statistics_result())):
        (folder / f"{name}.html").write_text(render(document), "utf-8")
    with_target = render(sample_result() | {"target": sample_target()}, sample_curves())
    (folder / "outcomes.html").write_text(with_target, "utf-8")
    return {name: folder / f"{name}.html" for name in BANK_SECTIONS}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


class Visit:
    """A page that was opened, and all that it asked for and complained of."""

    def __init__(self, browser: Browser, path: Path, width: int, height: int = 900, scheme: Scheme = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri(), wait_until="load")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(1200, "light"), *(pytest.param(*view, marks=pytest.mark.slow) for view in ((1200, "dark"), (390, "light"))), (320, "dark")],
)
def test_it_loads_nothing_complains_of_nothing_and_fits(browser: Browser, report: Path, width: int, scheme: Scheme) -> None:
    visit = Visit(browser, report, width, scheme=scheme)
    assert visit.requests == [report.as_uri()]
    assert visit.complaints == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    headings = visit.page.locator("h2")
    assert tuple(headings.all_inner_texts()) == SECTIONS
    assert all(heading.is_visible() for heading in headings.all())
    sizes = visit.page.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect()).map(r => [r.width, r.height])")
    assert len(sizes) == 16
    assert all(wide >= 230 and tall >= 60 for wide, tall in sizes)
    picture = report.with_name(f"report-{width}-{scheme}.png")
    visit.page.screenshot(path=picture, full_page=True)
    print(f"screenshot: {picture}")
    visit.page.close()


@pytest.mark.parametrize("name", list(BANK_SECTIONS))
@pytest.mark.parametrize(
    ("width", "scheme"),
    [(1200, "light"), *(pytest.param(*view, marks=pytest.mark.slow) for view in ((1200, "dark"), (390, "light"))), (320, "dark")],
)
def test_reports_over_many_banks_and_of_outcomes_fit_and_are_readable(
    browser: Browser, bank_reports: dict[str, Path], name: str, width: int, scheme: Scheme
) -> None:
    path = bank_reports[name]
    visit = Visit(browser, path, width, scheme=scheme)
    assert visit.requests == [path.as_uri()]
    assert visit.complaints == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    headings = visit.page.locator("h2")
    assert tuple(headings.all_inner_texts()) == BANK_SECTIONS[name]
    assert all(heading.is_visible() for heading in headings.all())
    sizes = visit.page.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect()).map(r => [r.width, r.height])")
    assert len(sizes) == BANK_CHARTS[name]
    assert all(wide >= 230 and tall >= 40 for wide, tall in sizes)
    outside = visit.page.evaluate(OUTSIDE)
    assert outside == []
    assert visit.page.evaluate(CONTRAST) == []
    picture = path.with_name(f"{name}-{width}-{scheme}.png")
    visit.page.screenshot(path=picture, full_page=True)
    print(f"screenshot: {picture}")
    visit.page.close()


def test_control_a_label_outside_its_chart_is_noticed(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "clipped.html"
    path.write_text('<svg width="50" height="20" viewBox="0 0 50 20"><text x="30" y="15">much too long</text></svg>')
    visit = Visit(browser, path, 390)
    assert visit.page.evaluate(OUTSIDE) == ["much too long"]
    visit.page.close()


def test_control_a_page_that_loads_something_is_noticed(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text('<img src="missing.png"><div style="width: 900px">wide</div><script>console.error("no")</script>')
    visit = Visit(browser, path, 390)
    assert len(visit.requests) == 2
    assert visit.complaints
    assert visit.page.evaluate("document.documentElement.scrollWidth") > 390
    visit.page.close()


def test_the_policy_stops_a_script_and_a_picture_even_if_they_got_in(browser: Browser, report: Path, tmp_path: Path) -> None:
    matplotlib.image.imsave(tmp_path / "dot.png", np.zeros((4, 4)))
    bad = '<main><script>document.title = "owned"</script><img src="dot.png">'
    whole = report.read_text("utf-8").replace("<main>", bad)
    for name, html, harmed in (("with", whole, False), ("without", whole.replace("Content-Security-Policy", "x"), True)):
        path = tmp_path / f"{name}.html"
        path.write_text(html, "utf-8")
        visit = Visit(browser, path, 1200)
        assert (visit.page.title() == "owned") is harmed  # the copy without the policy is the control
        assert (visit.page.evaluate("document.images[0].naturalWidth") > 0) is harmed
        visit.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, report: Path, scheme: Scheme) -> None:
    """WCAG 2.2, 1.4.3: contrast of at least 4.5 to 1, for text and for the charts' labels."""
    visit = Visit(browser, report, 1200, scheme=scheme)
    poor = visit.page.evaluate(CONTRAST)
    assert poor == []
    visit.page.close()


def test_a_phone_can_reach_every_section_by_link(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, 390, 844)
    for link in visit.page.locator("nav a").all():
        link.click()
        target = visit.page.locator(link.get_attribute("href") or "")
        target.wait_for(state="visible")
        visit.page.wait_for_function("id => document.querySelector(id).getBoundingClientRect().top < 844", arg=link.get_attribute("href"))
    visit.page.close()


def test_it_prints(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, 1200, scheme="dark")
    visit.page.emulate_media(media="print")
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert not visit.page.locator("nav").is_visible()
    pdf = visit.page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    visit.page.close()


OUTSIDE = """() => [...document.querySelectorAll('svg text')].filter(t => {
  const a = t.getBoundingClientRect(), b = t.closest('svg').getBoundingClientRect();
  return a.left < b.left - 2 || a.right > b.right + 2 || a.top < b.top - 2 || a.bottom > b.bottom + 2;
}).map(t => t.textContent)"""
CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.closest('.skip, .hidden')) continue;
    const style = getComputedStyle(e), ink = e.closest('svg') ? style.fill : style.color;
    if (!/^rgb/.test(ink)) continue;
    const [a, b] = [light(parse(ink).slice(0, 3)), light(ground(e.closest('svg') || e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push(e.tagName + '.' + e.getAttribute('class') + ' ' + ink + ' ' + e.textContent.trim().slice(0, 20));
  }
  return [...new Set(poor)].slice(0, 10);
}"""
