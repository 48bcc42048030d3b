"""The page in a real browser: nothing leaves it, the verdict comes first, tables sort, films play,
text can be read."""

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from browser import Browser, Page, find_chromium
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.plan.document import Plan
from bench.plan.episode_table import make_episode_table
from bench.record.run import read_run
from bench.report.discordant import discordant
from bench.report.write import write_report
from wmvla.rollout.film import side_by_side, write_film

CHROMIUM = find_chromium()
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
SCREENS = {"desk": (1280, 800), "phone": (390, 844)}
MOST_BYTES = 3_000_000

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    found = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def several_tasks() -> Plan:
    plan = core_plan("mini", seeds=(0, 1))
    environment = dataclasses.replace(plan.recipe.environment, tasks=(1, 2, 10))
    rollout = dataclasses.replace(plan.recipe.rollout, episodes=24)
    recipe = dataclasses.replace(plan.recipe, environment=environment, rollout=rollout)
    return dataclasses.replace(plan, recipe=recipe, episodes=make_episode_table(recipe))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an unfinished run that has everything: tasks, seeds, errors, speeds, and a film of a
    discordant episode."""
    plan = several_tasks()
    outcomes = drawn_outcomes(plan, REALISTIC)
    outcomes["E2-pred-s0"][3:6] = ["error", "timeout", None]
    run_dir = write_run(tmp_path_factory.mktemp("run"), plan, outcomes)
    speed = {
        "figure": "gemm_bf16",
        "unit": "TFLOP/s",
        "value": 600.0,
        "percent_of_peak": 61.0,
        "judgement": "pass",
    }
    reference = {"reference": 610.0, "reference_date": "2026-11-23", "least": 550.0}
    infos = [speed | reference, {**speed, "figure": "copy", "value": 1.5}, {"note": "no figure"}]
    (run_dir / "throughput.json").write_text(
        json.dumps({"benchmarks": [{"extra_info": info} for info in infos]})
    )
    each = next(each for each in discordant(read_run(run_dir)) if each["number"])
    name = "{left}-s{seed}-vs-{right}-s{seed}-{index}.mp4".format(**{**each, **each["episodes"][0]})
    frames = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((64, 64, 3), np.uint8)
    write_film(
        run_dir / "videos" / name, side_by_side(frames, 3 * frames, each["left"], each["right"])
    )
    return write_report(run_dir)


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    found = Page(browser, report)
    yield found
    found.close()


def asked_for(page: Page) -> set[str]:
    return {unquote(urlsplit(url).path) for url in page.requests() if not url.startswith("data:")}


def test_nothing_leaves_the_page_and_nothing_complains(page: Page, report: Path) -> None:
    assert asked_for(page) == {str(report)}
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    films = {str(path) for path in (report.parent / "videos").iterdir()}
    assert asked_for(page) <= {str(report), *films}
    assert page.complaints() == []
    assert report.stat().st_size < MOST_BYTES


LOOKED_AT = """(async () => {
  document.querySelector('.films figure').scrollIntoView({block: 'center', behavior: 'instant'});
  const end = Date.now() + 20000;
  const video = document.querySelector('video');
  while (video.isConnected && video.readyState < 2 && Date.now() < end) await new Promise(done => setTimeout(done, 50));
  return [video.isConnected, video.videoWidth, video.currentTime, document.querySelector('.films figure').innerText];
})()"""


def test_a_film_shows_its_first_frame_when_it_is_looked_at(page: Page) -> None:
    assert page.evaluate(LOOKED_AT)[:3] == [True, 520, 0]


def test_a_film_that_did_not_travel_with_the_page_is_told(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "report.html"
    alone.write_bytes(report.read_bytes())
    page = Page(browser, alone)
    assert page.complaints() == []
    connected, *_, text = page.evaluate(LOOKED_AT)
    assert not connected
    (film,) = (report.parent / "videos").iterdir()
    assert f"The film is not beside this page:\nvideos/{film.name}" in text
    page.close()


@pytest.mark.parametrize("screen", SCREENS)
def test_the_verdict_is_on_the_first_screen(browser: Browser, report: Path, screen: str) -> None:
    width, height = SCREENS[screen]
    page = Page(browser, report, width, height)
    for selector in ("h1", "#verdict .decision", "#verdict p", ".forest .row"):
        box = page.evaluate(
            f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()"
        )
        assert box["top"] >= 0, selector
        assert box["bottom"] <= height, selector
        assert box["left"] >= 0, selector
        assert box["right"] <= width, selector
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def column(page: Page, table: str, number: int) -> list[str]:
    rows = f"[...document.querySelector({table!r}).tBodies[0].rows]"
    found: list[str] = page.evaluate(f"{rows}.map(row => row.cells[{number}].textContent)")
    return found


def sorting(page: Page, table: str) -> list[str | None]:
    found: list[str | None] = page.evaluate(
        f"[...document.querySelector({table!r}).tHead.rows[0].cells].map(head =>"
        " head.getAttribute('aria-sort'))"
    )
    return found


def test_tables_sort_by_click_and_by_keyboard(page: Page) -> None:
    table = "#success .heat table"
    assert column(page, table, 0) == ["1", "2", "10"]
    page.click(f"{table} thead th:nth-child(1) button")
    assert column(page, table, 0) == ["1", "2", "10"]
    assert sorting(page, table)[:2] == ["ascending", None]
    page.click(f"{table} thead th:nth-child(1) button")
    assert column(page, table, 0) == ["10", "2", "1"]  # as numbers
    assert sorting(page, table)[:2] == ["descending", None]
    page.press("Tab", 9)
    page.press("Enter", 13, "\r")
    assert sorting(page, table)[:2] == [None, "ascending"]
    rates = [float(text.split()[0]) for text in column(page, table, 1)]
    assert rates == sorted(rates)
    page.press(" ", 32, " ")
    assert sorting(page, table)[:2] == [None, "descending"]


def test_what_is_missing_sorts_last_either_way(page: Page) -> None:
    table = "#training table"
    for direction in ("ascending", "descending"):
        page.click(f"{table} thead th:nth-child(6) button")
        assert sorting(page, table)[5] == direction
        assert column(page, table, 5)[-2:] == ["\N{EN DASH}"] * 2


def test_films_play(page: Page) -> None:
    assert page.evaluate("document.querySelectorAll('video').length") == 1
    moved = page.evaluate("""(async () => {
          const video = document.querySelector('video');
          await video.play();
          const end = Date.now() + 20000;
          while (video.currentTime < 0.5 && Date.now() < end) await new Promise(done => setTimeout(done, 50));
          return [video.currentTime, video.videoWidth, video.duration];
        })()""")
    assert moved[0] >= 0.5
    assert moved[1] == 520
    assert moved[2] == pytest.approx(4, abs=0.1)  # 60 frames at 20 a second, and the last one held
    link = page.evaluate("document.querySelector('#episodes td a').getAttribute('href')")
    assert link == page.evaluate("document.querySelector('video').getAttribute('src')")
    assert page.complaints() == []


def test_without_its_script_the_page_says_the_same(browser: Browser, report: Path) -> None:
    with_script, without = Page(browser, report), Page(browser, report, script=False)
    text = "document.querySelector('main').innerText"
    assert without.evaluate(text) == with_script.evaluate(text)
    assert without.evaluate("document.querySelectorAll('button').length") == 0
    with_script.close()
    without.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_every_text_has_the_contrast_of_wcag_aa(
    browser: Browser, report: Path, screen: str, dark: bool
) -> None:
    page = Page(browser, report, *SCREENS[screen], dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    told = page.evaluate(CONTRAST)
    assert told["looked"] > 500
    assert told["found"] == []
    page.close()


def test_the_measure_of_contrast_sees_what_is_faint(page: Page) -> None:
    page.evaluate(
        "document.querySelector('h1').style.color = 'color-mix(in srgb, black 20%, white)'"
    )
    assert len(page.evaluate(CONTRAST)["found"]) == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_core_finds_nothing(browser: Browser, report: Path, screen: str, dark: bool) -> None:
    page = Page(browser, report, *SCREENS[screen], dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate(AXE + "; 0")
    rules = {"runOnly": {"type": "tag", "values": AXE_RULES}}
    found = page.evaluate(f"axe.run({json.dumps(rules)})")
    contrast = [rule for rule in found["passes"] if rule["id"] == "color-contrast"]
    assert [len(rule["nodes"]) > 100 for rule in contrast] == [True]
    told = [
        (rule["id"], rule["help"], [node["html"][:160] for node in rule["nodes"][:3]])
        for rule in found["violations"]
    ]
    assert told == []
    page.close()


def test_numbers_above_a_grid_do_not_touch(browser: Browser, tmp_path: Path) -> None:
    plan = several_tasks()
    rollout = dataclasses.replace(
        plan.recipe.rollout, inits=tuple(init + 1000 for init in plan.recipe.rollout.inits)
    )
    recipe = dataclasses.replace(plan.recipe, rollout=rollout)
    plan = dataclasses.replace(plan, recipe=recipe, episodes=make_episode_table(recipe))
    page = Page(
        browser, write_report(write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC)))
    )
    boxes = page.evaluate(
        "[...document.querySelector('.grid svg').querySelectorAll('.init')].map(each =>"
        " each.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) > 2
    assert all(one["right"] < other["left"] for one, other in itertools.pairwise(boxes))
    page.close()


def test_the_picture_of_a_report_is_its_first_screen(report: Path, tmp_path: Path) -> None:
    script, picture = Path(__file__).parents[3] / "scripts" / "picture.py", tmp_path / "report.png"
    told = subprocess.run(
        [sys.executable, script, report, picture], capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith(f"{picture}: 2560x1600, ")
    wrong = subprocess.run(
        [sys.executable, script, tmp_path / "none.html", picture],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert "scripts/picture.py" in wrong.stderr


def test_paper_shows_what_is_folded_and_no_film(page: Page) -> None:
    page.command("Emulation.setEmulatedMedia", media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('video')).display") == "none"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    height = "document.querySelector('#spent details table').getBoundingClientRect().height"
    assert page.evaluate(height) > 50
