"""Parts of the photos by their names, for several machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from igcam.core.errors import IgcamError
from igcam.core.files import digest
from igcam.data.sample import Dataset


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`; the part of a photo depends on its name alone."""

    index: int
    """1 to `count`."""
    count: int
    """Parts in all."""

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise IgcamError(f"shard must be i/n with 1 <= i <= n, got {self}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`; IgcamError for other text."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
        if found is None:
            raise IgcamError(f"shard must be i/n with 1 <= i <= n, got {text}")
        return cls(int(found[1]), int(found[2]))

    def takes(self, name: str) -> bool:
        """Return whether a photo is in this part."""
        return int(digest(name.encode("utf-8"))[:15], 16) % self.count == self.index - 1

    def of(self, dataset: Dataset) -> Dataset:
        """Return the photos of this part, in their order."""
        return dataset.subset([name for name in dataset.names if self.takes(name)])
