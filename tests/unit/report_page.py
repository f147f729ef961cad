"""A report's page as the tests read it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What the tests ask of a page: every start tag with its attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of that name."""
        return [attributes for tag, attributes in self.tags if tag == name]
