"""The browser that looks at pages, one for all tests."""

import pytest

pytest.register_assert_rewrite("browser_tools")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    from browser_tools import started

    with started(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver
