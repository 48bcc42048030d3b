"""Chromium without a window, driven through the DevTools protocol over two pipes: no port, no
driver, no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root, as in a container, has no other way
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-pipe",
)
MOST_SECONDS = 60


def find_chromium() -> str | None:
    """The first Chromium on the PATH."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One Chromium process; close it. `profile`: an empty folder for it."""

    def __init__(self, executable: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The protocol wants descriptors 3 and 4, which Python cannot promise; the shell can.
        command = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            [
                "bash",
                "-c",
                command,
                executable,
                *FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._last, self._waiting = b"", 0, list[Message]()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(MOST_SECONDS)
        os.close(self._write)
        os.close(self._read)

    def command(self, method: str, session: str | None = None, **parameters: Any) -> Message:
        """The result of one command. AssertionError where the browser says that it failed."""
        self._last += 1
        message: Message = {"id": self._last, "method": method, "params": parameters}
        os.write(
            self._write,
            json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0",
        )
        found = self._next(lambda answer: answer.get("id") == message["id"])
        assert "error" not in found, (method, found["error"])
        result: Message = found["result"]
        return result

    def event(self, session: str, method: str) -> Message:
        """The first event of that kind that was not taken yet; waits for it."""
        found = self._next(
            lambda message: message.get("sessionId") == session and message.get("method") == method
        )
        self._waiting.remove(found)
        return found

    def events(self, session: str, *methods: str) -> list[Message]:
        """All events of those kinds so far."""
        self.command("Target.getTargets")  # whatever came before its answer has been read
        return [
            message["params"]
            for message in self._waiting
            if message.get("sessionId") == session and message.get("method") in methods
        ]

    def _next(self, wanted: Callable[[Message], bool]) -> Message:
        end = time.monotonic() + MOST_SECONDS
        for message in self._waiting:
            if wanted(message):
                return message
        while True:
            message = self._receive(end)
            self._waiting.append(message)
            if wanted(message):
                return message

    def _receive(self, end: float) -> Message:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], max(0, end - time.monotonic()))[0], (
                "the browser does not answer"
            )
            read = os.read(self._read, 1 << 20)
            assert read, "the browser has ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: Message = json.loads(line)
        return found


class Page:
    """A page that is open in a window of the given size, light or dark, with or without its own
    script.

    `pixels`: of the screen, along either side of one of the page's.
    """

    def __init__(
        self,
        browser: Browser,
        path: Path,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        script: bool = True,
        pixels: int = 1,
    ) -> None:
        self.browser = browser
        self.target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.command("Target.attachToTarget", targetId=self.target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        screen = {
            "width": width,
            "height": height,
            "deviceScaleFactor": pixels,
            "mobile": width < 760,
        }
        self.command("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.command("Emulation.setScriptExecutionDisabled", value=not script)
        self.command("Page.navigate", url=path.as_uri())
        browser.event(self.session, "Page.loadEventFired")

    def close(self) -> None:
        self.browser.command("Target.closeTarget", targetId=self.target)

    def command(self, method: str, **parameters: Any) -> Message:
        return self.browser.command(method, self.session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise waited for. AssertionError where it
        throws."""
        found = self.command(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Scroll to the middle of an element and press the mouse there, as a person does."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center', behavior: 'instant'}); return"
            " e.getBoundingClientRect().toJSON() })()"
        )
        where = {
            "x": box["x"] + box["width"] / 2,
            "y": box["y"] + box["height"] / 2,
            "button": "left",
            "clickCount": 1,
        }
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, **where)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press one key on what has the focus."""
        for kind in ("keyDown", "keyUp"):
            told = {"text": text} if text and kind == "keyDown" else {}
            self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **told
            )

    def requests(self) -> list[str]:
        """Every address that the page has asked for, itself included."""
        return [
            event["request"]["url"]
            for event in self.browser.events(self.session, "Network.requestWillBeSent")
        ]

    def complaints(self) -> list[str]:
        """What was thrown, and what stands in the console as an error or a warning."""
        thrown = self.browser.events(self.session, "Runtime.exceptionThrown")
        logged = [event["entry"] for event in self.browser.events(self.session, "Log.entryAdded")]
        said = self.browser.events(self.session, "Runtime.consoleAPICalled")
        return [
            *(event["exceptionDetails"]["text"] for event in thrown),
            *(entry["text"] for entry in logged if entry["level"] in ("error", "warning")),
            *(
                str(event["args"])
                for event in said
                if event["type"] in ("error", "warning", "assert")
            ),
        ]

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        found = self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
