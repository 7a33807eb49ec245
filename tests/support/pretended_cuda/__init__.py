"""A CUDA device without a GPU: what runs on it follows PyTorch's rules, and is counted."""

from tests.support.pretended_cuda.driver import pretended_cuda
from tests.support.pretended_cuda.state import Counts, Device
from tests.support.pretended_cuda.tensor import DeviceTensor

__all__ = ["Counts", "Device", "DeviceTensor", "pretended_cuda"]
