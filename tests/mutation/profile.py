"""Becomes the copy's tests/conftest.py: how hypothesis searches for examples there."""

from __future__ import annotations

from hypothesis import Phase, settings

# As in CI, the examples are the same in each run, without a deadline. The first failing one is
# enough: searching for a simpler one takes longer than everything else.
settings.register_profile(
    "mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("mutation")
