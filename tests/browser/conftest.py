# SPDX-License-Identifier: Apache-2.0
"""One real browser for all tests here: Debian's Chromium, without a network, in its own folder.

Its proxy is a port at which nobody listens, so that whatever it tried to load would fail and be
seen. Selenium gets the path of the driver and looks for nothing itself.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from imgsec.domain.report import Report
from imgsec.render.html import report_html

NEEDED = ("chromium", "chromedriver")
_NOBODY = "127.0.0.1:9"  # the discard service, which no machine has
_SECONDS_MAX = 30


@dataclass
class Browser:
    """A browser that shows reports, and what it had to complain about."""

    driver: Any
    folder: Path

    def show(self, report: Report) -> None:
        path = self.folder / "report.html"
        path.write_text(report_html(report), encoding="utf-8")
        self.open(path)

    def open(self, path: Path) -> None:
        self.complaints()
        self.requests()
        self.driver.get(path.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """What stands in the console since the last look: errors, and breaches of the policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last look."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def command(self, name: str, **arguments: Any) -> Any:
        """One command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def set_scheme(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def set_size(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def set_scripts(self, *, allowed: bool) -> None:
        """Whether pages may run scripts; what a test asks of a page still runs."""
        self.command("Emulation.setScriptExecutionDisabled", value=not allowed)

    def reset(self) -> None:
        self.set_scripts(allowed=True)
        self.set_scheme("light")
        self.set_size(1280, 900)


@pytest.fixture(scope="session")
def _started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.fail(f"not on PATH: {', '.join(missing)} (Debian: chromium, chromium-driver)")
    folder = tmp_path_factory.mktemp("browser")
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (
        "--headless=new",
        "--no-sandbox",  # tests may run as root, as in a container; the pages are our own
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-background-networking",
        "--no-first-run",
        f"--proxy-server={_NOBODY}",
        "--proxy-bypass-list=<-loopback>",
        f"--user-data-dir={folder / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    environment = {**os.environ, "SE_OFFLINE": "true", "HOME": str(folder)}
    service = Service(executable_path=str(shutil.which("chromedriver")), env=environment)
    driver = Chrome(options=options, service=service)
    driver.set_page_load_timeout(_SECONDS_MAX)
    driver.set_script_timeout(_SECONDS_MAX)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(_started: Any, tmp_path: Path) -> Iterator[Browser]:
    """The browser as it is at first; nothing that it shows may break the page's policy."""
    shown = Browser(_started, tmp_path)
    shown.reset()
    yield shown
    shown.reset()
