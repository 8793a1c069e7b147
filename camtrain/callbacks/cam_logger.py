"""Writes panels of maps and gradients, epoch by epoch."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn

from camtrain.batch import Batch
from camtrain.callbacks.epoch_panels import epoch_panels, wandb_image
from camtrain.callbacks.every_n_epochs import EveryNEpochs
from camtrain.callbacks.explained_images import explained_images
from camtrain.callbacks.fixed_images import fixed_images
from camtrain.callbacks.logged_picture import log_picture
from camtrain.callbacks.network_of import network_of, why_no_layer
from camtrain.callbacks.run_folder import run_folder
from camtrain.callbacks.wandb_loggers import log_to_wandb
from camtrain.cams import GradCAM
from camtrain.class_names import names_in_use
from camtrain.files import CannotWriteError, whole_file
from camtrain.messages import checked_integer
from camtrain.pictures import Panel, contact_sheet, denormalized, write_png

_LARGEST_FILE = 500_000  # bytes; a sheet of eight photographs at the usual size keeps 5 of 8 bits


class CAMLogger(Callback):
    """Shows what the network looks at: a panel for each of a few fixed images, as PNG and in the loggers of the run.

    A panel is image | Grad-CAM for the true class | Grad-CAM for the predicted class | input gradient | guided
    gradient, with ground-truth boxes on the first three tiles. Without labels, the tile of the true class is left out.
    If images may show several classes, there is a tile for each that the image shows, at most the three most probable.
    If the network has no ReLU-like activation, there is no guided gradient, and its tile says so.

    The images are evenly spaced over the data set of the stage, and the same in every epoch for any sampler and any
    number of processes. (An iterable data set cannot be read by index, so the images are the first of its first batch.
    If there are several loaders, the first one is used.) Panels are made in the validation of fit, and once in
    validate, test and predict. They are written to `panels/val_epoch_<k>.png`, outside of fit to `panels/<stage>.png`,
    in the folder of the run. A `WandbLogger` also gets them as `<stage>/panels`, with W&B's own box overlays. Other
    loggers that take pictures, those of TensorBoard and MLflow among them, get the sheet under the same name.

    The network is explained in evaluation mode, in the first process only, and left as found. If no layer has a map, as
    in a network of linear layers, the callback says so and does nothing. `fast_dev_run` makes panels without writing
    them; the sanity check makes none.

    Args:
        num_images: The number of images that have a panel; 0 makes no panels.
        every_n_epochs: In fit, panels are made in the first validation, then every this many epochs, and in the last
            validation, unless something other than `max_epochs` or `max_steps` ends the training.
        target_layer: Dotted name of the layer whose map is shown; null finds the last spatial layer.

    Raises:
        ValueError: If a number is too small, or, when a stage begins, if the network has no layer of that name.
        TypeError: When a stage begins, if the module has no `network`.
    """

    def __init__(self, num_images: int = 8, every_n_epochs: int = 1, target_layer: str | None = None) -> None:
        self.num_images = checked_integer("num_images", num_images, at_least=0)
        self.schedule = EveryNEpochs(every_n_epochs)
        self.target_layer = target_layer
        self._images: dict[str, Batch] = {}
        self._first_batch: Batch | None = None
        self._said: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the module, agree on the folder, and forget the images of an earlier run."""
        GradCAM(network_of(pl_module), self.target_layer)  # raises if there is no such layer
        self._folder = run_folder(trainer) / "panels"
        self._forget()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the images."""
        self._forget()

    def _forget(self) -> None:
        self._images = {}
        self._first_batch = None
        self.schedule.reset()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep the first images, in case the data set cannot be read by index."""
        self._keep(trainer, batch, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep the first images, in case the data set cannot be read by index."""
        self._keep(trainer, batch, batch_idx, dataloader_idx)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep the first images, in case the data set cannot be read by index."""
        self._keep(trainer, batch, batch_idx, dataloader_idx)

    def _keep(self, trainer: Trainer, batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        if self._first_batch is None and batch_idx == dataloader_idx == 0 and trainer.is_global_zero:
            first = Batch.of(batch)
            self._first_batch = first.subset(range(min(self.num_images, len(first))))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make panels if they are due."""
        if not trainer.sanity_checking and self.schedule.is_due(trainer):
            self._log(trainer, pl_module, "val")
            self.schedule.done(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make panels of test images."""
        self._log(trainer, pl_module, "test")

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make panels of the images to predict."""
        self._log(trainer, pl_module, "predict")

    def _log(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.is_global_zero or self.num_images == 0:
            return
        if stage not in self._images:
            images = fixed_images(trainer, pl_module, stage, self.num_images) or self._first_batch
            if images is None:
                return
            self._images[stage] = images
        if why := why_no_layer(network_of(pl_module), self._images[stage].images, self.target_layer):
            self._say_once(f"it is idle. {why}")
            return
        made, class_names, classes = self._panels(trainer, pl_module, self._images[stage])
        # Outside of fit, the epoch is not that of the checkpoint.
        fitting = trainer.state.fn == TrainerFn.FITTING
        sheet = contact_sheet(made, f"{stage}, epoch {trainer.current_epoch}" if fitting else stage)
        if getattr(trainer, "fast_dev_run", False):
            return
        name = f"{stage}_epoch_{trainer.current_epoch}.png" if fitting else f"{stage}.png"
        try:
            with whole_file(self._folder / name) as unfinished:
                write_png(sheet, unfinished, _LARGEST_FILE)
        except CannotWriteError as error:  # no reason to end a training
            self._say_once(f"there are no panels of some epochs. {error}")
        log_picture(trainer, f"{stage}/panels", sheet)
        log_to_wandb(trainer, lambda: {f"{stage}/panels": [wandb_image(panel, class_names, classes) for panel in made]})

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            rank_zero_warn(f"CAMLogger: {message}")

    def _panels(
        self, trainer: Trainer, pl_module: LightningModule, images: Batch
    ) -> tuple[list[Panel], list[str] | None, int]:
        several = bool(getattr(pl_module, "several_labels", False))
        explained = explained_images(network_of(pl_module), images, self.target_layer, several_labels=several)
        if explained.unguided:
            self._say_once(f"the panels have no guided gradient. {explained.unguided}")
        data: Any = getattr(trainer, "datamodule", None)
        class_names = names_in_use(pl_module, data)
        pictures = denormalized(images.images, data)
        return epoch_panels(explained, pictures, class_names), class_names, explained.probabilities.shape[1]
