"""Backend and studio in the foreground; Ctrl-C, or the end of either, ends both.

`python -m scripts.demo --install` sets up .venv first, with any Python and nothing but its standard
library, and goes on with the Python in there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it needs grpc, which --install has yet to bring
    from client import Text2ImageClient

from scripts import install

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "backend": [sys.executable, "-m", "backend"],
    "studio": [sys.executable, "-m", "streamlit", "run", "ui/streamlit_app.py"],
}
EVERY_S = 1.0
STOP_S = 35.0  # the backend's drain time, and a little
VENV = ROOT / ".venv"
EXTRAS = ("backend", "ui", "openvino")


def main(args: Sequence[str] = ()) -> int:
    if list(args) == ["--install"]:
        return set_up() or go_on()
    if args:
        print("usage: python -m scripts.demo [--install]", file=sys.stderr)
        return 2
    return run()


def set_up() -> int:
    """Create .venv and install what is not there yet, as `make install` does."""
    if not venv_python().exists():
        if why := install.refusal():
            print(why, file=sys.stderr)
            return 2
        venv.create(VENV, with_pip=True)
    stamp = VENV / ".demo"
    sources = [ROOT / name for name in ("pyproject.toml", "constraints.txt")]
    if stamp.exists() and all(stamp.stat().st_mtime >= s.stat().st_mtime for s in sources):
        return 0
    code = subprocess.call([str(venv_python()), str(ROOT / "scripts" / "install.py"), *EXTRAS])
    if code == 0:
        stamp.touch()
    return code


def go_on() -> int:
    """Run the demo with the Python of .venv."""
    command = [str(venv_python()), "-m", "scripts.demo"]
    os.chdir(ROOT)
    if os.name != "nt":
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    while True:  # Ctrl-C reaches the child, too, which then needs its time
        with contextlib.suppress(KeyboardInterrupt):
            return child.wait()


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    children = {name: start(command) for name, command in COMMANDS.items()}
    address = f"127.0.0.1:{os.environ.get('TEXT2IMAGE_PORT', '50051')}"
    threading.Thread(target=announce_ready, args=(address, started), daemon=True).start()
    try:
        studio = (children["studio"], started)
        threading.Thread(target=announce, args=studio, daemon=True).start()
        return wait(children)
    except KeyboardInterrupt:
        return 130
    finally:
        stop(list(children.values()))


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a child; on Windows in a group of its own, so that Ctrl-C reaches only us."""
    host = os.environ.get("TEXT2IMAGE_UI_HOST")
    environ = {**os.environ, "STREAMLIT_SERVER_ADDRESS": host} if host else None
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    return subprocess.Popen(command, cwd=ROOT, env=environ, creationflags=group)


def announce(studio: subprocess.Popen[bytes], started: float) -> None:
    """Print the address once the studio answers."""
    port = os.environ.get("STREAMLIT_SERVER_PORT", "8501")
    host = os.environ.get("TEXT2IMAGE_UI_HOST", "")
    is_elsewhere = host not in ("", "0.0.0.0", "::", "localhost")
    url, asked = f"http://localhost:{port}", host if is_elsewhere else "127.0.0.1"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
    while studio.poll() is None:
        try:
            direct.open(f"http://{asked}:{port}/_stcore/health", timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
            continue
        print(f"\n  Studio: {url}  (up after {time.monotonic() - started:.1f} s)", flush=True)
        print("  Ctrl-C stops it and the backend.\n", flush=True)
        return


def announce_ready(address: str, started: float) -> None:
    """Print each second what the backend is doing, and finally how long it took.

    If it never becomes ready, the backend itself says why.
    """
    from client import DeadlineExceeded, Text2ImageClient, Text2ImageError

    with Text2ImageClient(address) as client:
        while True:
            try:
                client.wait_ready(timeout=EVERY_S)
                break
            except DeadlineExceeded:
                print(f"  {time.monotonic() - started:3.0f} s  {doing(client)}", flush=True)
            except Text2ImageError:
                return
    print(f"\n  Ready to draw after {time.monotonic() - started:.1f} s\n", flush=True)


def doing(client: Text2ImageClient) -> str:
    """What the backend does before it is ready, in its own words."""
    from client import Text2ImageError

    try:
        return client.status(timeout=EVERY_S).message
    except Text2ImageError:
        return "Starting the backend."


def wait(children: dict[str, subprocess.Popen[bytes]]) -> int:
    """Wait until one of them exits; returns its exit code, or 1 if it exited unexpectedly."""
    while True:
        for name, child in children.items():
            code = child.poll()
            if code is not None:
                print(f"The {name} ended (exit code {code}); stopping.", file=sys.stderr)
                return code or 1
        time.sleep(0.2)


def ask_to_end(child: subprocess.Popen[bytes]) -> None:
    """Send a signal that lets the child finish; on Windows `terminate` would kill it."""
    number = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
    with contextlib.suppress(OSError):  # it ended meanwhile
        child.send_signal(number)


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Terminate them, and kill those that don't exit."""
    for child in children:
        if child.poll() is None:
            ask_to_end(child)
    deadline = time.monotonic() + STOP_S
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
