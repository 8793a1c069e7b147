"""Keeps the best checkpoint: by one score, or by the maps among the epochs that are accurate enough."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from camtrain.messages import checked_fraction

ACCURACY = "val/accuracy"


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which can also choose the best maps among the most accurate epochs.

    With `accuracy_margin`, the best epoch is the one with the best `monitor` among those whose `val/accuracy` is at
    most the margin below the best accuracy so far. Epochs that may still become the best one are kept, and the others
    removed: an epoch goes when it is too inaccurate, or when another one is at least as accurate and has a better
    score. Epochs in which the score was not measured are left out.

    Args:
        accuracy_margin: The accuracy that the best epoch may lose, a fraction such as 0.01; null chooses by `monitor`
            alone, as `ModelCheckpoint` does.
        **kwargs: The arguments of `ModelCheckpoint`, such as `monitor` and `mode`.

    Raises:
        ValueError: If `accuracy_margin` is not in [0, 1), or `save_top_k` is not 1 beside it.

    Example:
        >>> BestCheckpoint(0.01, monitor="val/insertion_auc/grad_cam", mode="max").accuracy_margin
        0.01
    """

    def __init__(self, accuracy_margin: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if accuracy_margin is not None:
            checked_fraction("accuracy_margin", accuracy_margin, one=False)
            if self.monitor is None or self.save_top_k != 1:
                raise ValueError(
                    "`accuracy_margin`: expected a `monitor` and save_top_k=1 beside it, got "
                    f"monitor={self.monitor} and save_top_k={self.save_top_k}"
                )
        self.accuracy_margin = accuracy_margin
        self._accuracies: dict[str, float] = {}  # by the name of the file, which a move does not change

    @property
    def state_key(self) -> str:
        """That of `ModelCheckpoint`, so that runs of an earlier version can be resumed."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def state_dict(self) -> dict[str, Any]:
        """The state of `ModelCheckpoint`, and the accuracies of the epochs that are kept."""
        return {**super().state_dict(), "accuracies": self._accuracies}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state."""
        super().load_state_dict(state_dict)
        self._accuracies = dict(state_dict.get("accuracies", {}))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the score of an earlier epoch, which is no score of this one."""
        if self.accuracy_margin is not None and self.monitor is not None:
            trainer.callback_metrics.pop(self.monitor, None)

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        if self.accuracy_margin is not None and self.best_k_models and self.monitor not in monitor_candidates:
            return
        super()._save_topk_checkpoint(trainer, monitor_candidates)

    def _save_monitor_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        if self.accuracy_margin is None:
            super()._save_monitor_checkpoint(trainer, monitor_candidates)
            return
        assert self.monitor is not None
        score, accuracy = monitor_candidates.get(self.monitor), monitor_candidates.get(ACCURACY)
        if score is None:
            return
        if accuracy is None:
            raise MisconfigurationException(f"`checkpoint.accuracy_margin`: nothing is logged as {ACCURACY!r}")
        path = self._get_metric_interpolated_filepath_name(monitor_candidates, trainer)
        self.current_score = score
        self.best_k_models[path] = score
        self._accuracies[Path(path).name] = float(accuracy)
        dropped = self._choose()
        if path not in dropped:
            self._save_checkpoint(trainer, path)
        for other in dropped:
            if other != path and self._should_remove_checkpoint(trainer, other, path):
                self._remove_checkpoint(trainer, other)

    def _choose(self) -> list[str]:
        """Choose the best of the epochs, and forget those that can no longer become it; their paths."""
        sign = -1.0 if self.mode == "min" else 1.0
        points = {
            path: (self._accuracies.get(Path(path).name, -math.inf), _rank(sign * float(score)))
            for path, score in self.best_k_models.items()
        }
        assert self.accuracy_margin is not None
        least = max(accuracy for accuracy, _ in points.values()) - self.accuracy_margin
        kept = [path for path, point in points.items() if point[0] >= least and not _is_beaten(path, points)]
        dropped = [path for path in points if path not in kept]
        for path in dropped:
            del self.best_k_models[path]
            self._accuracies.pop(Path(path).name, None)
        self.best_model_path = max(kept, key=lambda path: points[path][1])
        self.best_model_score = self.best_k_models[self.best_model_path]
        self.kth_best_model_path = min(kept, key=lambda path: points[path][1])
        self.kth_value = self.best_k_models[self.kth_best_model_path]
        return dropped


def choosing_callback(trainer: Trainer) -> Any:
    """The callback that chooses the best checkpoint of a run; `None` if no checkpoints are written.

    Lightning's `checkpoint_callback` is the first one, which may be a further one of a configuration that keeps every
    tenth epoch.
    """
    return next((each for each in trainer.checkpoint_callbacks if isinstance(each, BestCheckpoint)), None) or (
        trainer.checkpoint_callback
    )


def _is_beaten(path: str, points: dict[str, tuple[float, float]]) -> bool:
    """Whether another epoch is at least as accurate and has a better score, or came before with the same of both."""
    accuracy, score = points[path]
    paths = list(points)
    return any(
        other[0] >= accuracy
        and (other[1] > score or (other[1] == score and (other[0] > accuracy or paths.index(name) < paths.index(path))))
        for name, other in points.items()
        if name != path
    )


def _rank(score: float) -> float:
    return -math.inf if math.isnan(score) else score
