"""The list of external addresses, and what counts as a problem of one."""

from contextlib import nullcontext
from urllib.error import HTTPError, URLError

import pytest

from tests.docs.external_links import find_addresses, find_problem
from tests.docs.test_links import is_valid_address


def test_addresses_are_listed_with_their_pages():
    addresses = find_addresses()
    assert "RESULTS.md" in addresses["https://github.com/danieljl/keras-image-captioning"]
    assert "README.md" in addresses["https://github.com/danieljl/keras-image-captioning"]
    assert all(is_valid_address(address) for address in addresses)
    assert not [address for address in addresses if "INSERT_OWNER_HERE" in address]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, None),
        (HTTPError("https://example.org", 403, "Forbidden", None, None), None),
        (HTTPError("https://example.org", 404, "Not Found", None, None), "answers 404"),
        (URLError("no route"), "no answer (<urlopen error no route>)"),
        (TimeoutError("timed out"), "no answer (timed out)"),
    ],
)
def test_an_address_that_does_not_answer_is_a_problem(answer, problem):
    def open_address(request, timeout):
        assert request.full_url == "https://example.org"
        if answer:
            raise answer
        return nullcontext()

    assert find_problem("https://example.org", open_address) == problem
