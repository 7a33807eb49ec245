"""Pin the base images by digest, in addition to their versions: `make digests`.

Asks each image's registry with the protocol of the OCI distribution specification 1.1; changes
nothing if it can't be reached.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ("Dockerfile.backend", "Dockerfile.ui", "docker-compose.yml")
IMAGE = re.compile(
    r"(?P<host>docker\.io|localhost:\d+)/(?P<name>[\w./-]+):(?P<tag>[\w.-]+)(@sha256:[0-9a-f]{64})?"
)
API_HOSTS = {"docker.io": "https://registry-1.docker.io"}  # others: the host itself
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
TIMEOUT_S = 30


def digest(host: str, name: str, tag: str) -> str:
    """The digest of an image's list of platforms, as sha256:….

    Raises:
        OSError: the registry can't be reached, or does not know the image.
    """
    api = API_HOSTS.get(host, f"http://{host}")
    request = urllib.request.Request(f"{api}/v2/{name}/manifests/{tag}", method="HEAD")
    request.add_header("Accept", ACCEPT)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        request.add_header("Authorization", f"Bearer {_token(error.headers['WWW-Authenticate'])}")
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    found = str(answer.headers["Docker-Content-Digest"])
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise OSError(f"no digest but {found}")
    return found


def _token(challenge: str) -> str:
    """An anonymous token for public images, from the service that the registry names."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    address = f"{fields['realm']}?service={fields['service']}&scope={fields['scope']}"
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
        return str(json.load(answer)["token"])


def main(root: Path = ROOT) -> int:
    """Write the digests into the files; returns 3 if a registry can't be reached."""
    code = 0
    for path in (root / name for name in FILES):
        text = path.read_text("utf-8")
        for image in {match[0]: match for match in IMAGE.finditer(text)}.values():
            plain = f"{image['host']}/{image['name']}:{image['tag']}"
            try:
                found = digest(image["host"], image["name"], image["tag"])
            except OSError as error:
                print(f"{path.name}: {plain} stays as it is, its registry can't be asked: {error}")
                code = 3
                continue
            text = text.replace(image[0], f"{plain}@{found}")
            print(f"{path.name}: {plain}@{found}")
        path.write_text(text, "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
