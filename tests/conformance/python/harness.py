"""Cases are functions: `@case` registers one, `run` runs them all and tells which failed."""

import logging
import os
import sys
import time
import traceback

from azure.core.exceptions import HttpResponseError

VAULT = os.environ["VAULT"]
AUTHORITY = os.environ["AUTHORITY"]
FIXTURES = os.environ["FIXTURES"]
TENANT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
OWNER = "11111111-1111-1111-1111-111111111111"
STRANGER = "22222222-2222-2222-2222-222222222222"

# The refusals that the cases provoke are no news.
logging.disable(logging.CRITICAL)

_cases = []


def case(function):
    _cases.append(function)
    return function


def refused(status, code, text, call, *arguments, **keywords):
    """Fails unless the call is refused with this status, code and text."""
    try:
        found = call(*arguments, **keywords)
        if hasattr(found, "__next__") or hasattr(found, "by_page"):
            list(found)
    except HttpResponseError as error:
        assert error.status_code == status, f"status {error.status_code}, not {status}: {error}"
        assert error.error.code == code, f"code {error.error.code}, not {code}"
        assert text in error.error.message, f"{text!r} is not in {error.error.message!r}"
        return error
    raise AssertionError(f"{call} was not refused")


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def run():
    start, failed = time.monotonic(), 0
    for function in _cases:
        try:
            function()
        except Exception as error:  # a case may fail in any way
            failed += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:600]
            print(f"FAILED python {function.__name__}: {type(error).__name__}: {text} ({os.path.basename(place.filename)}:{place.lineno})")
    print(f"python: {len(_cases)} cases, {failed} failed, {time.monotonic() - start:.1f} s")
    sys.exit(1 if failed else 0)
