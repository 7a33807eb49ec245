"""Ask a public service for known vulnerabilities of everything that is pinned: `make audit`.

Exit codes: 0 nothing is known, 1 something is, 3 it could not be asked, for all packages or some.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILES = ("constraints.txt", "locks/backend.txt", "locks/ui.txt")
KNOWN, UNASKED = 1, 3


def main(pip_audit: str, files: Sequence[str] = FILES) -> int:
    """Audit the files with the program `pip_audit`; print what is known, and what was not asked."""
    code = 0
    for file in files:
        command = [pip_audit, "-r", file, "--disable-pip", "--progress-spinner", "off"]
        command += ["--no-deps", "--format", "json"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8"
        )
        try:
            packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            reason = done.stderr.strip().splitlines() or ["no answer"]
            print(f"{file}: nothing was checked, the service can't be asked: {reason[-1]}")
            code = code or UNASKED
            continue
        code = _report(file, packages) or code
    return code


def _report(file: str, packages: list[dict[str, Any]]) -> int:
    for package in packages:
        for found in package.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            print(
                f"{file}: {package['name']} {package['version']}: {found['id']}, fixed in {fixed}"
            )
    unasked = [package["name"] for package in packages if "skip_reason" in package]
    known = sum(bool(package.get("vulns")) for package in packages)
    print(f"{file}: {len(packages) - len(unasked)} packages checked, {known} with vulnerabilities")
    if len(unasked) == len(packages):
        print(f"{file}: the service answered for none of them")
    elif unasked:
        print(f"{file}: not checked, since the service does not know them: {', '.join(unasked)}")
    return KNOWN if known else UNASKED if unasked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
