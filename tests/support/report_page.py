"""The page of a report, read as a browser reads it."""

import html.parser
import json

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source"}


class ReportPage(html.parser.HTMLParser):
    """What stands in a page.

    Attributes:
        tags: Every element's name, in order.
        attributes: Name of an element to the attributes of each.
        inside: Name of an element to the text in each.
        text: What people read.
        data: The data of the page.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.inside = [], {}, {}
        self.text, self.open = "", []
        self.feed(text)
        self.close()
        assert self.open == [], self.open
        self.data = json.loads(self.inside["script"][0])

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.setdefault(tag, []).append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)
            self.inside.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.inside[self.open[-1]][-1] += data
        if not {"script", "style"} & {*self.open}:
            self.text += data
