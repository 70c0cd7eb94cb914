"""A report opened in headless Chromium without a network: what it fetched, complained of and shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 780}
A4 = {"width": 688, "height": 1000}
"""What an A4 page leaves between the margins of the page's own style, in CSS pixels of 1/96 inch."""

OVERLAPS = """() => {
  // The box of each piece of text as far as it is seen: cut off by every element around it that hides what juts out.
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const inside = node.parentElement;
    if (!node.data.trim() || inside.closest("script, style, title, desc, .skip, select, datalist")) continue;
    if (!inside.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (parseFloat(getComputedStyle(inside).fontSize) < 1) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      let [left, right, top, bottom] = [rect.left, rect.right, rect.top, rect.bottom];
      for (let around = inside; around; around = around.parentElement) {
        const isPicture = around instanceof SVGSVGElement;
        if (!isPicture && getComputedStyle(around).overflowX === "visible") continue;
        if (isPicture && getComputedStyle(around).overflow === "visible") continue;
        const edge = isPicture ? edgeOf(around) : around.getBoundingClientRect();
        [left, right] = [Math.max(left, edge.left), Math.min(right, edge.right)];
        [top, bottom] = [Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
      }
      if (right - left > 2 && bottom - top > 2) seen.push({ left, right, top, bottom, inside, text: node.data.trim() });
    }
  }
  function edgeOf(picture) {
    // A picture within another has no box of its own but where it stands in the outer one's.
    if (!picture.ownerSVGElement) return picture.getBoundingClientRect();
    const to = picture.getScreenCTM();
    const [width, height] = [picture.width.baseVal.value, picture.height.baseVal.value];
    return { left: to.e, right: to.e + width * to.a, top: to.f, bottom: to.f + height * to.d };
  }
  seen.sort((a, b) => a.top - b.top);
  const found = [];
  seen.forEach((a, place) => {
    for (const b of seen.slice(place + 1)) {
      if (b.top >= a.bottom) break;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = a.bottom - Math.max(a.top, b.top);
      // Lines stand closer than the boxes of their letters; a quarter of a line is touching.
      if (across > 2 && down > 0.25 * (a.bottom - a.top)) found.push(`${a.text.slice(0, 40)} | ${b.text.slice(0, 40)}`);
    }
  });
  return { pieces: seen.length, found };
}"""


@dataclass
class Opened:
    """A page in the browser: ``page`` is Playwright's, ``told`` what the console said, ``asked`` every address."""

    page: Any
    told: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def overlaps(self) -> list[str]:
        """Pairs of texts that stand on each other, of a page that shows some text at all."""
        seen = self.page.evaluate(OVERLAPS)
        assert seen["pieces"] > 50, "the page is as good as empty"
        return seen["found"]

    def width_beyond(self) -> int:
        """CSS pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def faults(self) -> list[str]:
        """What axe-core calls serious or critical: rule, reason and the first element."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response
        assert len(found["passes"]) > 10, "axe-core hardly looked"
        return [
            f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:120]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, ended with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, file: Path, size: dict[str, int] = WIDE, **options: Any) -> Iterator[Opened]:
    """The page of ``file`` in a window of its own that has no network, closed with the block."""
    window = browser.new_context(viewport=size, offline=True, **options)
    view = Opened(window.new_page())
    view.page.on("console", lambda message: view.told.append(message.text))
    view.page.on("pageerror", lambda error: view.told.append(str(error)))
    view.page.on("request", lambda request: view.asked.append(request.url))
    view.page.goto(file.as_uri())
    yield view
    window.close()
