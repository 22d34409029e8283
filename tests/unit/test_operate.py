"""What the operator's commands say about arguments that make no sense."""

from __future__ import annotations

import pytest

from workers.operate.__main__ import main


@pytest.mark.parametrize(
    "command",
    ["dead show x", "dead redrive x", "dead redrive --config x", "dead list --config x",
     "skip x", "connections release x", "connections remove x",
     "backfill x --since 2026-01-01 --until 2026-01-02"],
)  # fmt: skip
def test_an_invalid_id_is_reported_before_anything_is_asked(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 2
    assert "x is not a valid id" in capsys.readouterr().err
