"""An emulated CUDA device: operations follow PyTorch's device rules and are counted."""

from tests.support.pretended_cuda.driver import pretended_cuda
from tests.support.pretended_cuda.state import Counts, Device
from tests.support.pretended_cuda.tensor import DeviceTensor

__all__ = ["Counts", "Device", "DeviceTensor", "pretended_cuda"]
