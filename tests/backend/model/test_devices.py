"""Torch's threads: how many compute for whom."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from backend.model.threads import one_torch_thread, settle_torch_threads


@pytest.mark.usefixtures("two_torch_threads")
def test_a_thread_that_is_settled_keeps_its_number_beside_one_that_computes_alone() -> None:
    with ThreadPoolExecutor(1) as other:
        other.submit(settle_torch_threads).result()
        with one_torch_thread():
            assert torch.get_num_threads() == 1
            assert other.submit(torch.get_num_threads).result() == 2
    assert torch.get_num_threads() == 2
