"""The first screen of a report as a picture, as a reader on a desk sees it: 1280x800, light, two
pixels for each.

    .venv/bin/python scripts/picture.py results/reference/cpu_core_mini_2026-11-30/report.html
    docs/report.png

Needs a Chromium on the PATH (Debian: apt-get install chromium).
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "bench" / "report"))

from browser import Browser, Page, find_chromium

COLOURS = 256
"""A page has few: as a palette the picture is a third of the size, and looks the same."""


def main(arguments: list[str]) -> int:
    chromium = find_chromium()
    if len(arguments) != 2 or not Path(arguments[0]).is_file() or chromium is None:
        print(__doc__, file=sys.stderr)
        return 2
    report, picture = (Path(argument).resolve() for argument in arguments)
    with tempfile.TemporaryDirectory(prefix="picture-") as profile:
        browser = Browser(chromium, Path(profile))
        page = Page(browser, report, 1280, 800, pixels=2)
        page.evaluate("document.documentElement.style.scrollbarWidth = 'none'; 0")
        page.screenshot(picture)
        browser.close()
    with Image.open(picture) as image:
        palette = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    palette.save(picture, optimize=True)
    print(f"{picture}: {palette.width}x{palette.height}, {picture.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
