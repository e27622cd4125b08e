"""`python -m tests.docs.external_links`: the addresses in all pages, which tests cannot follow.

Tests run offline and check only that an address is valid. With `--check` each one is requested, and
those that do not answer, or answer with an error, are printed with the pages that have them.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.docs.test_links import PAGES, find_targets, read_markdown
from utils.paths import REPOSITORY

PLACEHOLDER = "INSERT_OWNER_HERE"  # in addresses of this repository
TIMEOUT = 20  # seconds
# Answers that say nothing about an address: "log in", "no robots", "not with this method".
INCONCLUSIVE = (401, 403, 405, 429)


def find_addresses() -> dict[str, list[str]]:
    """Each external address with the pages that have it."""
    pages: dict[str, list[str]] = {}
    for page in PAGES:
        name = page.relative_to(REPOSITORY).as_posix()
        for target in dict.fromkeys(find_targets(read_markdown(page))):
            if target.startswith("https:") and PLACEHOLDER not in target:
                pages.setdefault(target, []).append(name)
    return dict(sorted(pages.items()))


def find_problem(address: str, open_address: Callable = urlopen) -> str | None:
    """What is wrong with an address, or None."""
    request = Request(address, headers={"User-Agent": "Mozilla/5.0 (a check of links)"})
    try:
        with open_address(request, timeout=TIMEOUT):
            return None
    except HTTPError as error:
        return None if error.code in INCONCLUSIVE else f"answers {error.code}"
    except OSError as error:
        return f"no answer ({error})"


def main() -> int:
    """List all addresses, or request them; the exit status is 1 if one has a problem."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.external_links")
    parser.add_argument("--check", action="store_true", help="request each address")
    options = parser.parse_args()
    addresses = find_addresses()
    if not options.check:
        for address, pages in addresses.items():
            print(f"{address}  in {', '.join(pages)}")
        return 0
    with ThreadPoolExecutor(8) as executor:
        problems = dict(zip(addresses, executor.map(find_problem, addresses), strict=True))
    bad = {address: problem for address, problem in problems.items() if problem}
    for address, problem in bad.items():
        print(f"{address}: {problem}: correct it in {', '.join(addresses[address])}")
    print(f"{len(addresses)} addresses, {len(bad)} with a problem", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
