"""Memory limits."""

from pathlib import Path

import psutil
import pytest

from backend.model.memory import machine_bytes


class TestMachineBytes:
    def test_a_container_may_have_less_than_the_machine(self, tmp_path: Path) -> None:
        limit = tmp_path / "memory.max"
        limit.write_text("123456789\n", encoding="utf-8")
        assert machine_bytes([tmp_path / "absent", limit]) == 123456789

    @pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", ""])
    def test_without_a_limit_it_is_the_machines(self, tmp_path: Path, text: str) -> None:
        limit = tmp_path / "memory.max"
        limit.write_text(text, encoding="utf-8")
        assert machine_bytes([limit]) == psutil.virtual_memory().total
