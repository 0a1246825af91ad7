"""Share the images among several processes or machines, as torchrun starts them. Each image goes to one process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.processes import gather

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=30)  # for the slowest process, whose images may take long


@dataclass(frozen=True)
class ProcessShare:
    """The part of the work that belongs to this process.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        local_count: number of processes on this machine.
        connected: whether the processes can communicate, as under torchrun.
    """

    rank: int = 0
    count: int = 1
    local_count: int = 1
    connected: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ProcessShare:
        """Return the share that RANK and WORLD_SIZE define. Without them there is one process.

        Raises:
            CompSRTError: only one of the two is set, or the values are invalid.
        """
        environment = os.environ if environment is None else environment
        if "RANK" not in environment and "WORLD_SIZE" not in environment:
            return cls()
        found = [environment.get(name, "") for name in ("RANK", "WORLD_SIZE")]
        rank, count = (int(text) if text.isdecimal() else -1 for text in found)
        if not 0 <= rank < count:
            raise CompSRTError(
                f"RANK is {found[0]!r} and WORLD_SIZE {found[1]!r} in the environment",
                allowed="0 to WORLD_SIZE - 1, as torchrun sets them",
            )
        local = environment.get("LOCAL_WORLD_SIZE", "1")
        connected = count > 1 and "MASTER_ADDR" in environment
        return cls(rank, count, int(local) if local.isdecimal() and int(local) else 1, connected)

    def of(self, items: Sequence[Item], weights: Sequence[float]) -> list[Item]:
        """Return the items of this process, in their given order.

        Items are dealt to the processes by falling weight, so that all have about the same amount of work.

        Args:
            items: all items; the same in every process.
            weights: the work that each item takes, in any unit.
        """
        order = sorted(range(len(items)), key=lambda index: (-weights[index], index))
        # Dealt back and forth (0 1 1 0 …). Otherwise the first process would always get the larger item.
        dealt = [index for turn, index in enumerate(order) if self.rank == _dealt_to(turn, self.count)]
        return [items[index] for index in sorted(dealt)]

    def connect(self) -> None:
        """Connect to the other processes, if they can communicate."""
        if self.connected:
            from torch import distributed

            distributed.init_process_group("gloo", timeout=LONGEST_WAIT)

    def gathered(self, value: Item) -> list[Item]:
        """Return the values of all processes after all have called this, or only this one's if not connected.

        torchrun ends all processes when one fails, so a failing process must wait here for the others to finish.
        """
        return gather(value)


def _dealt_to(turn: int, count: int) -> int:
    place = turn % (2 * count)
    return min(place, 2 * count - 1 - place)
