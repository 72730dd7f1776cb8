"""Debian's Chromium without a window, driven by its own protocol; WebGL is drawn in software."""

import base64
import io
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """A tab: what it logged and asked of the network, and what it looks like."""

    def __init__(self, socket) -> None:
        self._socket, self._last = socket, 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._last:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event, told) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"])[:500])
        elif event == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.errors.append(json.dumps(told["args"])[:500])
        elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        elif event == "Network.requestWillBeSent" and not told["request"]["url"].startswith(
            ("data:", "blob:")
        ):
            self.requests.append(told["request"]["url"])

    def first(self, script: str) -> None:
        """Run JavaScript in each page before its own."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str):
        """The value of an expression of JavaScript, promises awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> None:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"not within {seconds} s: {script}; {self.errors}"
            time.sleep(0.1)

    def picture(self) -> np.ndarray:
        """What the tab shows, uint8 [H, W, 3]."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def still(self, seconds: float = 60) -> np.ndarray:
        """`picture` when it no longer changes."""
        end, before = time.monotonic() + seconds, self.picture()
        while time.monotonic() < end:
            time.sleep(0.5)
            now = self.picture()
            if np.array_equal(before, now):
                return now
            before = now
        return before

    def type_into(self, label: str, text: str) -> None:
        """Replace what stands in the first text field that follows a label, and press Enter."""
        find = """(() => {
            const all = [...document.querySelectorAll('*')];
            const at = all.findIndex((e) => e.childElementCount === 0 && e.textContent.trim() === LABEL);
            const field = all.slice(at).find((e) => e.tagName === 'INPUT' && e.type === 'text');
            field.focus(); field.select();
        })()"""
        self.wait(f"document.body.innerText.includes({json.dumps(label)})")
        self.run(find.replace("LABEL", json.dumps(label)))
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13
            )

    def press(self, text: str) -> None:
        """Click the button or tab that bears a text."""
        find = """[...document.querySelectorAll('*')].find(
            (e) => e.childElementCount === 0 && e.textContent.trim() === TEXT)"""
        self.wait(find.replace("TEXT", json.dumps(text)))
        place = self.run(f"(({find.replace('TEXT', json.dumps(text))}).getBoundingClientRect()).toJSON()")
        self.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


@contextmanager
def browser(folder: Path, size: tuple[int, int]):
    """A `Page` of (H, W) pixels; skips where there is no Chromium.

    Args:
        folder: for the browser's own files.
    """
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    client = pytest.importorskip("websockets.sync.client")
    flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
    flags += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--no-first-run", "--force-device-scale-factor=1"]
    flags += [f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = folder / "DevToolsActivePort"
        for _ in range(300):
            if port.is_file() and "\n" in port.read_text():
                break
            time.sleep(0.1)
        number, path = port.read_text().split("\n")[:2]
        # The browser's own socket opens a tab; the tab has one of its own.
        with client.connect(f"ws://127.0.0.1:{number}{path}", max_size=None, proxy=None) as whole:
            whole.send(
                json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}})
            )
            made = {}
            while made.get("id") != 1:
                made = json.loads(whole.recv(timeout=60))
            tab = f"ws://127.0.0.1:{number}/devtools/page/{made['result']['targetId']}"
            with client.connect(tab, max_size=None, proxy=None) as socket:
                page = Page(socket)
                shape = {"height": size[0], "width": size[1], "deviceScaleFactor": 1, "mobile": False}
                page.call("Emulation.setDeviceMetricsOverride", **shape)
                yield page
    finally:
        process.terminate()
        process.wait(timeout=20)
