"""Training that changes nothing but the head of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.nn import Parameter

from camtrain.callbacks.network_of import network_of
from camtrain.messages import nearest_names
from camtrain.networks import last_linear


class HeadRefitter(Callback):
    """Trains the head of a network, and leaves everything else as it is, bit for bit.

    All other parameters are frozen. All other modules are in evaluation mode during training steps, whatever sets them
    to training mode: BatchNorm normalizes by its running statistics and does not update them, and dropout is off. The
    head therefore sees the features that it sees in evaluation. After training, parameters and modules are as trainable
    as before.

    Start from a trained network with `initial_weights` or `weights` of `Classifier`. With `classification_loss:
    binary_cross_entropy`, this is the linear probe of "How to Probe", which finds that such a head has maps that are
    more specific to their class than one trained with cross-entropy on the same frozen backbone.

    Lightning's `BaseFinetuning` freezes parameters, too, but leaves the frozen modules in training mode: dropout stays
    on, and BatchNorm normalizes by the statistics of the batch.

    Args:
        layers: The dotted names of the modules that are the head, such as `fc`, or `classifier` for a head of several
            layers; null is the last linear layer (see `camtrain.networks.last_linear`).
        reset: Whether the head begins with new random weights, as a probe does. A head that is not reset keeps what its
            weights share among the classes, which cross-entropy does not see and binary cross-entropy has to unlearn.

    Raises:
        ValueError: When training begins: if the network has no linear layer and `layers` names none, or there is no
            module of a name in `layers`, or these modules have no parameters.

    Source:
        Gairola et al., How to Probe: Simple Yet Effective Techniques for Improving Post-hoc Explanations, ICLR 2025,
        arXiv 2503.00641.

    Example:
        >>> from pytorch_lightning import Trainer
        >>> trainer = Trainer(callbacks=[HeadRefitter()], max_epochs=3)  # doctest: +SKIP
    """

    def __init__(self, layers: Sequence[str] | None = None, reset: bool = True) -> None:
        if isinstance(layers, str) or (layers is not None and not layers):
            raise ValueError(f"`layers`: expected a list of names of modules, or None, got {layers!r}")
        self.layers = None if layers is None else list(layers)
        self.reset = reset
        self._required_grad: list[tuple[Parameter, bool]] = []
        self._were_training: list[tuple[nn.Module, bool]] = []
        self._frozen: list[nn.Module] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze the network before the optimizer is made, and reset its head."""
        if stage != "fit":
            return
        network = network_of(pl_module)
        of_heads = self._modules_of_heads(network)
        trained = {parameter for module in of_heads for parameter in module.parameters()}
        if not trained:
            raise ValueError(f"`layers`: expected modules with parameters, got {self.layers}, which have none")
        self._required_grad = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
        for parameter in network.parameters():
            parameter.requires_grad_(parameter in trained)
        if self.reset:
            _reset(of_heads)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put what is frozen in evaluation mode.

        Not sooner: Lightning would warn about it, and `sync_batchnorm` replaces layers after `setup`.
        """
        network = network_of(pl_module)
        of_heads = set(self._modules_of_heads(network))
        self._frozen = [module for module in network.modules() if module not in of_heads]
        self._were_training = [(module, module.training) for module in self._frozen]
        self._to_evaluation()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put it in evaluation mode again, in case that `train()` was called."""
        self._to_evaluation()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make parameters and modules as trainable as before."""
        for parameter, required_grad in self._required_grad:
            parameter.requires_grad_(required_grad)
        for module, was_training in self._were_training:
            module.training = was_training
        self._required_grad, self._were_training, self._frozen = [], [], []

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Do so as well after an error."""
        self.teardown(trainer, pl_module, "fit")

    def _to_evaluation(self) -> None:
        for module in self._frozen:
            module.training = False

    def _modules_of_heads(self, network: nn.Module) -> list[nn.Module]:
        heads = [network.get_submodule(name) for name in self._names(network)]
        return [module for head in heads for module in head.modules()]

    def _names(self, network: nn.Module) -> list[str]:
        if self.layers is None:
            name = last_linear(network)
            if name is None:
                raise ValueError(f"`layers`: {type(network).__name__} has no linear layer; name the layers of its head")
            return [name]
        known = [name for name, _ in network.named_modules() if name]
        for name in self.layers:
            if name not in known:
                raise ValueError(f"`layers`: no module is called {name!r}; {nearest_names(name, known)}")
        return self.layers


def _reset(modules: Sequence[nn.Module]) -> None:
    """Draw the parameters of modules anew."""
    for module in modules:
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif any(True for _ in module.parameters(recurse=False)):
            raise ValueError(
                f"`reset`: expected heads whose modules have a method reset_parameters, got {type(module).__name__}; "
                "reset=False goes on with its parameters"
            )
