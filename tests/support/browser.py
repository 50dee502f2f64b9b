"""A browser without a window, and a server for the pages that it opens."""

import contextlib
import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support import requirements


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing about requests."""


@contextlib.contextmanager
def served(folder, handler=QuietHandler):
    """Serve a folder; yield the address that it has, with a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def opened():
    """Open Chromium, or skip the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the extra asv is not installed")
    if reason := requirements.absence("browser"):
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,800"):
        options.add_argument(argument)
    # The browser itself asks for updates; what it may not do is hide requests of the page.
    options.add_argument("--disable-background-networking")
    options.add_argument("--disable-component-update")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield window
    finally:
        window.quit()


def wait_for(browser, question, *arguments, seconds=30):
    """Return the first answer that JavaScript gives to a question and that says something."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds).until(
        lambda window: window.execute_script(question, *arguments)
    )


def events(browser, method):
    """Return the parameters of events of the DevTools protocol since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [message["params"] for message in messages if message["method"] == method]


def requests_elsewhere(browser, address):
    """Return the addresses outside the served folder that were asked for since the last call."""
    urls = [each["request"]["url"] for each in events(browser, "Network.requestWillBeSent")]
    return [url for url in urls if not url.startswith((address, "data:", "blob:"))]
