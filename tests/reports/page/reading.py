"""A page read back: its elements, their attributes and texts, with every fault of nesting."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"input", "link", "meta", "line", "rect"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    texts: list[str] = field(default_factory=list)
    inside: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Reader(HTMLParser):
    """Every text belongs to all the elements that it is in."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.faults: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"{element.tag} is never closed" for element in self.open]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"{tag} has an attribute twice: {names}")
        element = Element(tag, {name: value or "" for name, value in attrs})
        element.inside = tuple(each.tag for each in self.open)
        self.elements.append(element)
        if tag in VOID:
            self.faults.append(f"{tag} is not closed at once, as SVG needs it")
        else:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        if tag not in VOID:
            self.faults.append(f"{tag} may not be closed at once")
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1].tag != tag:
            self.faults.append(f"</{tag}> ends {self.open[-1].tag if self.open else 'nothing'}")
        else:
            self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.texts.append(data)

    def find(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]

    def section(self, anchor: str) -> str:
        (found,) = self.find("section", id=anchor)
        return found.text
