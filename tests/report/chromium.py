"""A headless Chromium, driven over a pipe by its own protocol: no driver, no socket, no network."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find():
    """Return the browser's path, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Chromium:
    """One browser with one tab; what it asks for, says and throws is kept."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        flags += ["--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio"]
        command = [find(), *flags, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        # The protocol's descriptors are 3 and 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        # The profile is the browser's home, too: some builds keep caches there.
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._rest, self._session = 0, b"", None
        self.events: list[dict] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 16)
            assert more, "the browser ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, *, width=1280, height=900, dark=False, script=True, scale=1):
        """Load a file in a window of that size, in px, and forget what went before."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + 60
        while not self.heard("Page.loadEventFired"):
            assert time.monotonic() < deadline, "the page did not load"
            self.events.append(self._next())

    def heard(self, method):
        """Return the parameters of the events of that name."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def run(self, expression):
        """Return the value of a JavaScript expression, which runs even where the page's own scripts may not."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screenshot(self, *, whole=False):
        """Return a PNG of the window, or of the whole page."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def press(self, key):
        """Press and release a key that has a name, such as Tab."""
        codes = {"Tab": 9, "Enter": 13}
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])

    def complaints(self):
        """Return errors and warnings of the page: thrown, logged or written to its console."""
        said = [str(found["exceptionDetails"]) for found in self.heard("Runtime.exceptionThrown")]
        said += [found["entry"]["text"] for found in self.heard("Log.entryAdded")]
        return said + [str(found["args"]) for found in self.heard("Runtime.consoleAPICalled")]

    def requests(self):
        """Return what the page asked for besides itself and what it carries inside."""
        urls = [found["request"]["url"] for found in self.heard("Network.requestWillBeSent")]
        return [url for url in urls[1:] if not url.startswith("data:")]

    def close(self):
        """End the browser."""
        self._session = None
        try:
            self.ask("Browser.close")
        except (AssertionError, OSError):
            self._process.kill()
        self._process.wait(30)
        os.close(self._write)
        os.close(self._read)
