"""What folded boxes of a large model hold: kept packed in the page, and made into elements when a box is unfolded.

20,000 operations are some 100,000 elements, with which a browser takes seconds for every layout; packed they are a few
hundred kilobytes, and a reader unfolds a handful of modules. A browser that cannot unpack (``DecompressionStream``), or
runs no script, shows the boxes as they are.
"""

from __future__ import annotations

import base64
import gzip
import json

from partkit.reports.page.html import Html, element


class Inside:
    """Contents of boxes in the order in which they were added."""

    def __init__(self) -> None:
        self._contents: list[Html] = []

    def add(self, content: Html) -> int:
        """Keep a box's content; returns the number that the box is to bear."""
        self._contents.append(content)
        return len(self._contents) - 1

    def html(self) -> Html | None:
        """The contents as an element that the page's script reads; None where there are none."""
        if not self._contents:
            return None
        packed = gzip.compress(json.dumps(self._contents, ensure_ascii=False).encode(), 9, mtime=0)
        text = Html(base64.b64encode(packed).decode("ascii"))
        return element("script", text, type="application/octet-stream", class_="inside")
