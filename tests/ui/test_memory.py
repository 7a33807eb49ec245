import subprocess
import sys

import pytest

from tests.ui.storage.test_lock import ROOT

DECODE = """
import io, threading
from pathlib import Path
from PIL import Image
from ui.memory import return_large_blocks
from ui.storage.decoding import make_thumbnail

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

return_large_blocks()
file = io.BytesIO()
Image.new("RGB", (5000, 5000), "red").save(file, "PNG")
data = file.getvalue()
make_thumbnail(data)
before = resident()
threads = [threading.Thread(target=make_thumbnail, args=(data,)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print((resident() - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_decoded_pictures_goes_back_to_the_system() -> None:
    command = [sys.executable, "-c", DECODE]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 20  # MB; each picture takes 100
