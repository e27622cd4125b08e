"""Links of the web pages: to other pages and to the web, never to what runs code."""

import pytest

from utils.cli.html import resolve_link


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("RESULTS.md#summary", "results.html#summary"),
        ("SECURITY.md", "security.html"),
        ("#setup", "#setup"),
        ("https://example.org/a#b", "https://example.org/a#b"),
        ("HTTP://example.org", "HTTP://example.org"),
        ("mailto:ann@example.org", "mailto:ann@example.org"),
        ("utils/config.py", None),
        ("javascript:alert(1)", None),
        ("JavaScript:alert(1)#a", None),
        ("java\nscript:alert(1)", None),
        ("data:text/html,a", None),
        ("file:///etc/passwd", None),
    ],
)
def test_links_stay_only_if_they_lead_to_a_page_or_the_web(href, expected):
    assert resolve_link(href, "README.md") == expected
