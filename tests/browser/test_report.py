# SPDX-License-Identifier: Apache-2.0
"""The page of a gate's report in a real browser: read, searched, sorted, copied from, attacked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from selenium.webdriver.common.keys import Keys

from imgsec.domain.report import Report
from tests.browser.conftest import Browser
from tests.unit.render.gate_reports import (
    ADVISORS,
    FINDINGS,
    hostile_report,
    huge_report,
    judged,
    report,
    report_of_all,
    reports,
    warning_report,
)

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("browser")]

HOSTILE = (
    "</style></script><script>window.hacked=1</script>",
    "\"><img src=x onerror='window.hacked=1'><svg onload=window.hacked=1>",
    "'-window.hacked=1-'",
    "javascript:window.hacked=1",
    'https://evil.example/"onmouseover=window.hacked=1 x="',
    "<details open ontoggle=window.hacked=1>",
    "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
    "<link rel=stylesheet href=https://evil.example/x.css><base href=https://evil.example>",
    "a\u202eb\u2066c\x00d",
)


def one_image() -> Report:
    return report(judged(reports()))


def seen(browser: Browser, selector: str) -> list[str]:
    """The texts of the elements that a reader can see now, in the order in which they stand."""
    return list(
        browser.run(
            """return Array.from(document.querySelectorAll(arguments[0]))
            .filter((one) => one.checkVisibility({contentVisibilityAuto: false}))
            .map((one) => one.textContent);""",
            selector,
        )
    )


def choose(browser: Browser, name: str, value: str) -> None:
    """As a reader does with a list to choose from."""
    browser.run(
        """const list = document.getElementById(arguments[0]);
        list.value = arguments[1];
        if (list.value !== arguments[1]) throw new Error("there is no such choice");
        list.dispatchEvent(new Event("change", {bubbles: true}));""",
        name,
        value,
    )


def wait_until(look: Callable[[], object], expected: object) -> None:
    until = time.monotonic() + 10
    while (found := look()) != expected:
        assert time.monotonic() < until, (found, expected)
        time.sleep(0.02)


def element(browser: Browser, selector: str) -> Any:
    return browser.driver.find_element("css selector", selector)


def assert_quiet(browser: Browser) -> None:
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("file:")] == []


# --- Without its script -----------------------------------------------------------------------


def test_page_is_whole_without_scripts(browser: Browser) -> None:
    browser.set_scripts(allowed=False)
    browser.show(one_image())
    assert seen(browser, "#tools") == []
    assert seen(browser, ".copy") == []
    assert len(seen(browser, ".row")) == 9
    told = element(browser, "body").text
    for text in ("Deployment Blocked", "What helps most", "CVE-2026-1042", "trivy", "3.0.15-1"):
        assert text in told
    assert seen(browser, "pre") == []
    summary = element(browser, ".row summary")
    summary.click()
    assert element(browser, ".row details").get_attribute("open")
    assert seen(browser, "pre")[0].startswith("- id: CVE-2026-1042\n")
    assert "Upgrade openssl to 3.0.15-1~deb12u1" in element(browser, ".row").text
    summary.click()
    assert seen(browser, "pre") == []
    assert_quiet(browser)


def test_rows_open_by_keyboard(browser: Browser) -> None:
    browser.set_scripts(allowed=False)
    browser.show(one_image())
    summary = element(browser, ".row summary")
    summary.send_keys(Keys.ENTER)
    assert seen(browser, "pre")
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    summary.send_keys(Keys.SPACE)
    assert seen(browser, "pre") == []


# --- With it ----------------------------------------------------------------------------------


def test_findings_are_found_by_words(browser: Browser) -> None:
    browser.show(one_image())
    assert seen(browser, "#told") == ["9 of 9 match"]
    field = element(browser, "#find")
    for words, found in (
        ("curl", ["CVE-2026-2203"]),
        ("OPENSSL key", ["CVE-2025-88410"]),
        ("ghsa-xxxx", ["CVE-2026-1042"]),  # another name of it
        ("libssl3", ["CVE-2026-1042", "CVE-2021-9"]),  # the second package of one
        ("how to resolve", []),  # words of ours are not searched
        ("no such", []),
    ):
        field.clear()
        field.send_keys(words)
        wait_until(lambda: seen(browser, ".row .id"), found)
        assert seen(browser, "#told") == [f"{len(found)} of 9 match"]
    assert seen(browser, ".none") == ["None of these matches."] * 2
    field.send_keys(Keys.ESCAPE)
    wait_until(lambda: seen(browser, "#told"), ["9 of 9 match"])
    assert seen(browser, ".none") == []
    assert_quiet(browser)


def test_findings_are_filtered_by_gate_and_severity(browser: Browser) -> None:
    browser.show(report_of_all())
    choose(browser, "gate", "gated")
    assert seen(browser, "#told") == ["5 of 14 match"]
    assert set(seen(browser, ".row .mark")) == {"Refuses"}
    choose(browser, "severity", "critical")
    assert seen(browser, ".row .id") == ["CVE-2026-1042"]
    choose(browser, "gate", "exempt")
    assert seen(browser, "#told") == ["0 of 14 match"]
    choose(browser, "severity", "")
    assert set(seen(browser, ".row .id")) == {"CVE-2023-4911", "CVE-2025-88410"}
    choose(browser, "gate", "")
    assert seen(browser, "#told") == ["14 of 14 match"]


def test_findings_are_sorted_both_ways(browser: Browser) -> None:
    browser.show(one_image())
    first = seen(browser, ".row .id")
    rows = "section.scan > .rows:first-of-type > .row"
    ranks = "critical high medium low negligible unknown".split()
    choose(browser, "sort", "severity-up")
    assert seen(browser, f"{rows} .badge") == sorted(
        seen(browser, f"{rows} .badge"), key=ranks.index, reverse=True
    )
    choose(browser, "sort", "id-up")
    ids = seen(browser, f"{rows} .id")
    assert ids[:3] == ["CVE-2021-9", "CVE-2022-1", "CVE-2023-4911"]
    assert ids[-1] == "GHSA-abcd-efgh-ijkl"
    choose(browser, "sort", "id-down")
    assert seen(browser, f"{rows} .id") == ids[::-1]
    choose(browser, "sort", "package-up")
    packages = seen(browser, f"{rows} .where > .package")
    assert packages == sorted(packages)
    assert seen(browser, "#told") == ["Sorted: Package, A to Z"]
    choose(browser, "sort", "package-down")
    assert seen(browser, f"{rows} .where > .package") == sorted(packages, reverse=True)
    choose(browser, "sort", "severity-down")
    assert seen(browser, ".row .id") == first
    assert_quiet(browser)


def test_all_rows_are_opened_at_once(browser: Browser) -> None:
    browser.show(one_image())
    button = element(browser, "#open-all")
    button.click()
    assert len(seen(browser, "pre")) == 8
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert seen(browser, "pre") == []


def test_entry_is_copied_as_it_stands(browser: Browser) -> None:
    browser.show(one_image())
    browser.command("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    element(browser, ".row summary").click()
    element(browser, ".row .copy").click()
    wait_until(lambda: seen(browser, "#told"), ["The entry is copied"])
    copied = browser.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    )
    assert copied == seen(browser, "pre")[0]
    (entry,) = yaml.safe_load(copied)
    assert entry["packages"] == ["openssl", "libssl3"]


def test_controls_have_names_and_are_reached_by_keyboard(browser: Browser) -> None:
    browser.show(one_image())
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }
    for one in (
        ("searchbox", "Find"),
        ("combobox", "At the gate"),
        ("combobox", "Severity"),
        ("combobox", "Sort"),
        ("button", "Open all"),
        ("search", "Findings"),
        ("heading", "Deployment Blocked"),
        ("heading", "Vulnerabilities 8"),
        ("columnheader", "Source"),
        ("rowheader", "trivy 0.69.3"),
    ):
        assert one in named, sorted(named)
    body = element(browser, "body")
    body.send_keys(Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    reached = []
    for _ in range(8):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            browser.run("return document.activeElement.id || document.activeElement.tagName")
        )
    assert reached[:6] == ["find", "gate", "severity", "sort", "open-all", "SUMMARY"]


# --- Looks ------------------------------------------------------------------------------------

CONTRASTS = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (rgb) => {
  const [r, g, b] = rgb.slice(0, 3).map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const colour = parse(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
    if (colour[3] > 0) throw new Error("see-through ground");
  }
  throw new Error("no ground");
};
const worst = {};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
  const node = text.parentElement;
  if (!text.data.trim() || ["STYLE", "SCRIPT", "OPTION"].includes(node.tagName)) continue;
  const style = getComputedStyle(node);
  const [one, other] = [light(parse(style.color)), light(ground(node))].sort((a, b) => b - a);
  const contrast = (one + 0.05) / (other + 0.05);
  const name = `${node.tagName}.${node.className}`;
  worst[name] = Math.min(worst[name] ?? 99, contrast);
}
return worst;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shown", [report_of_all, warning_report])
def test_every_text_has_contrast(browser: Browser, scheme: str, shown: Any) -> None:
    browser.set_scheme(scheme)
    browser.show(shown())
    element(browser, "#open-all").click()
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(248, 247, 244)") == (scheme == "light")
    contrasts = browser.run(CONTRASTS)
    assert len(contrasts) > 20
    assert {name: one for name, one in contrasts.items() if one < 4.5} == {}  # WCAG 2.2, 1.4.3


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    browser.set_size(width, 800)
    browser.show(report_of_all())
    element(browser, "#open-all").click()
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert seen(browser, ".row .id")


def test_folded_rows_are_printed_as_well(browser: Browser) -> None:
    browser.show(one_image())
    browser.command("Emulation.setEmulatedMedia", media="print")
    assert seen(browser, "#tools") == []
    text = str(browser.run("return document.body.innerText"))
    browser.command("Emulation.setEmulatedMedia", media="")
    for finding in (*FINDINGS, *ADVISORS):
        assert finding.id in text
    assert "Upgrade curl to 7.88.1-10+deb12u8 and rebuild" in text


# --- Attacked, and huge -----------------------------------------------------------------------


def test_foreign_text_runs_nothing_and_loads_nothing(browser: Browser) -> None:
    browser.show(hostile_report(*HOSTILE))
    element(browser, "#open-all").click()
    element(browser, "#find").send_keys("<img")
    wait_until(lambda: seen(browser, "#told"), ["2 of 20 match"])
    assert browser.run("return window.hacked") is None
    assert browser.driver.current_url.startswith("file:")
    assert "<script>window.hacked=1</script>" in str(
        browser.run("return document.body.textContent")
    )
    assert [
        link
        for link in browser.run("return Array.from(document.links, (one) => one.protocol)")
        if link != "file:"
    ] == []
    assert_quiet(browser)


def test_scripts_and_styles_of_others_are_stopped_by_the_policy(browser: Browser) -> None:
    """The policy holds even if something found its way into the markup."""
    browser.show(one_image())
    path = browser.folder / "report.html"
    text = path.read_text(encoding="utf-8")
    planted = (
        "<script>window.hacked=1</script><img src=https://evil.example/x onerror=window.hacked=1>"
        "<p id=planted style='display:none'>planted</p>"
    )
    path.write_text(text.replace("<main", f"{planted}<main"), encoding="utf-8")
    browser.open(path)
    assert browser.run("return window.hacked") is None
    assert seen(browser, "#planted") == ["planted"]
    assert len(browser.complaints()) >= 3
    assert seen(browser, "#told") == ["9 of 9 match"]  # our own still runs


def test_thousands_of_findings_stay_usable(browser: Browser) -> None:
    shown = huge_report(5000)
    shown_rows = ".row:not([hidden], .later)"  # to ask 5,000 rows whether they are seen takes long
    began = time.monotonic()
    browser.show(shown)
    assert seen(browser, "#told") == ["5000 of 5000 match"]
    assert len(seen(browser, shown_rows)) == 200
    assert seen(browser, ".more") == ["Show 200 more of 4800"]
    element(browser, ".more").click()
    assert len(seen(browser, shown_rows)) == 400
    assert browser.run("return document.activeElement.closest('.row').matches(':nth-child(201)')")
    element(browser, "#find").send_keys("cve-2025-10007")
    wait_until(lambda: seen(browser, f"{shown_rows} .id"), ["CVE-2025-10007"])
    assert seen(browser, ".more") == []
    assert time.monotonic() - began < 30, "five seconds are usual"
    assert_quiet(browser)


def test_thousands_of_findings_are_all_there_without_scripts(browser: Browser) -> None:
    browser.set_scripts(allowed=False)
    browser.show(huge_report(1000))
    assert len(seen(browser, ".row")) == 1000
    assert seen(browser, ".more") == []
