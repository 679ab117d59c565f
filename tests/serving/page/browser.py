"""Headless Chromium for tests of the page, and what they do with it. Opens pages of loopback alone."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb",
)  # fmt: skip
MISSING = "needs Chromium with its driver (Debian: apt-get install chromium chromium-driver) and selenium"
SECONDS = 10  # longest wait for anything


def missing() -> str | None:
    """Why there is no browser, or None if there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return MISSING
    return None if shutil.which("chromium") and shutil.which("chromedriver") else MISSING


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with a profile of its own, a new folder; what its console and its network say is recorded."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--accept-lang=en"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_script_timeout(SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


def as_screen(driver: Any, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
    """Show pages as on a screen of this size, in CSS pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


class Page:
    """The page of a service in a browser.

    Args:
        driver: the browser.
        origin: of the service, such as http://127.0.0.1:8000.
    """

    def __init__(self, driver: Any, origin: str) -> None:
        self.driver, self.origin = driver, origin

    def open(self, view: str = "", *shows: tuple[str, str]) -> None:
        """Load the page anew at the address of a view that shows something."""
        self.leave()
        self.driver.get(f"{self.origin}/#{view}?{urlencode(shows)}")
        self.until(lambda: self.all("main section:not([hidden])"))

    def leave(self) -> None:
        """Close it."""
        self.driver.get("about:blank")

    def go(self, view: str, *shows: tuple[str, str]) -> None:
        """The same without loading anew."""
        self.script("location.hash = values[0]", f"{view}?{urlencode(shows)}")

    def script(self, script: str, *values: Any) -> Any:
        """What a script returns; it may await."""
        given = "const done = arguments[arguments.length - 1];"
        caught = "error => done({failed: String(error)})"
        answer = self.driver.execute_async_script(
            f"{given} (async (...values) => {{ {script} }})(...arguments).then(value => done({{value}}), {caught});",
            *values,
        )
        assert "failed" not in answer, answer["failed"]
        return answer.get("value")

    def all(self, selector: str) -> list[Any]:
        """Elements that match, seen or not."""
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        """The first element that matches and is seen."""
        return next(element for element in self.until(lambda: self.all(selector)) if element.is_displayed())

    def text(self, selector: str) -> str:
        """What is written in an element, seen or not."""
        return self.script("return document.querySelector(values[0])?.textContent ?? ''", selector)

    def choose(self, selector: str, value: str) -> None:
        """Choose a value of a menu."""
        self.one(f"{selector} option[value='{value}']").click()

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field, in place of what is there."""
        self.script(
            "const field = document.querySelector(values[0]); field.value = values[1];"
            "field.dispatchEvent(new InputEvent('input'))", selector, text,
        )  # fmt: skip

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def tab(self) -> None:
        """Press Tab, in less time than `press` takes."""
        for kind in ("rawKeyDown", "keyUp"):
            self.driver.execute_cdp_cmd(
                "Input.dispatchKeyEvent", {"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
            )

    def until(self, find: Callable[[], Any]) -> Any:
        """What is found, as soon as it is."""
        return _until(find, bool)

    def eventually(self, find: Callable[[], Any], expected: Any) -> None:
        """Fail unless in the end this is found."""
        assert _until(find, lambda found: found == expected) == expected

    @property
    def fragment(self) -> str:
        """Of the address, in plain characters."""
        return self.script("return decodeURIComponent(location.hash.replaceAll('+', ' '))")

    def complaints(self) -> list[str]:
        """What the console was told of errors and warnings since the last look."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def addresses(self) -> list[str]:
        """What was asked for over the network since the last look."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"] for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]  # fmt: skip


def _until(find: Callable[[], Any], good: Callable[[Any], Any]) -> Any:
    from selenium.common.exceptions import StaleElementReferenceException

    deadline = time.monotonic() + SECONDS
    found = None
    while time.monotonic() < deadline:
        try:
            found = find()
        except StaleElementReferenceException:  # drawn anew just now
            continue
        if good(found):
            break
        time.sleep(0.02)
    return found
