"""A validation figure that stays low although the training goes on is said once, and the training goes on."""

import logging
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

log = logging.getLogger(__name__)


class LowFigureAlarm(Callback):
    """Warns when a figure of the validation stays at or below a limit, with its value and what to look at.

    Once in a process: a resumed run counts anew. Figures are those of all ranks; a validation without this one does
    not count.

    Args:
        figure: its name in the log.
        meaning: what it means that it is low, and what to check: ends the sentence "<figure> was <value> at ...: ".
        limit: see above.
        of: a figure of which `limit` is a share; None: `limit` is in the figure's own units.
        patience: validations in a row.
        first_step: validations before this step, of the warm-up, do not count.
    """

    def __init__(
        self,
        figure: str,
        meaning: str,
        limit: float,
        of: str | None = None,
        patience: int = 3,
        first_step: int = 0,
    ):
        if patience < 1:
            raise ValueError(f"patience ({patience}) must be at least 1")
        self.figure, self.meaning, self.limit, self.of = figure, meaning, limit, of
        self.patience, self.first_step = patience, first_step
        self._low: list[float] = []
        self._warned = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures: dict[str, Any] = trainer.callback_metrics
        counts = trainer.state.fn == TrainerFn.FITTING and trainer.global_step >= self.first_step
        if not counts or self.figure not in figures:
            return
        value = float(figures[self.figure])
        limit = self.limit * float(figures[self.of]) if self.of else self.limit
        self._low = [*self._low, value] if value <= limit else []
        if len(self._low) >= self.patience and not self._warned and trainer.is_global_zero:
            self._warned = True
            values = ", ".join(f"{value:.3g}" for value in self._low)
            log.warning(
                "%s was %s at the last %d validations (limit %.3g), step %d: %s",
                *(self.figure, values, len(self._low), limit, trainer.global_step, self.meaning),
            )
