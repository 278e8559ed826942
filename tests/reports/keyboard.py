"""A headless browser that is used by keyboard, over the pipe of its remote control."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CODES = {"Enter": 13, "Tab": 9, "Space": 32, "ArrowRight": 39}


class Browser:
    """One page in one browser; a context manager."""

    def __init__(self, folder, width=1000, height=900):
        """Start it; downloads go to `folder`."""
        theirs, mine = os.pipe()
        read, write = os.pipe()
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
            "--disable-component-update --disable-background-networking --remote-debugging-pipe "
            f"--user-data-dir={folder / 'profile'}"
        )
        command = f"exec {CHROMIUM} {flags} about:blank 3<&{theirs} 4>&{write}"
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(theirs, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(write)
        self.out, self.into, self.number, self.session, self.said = mine, os.fdopen(read, "rb", 0), 0, None, []
        self.rest = b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for name in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{name}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        session, self.session = self.session, None
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.session = session

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.into.close()
        os.close(self.out)

    def ask(self, method, **params):
        """Send a command and wait for its answer; what else is said meanwhile is kept in `said`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                if not select.select([self.into], [], [], 240)[0]:
                    raise RuntimeError(f"the browser does not answer {method}")
                more = self.into.read(1 << 16)
                if not more:
                    raise RuntimeError("the browser has ended")
                self.rest += more
            text, _, self.rest = self.rest.partition(b"\0")
            found = json.loads(text)
            if found.get("id") == self.number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
            self.said.append(found)

    def open(self, address):
        """Open a page and wait until it shows something."""
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && document.querySelector('h1') !== null")

    def reload(self):
        """Load the page once more and wait until it shows something."""
        self.value("window.before = true")
        self.ask("Page.reload")
        self.until("!window.before && document.readyState === 'complete' && document.querySelector('h1') !== null")

    def value(self, code):
        """The value of an expression on the page."""
        found = self.ask("Runtime.evaluate", expression=code, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def until(self, code, seconds=120):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.value(code):
                    return
            except RuntimeError:  # between two pages there is none to ask
                pass
            if time.monotonic() > end:
                raise RuntimeError(f"never true: {code}")
            time.sleep(0.02)

    def press(self, *keys):
        """Press keys as a person does, with all that the browser makes of them."""
        for key in keys:
            text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
            name = " " if key == "Space" else key
            same = {"key": name, "code": key, "windowsVirtualKeyCode": CODES.get(key, ord(key[0]))}
            self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **same)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **same)

    def picture(self, path):
        """Write a screenshot."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def errors(self):
        """What went wrong on the page, and what it asked the network for."""
        wrong = [e for e in self.said if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        called = [e for e in self.said if e.get("method") == "Runtime.consoleAPICalled"]
        wrong += [e for e in called if e["params"]["type"] in ("error", "assert")]
        asked = [e["params"]["request"]["url"] for e in self.said if e.get("method") == "Network.requestWillBeSent"]
        return wrong, [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
