"""Downloads the npm packages that pictures and names come from.

| package | used for | licence |
| --- | --- | --- |
| `@lobehub/fluent-emoji-3d` | 256 x 256 RGBA renderings of Microsoft's Fluent Emoji | MIT |
| `@iconify-json/fluent-emoji-flat` | the same emoji as flat drawings, in SVG | MIT |
| `emojibase-data` | the label of each emoji, in many languages | MIT |
| `emojilib` | keywords of each emoji | MIT |
"""

import subprocess
import tarfile
from pathlib import Path

from training import paths

PACKAGES = {
    "@lobehub/fluent-emoji-3d@1.1.0": "lobehub-fluent-emoji-3d-1.1.0",
    "@iconify-json/fluent-emoji-flat@1.2.6": "iconify-json-fluent-emoji-flat-1.2.6",
    "emojibase-data@17.0.0": "emojibase-data-17.0.0",
    "emojilib@4.0.3": "emojilib-4.0.3",
}


def download() -> Path:
    """Download and unpack the packages into the cache, if they are not there yet."""
    folder = paths.cache() / "packages"
    folder.mkdir(exist_ok=True)
    for name, unpacked in PACKAGES.items():
        if (folder / unpacked).exists():
            continue
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True)
        with tarfile.open(folder / f"{unpacked}.tgz") as tar:
            tar.extractall(folder / f"{unpacked}.partial", filter="data")
        (folder / f"{unpacked}.partial").rename(folder / unpacked)
    return folder
