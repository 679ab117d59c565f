"""Takes the pictures of the page that are in docs/: `weixing serve` in Chromium, on loopback.

python -m tests.acceptance.page_pictures --model later=RUN --model earlier=OTHER --out docs
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from tests.serving.page.browser import Page, as_screen, chromium, missing

WIDTH, HEIGHT = 1000, 800
SENTENCE, MASKS = "今天天气很好，我们去公园散步。", "5,10"
PICTURES = {
    "page-fill-mask.png": ("fill-mask", "#blanks .bar", False, [("text", SENTENCE), ("mask", MASKS), ("lang", "en")]),
    "page-similarity.png": ("similarity", "#heat-maps td[data-value]", True, [("lang", "en")]),
    "page-family.png": ("family", "#matrix button", False, [("by", "size"), ("shape", "8/512"), ("lang", "zh")]),
}
"""File: view, what is there when it is ready, whether in the dark, and what it shows."""


def main() -> None:
    """Parse, serve, take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, help="as `weixing serve` takes it; two are compared")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the pictures")
    arguments = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    options = [option for model in arguments.model for option in ("--model", model)]
    command = [sys.executable, "-m", "weixing", "serve", *options, "--port", "0", "--json"]
    names = [model.partition("=")[0] for model in arguments.model]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert service.stdout
        try:
            line = service.stdout.readline()
            if not line:
                sys.exit("the service did not start")
            with chromium(Path(folder) / "profile") as driver:
                page = Page(driver, json.loads(line)["url"])
                for name, (view, ready, dark, shows) in PICTURES.items():
                    models = [("m", model) for model in names[:2]] if view == "fill-mask" else []
                    _take(page, arguments.out / name, f"{view}?{urlencode([*shows, *models])}", ready, dark)
        finally:
            service.terminate()


def _take(page: Page, file: Path, address: str, ready: str, dark: bool) -> None:
    """One picture, of the page from its top to the end of what it shows."""
    as_screen(page.driver, WIDTH, HEIGHT, dark=dark)
    page.leave()
    page.driver.get(f"{page.origin}/#{address}")
    page.until(lambda: page.all(ready) and not page.all("[aria-busy=true]"))
    end = page.script("return document.querySelector('section:not([hidden]) .results').getBoundingClientRect().bottom")
    as_screen(page.driver, WIDTH, round(end) + 24, dark=dark)
    page.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    page.script("await Promise.all(document.getAnimations().map(animation => animation.finished))")
    page.driver.save_screenshot(str(file))
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
