"""Many pictures over several processes or machines, as torchrun starts them: every picture is one process's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.processes import gather

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=30)  # for the slowest process: its pictures may take long


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's.

    Attributes:
        rank: number of this process, from 0.
        count: how many processes there are.
        local_count: how many of them run on this machine.
        connected: whether they can talk to each other (torchrun sees to it).
    """

    rank: int = 0
    count: int = 1
    local_count: int = 1
    connected: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Share:
        """Read RANK and WORLD_SIZE; without them there is one process.

        Raises:
            CompSRTError: one of the two is missing, or they make no sense.
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
        """Return this process's items: dealt round in falling order of weight, so that all have about as much to do.

        Every process must be given the same items; the result is in their order.
        """
        order = sorted(range(len(items)), key=lambda index: (-weights[index], index))
        # there and back again (0 1 1 0 …), or the first would always get the larger one
        dealt = [index for turn, index in enumerate(order) if self.rank == _dealt_to(turn, self.count)]
        return [items[index] for index in sorted(dealt)]

    def connect(self) -> None:
        """Meet the other processes, if they can be met."""
        if self.connected:
            from torch import distributed

            distributed.init_process_group("gloo", timeout=LONGEST_WAIT)

    def everyones(self, value: Item) -> list[Item]:
        """Return the values of all processes once all have come here; of this one alone where they cannot talk.

        torchrun ends all processes as soon as one of them fails: nobody may leave before the last has finished.
        """
        return gather(value)


def _dealt_to(turn: int, count: int) -> int:
    place = turn % (2 * count)
    return min(place, 2 * count - 1 - place)
