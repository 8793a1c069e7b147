"""The network that a user means, with its preprocessing and class names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from camtrain.files import local_path
from camtrain.gradients.seeded import seeded
from camtrain.loading.checkpoint import classifier_in, config_of, lacks_network, settings_in
from camtrain.loading.data_preprocessing import data_preprocessing
from camtrain.loading.exported_folder import CONFIG, exported_folder, read_exported
from camtrain.loading.load_data import configuration_in
from camtrain.loading.named_network import is_own, named_network
from camtrain.loading.preprocessing_steps import preprocessing_of
from camtrain.loading.weights_preprocessing import assumed_preprocessing, assumptions, weights_preprocessing
from camtrain.messages import CamtrainWarning, checked_seed
from camtrain.networks.checkpoint_file import checkpoint_in
from camtrain.networks.loaded_network import LoadedNetwork
from camtrain.networks.preprocessing import GivenPreprocessing


def load_network(
    checkpoint: str | Path | None = None,
    *,
    name: str | None = None,
    weights: str | None = None,
    network: nn.Module | None = None,
    config: str | Path | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str = "auto",
    seed: int = 0,
) -> LoadedNetwork:
    """A network in evaluation mode with its preprocessing, class names and title.

    Args:
        checkpoint: A checkpoint of `camtrain fit`, or the folder of a run, whose best checkpoint is taken. How images
            are prepared and what classes are called is read from the `config.yaml` of its run. Or the folder of
            `camtrain export`, which says all of that itself.
        name: The name of a network, instead of a checkpoint: `resnet50` of torchvision, `timm:NAME` of timm (`pip
            install 'camtrain[timm]'`), or `MODULE.FUNCTION`, a function of yours that makes a network. With a
            checkpoint only if its network was built in Python, which a checkpoint does not hold.
        weights: The weights of a network given by name: published ones such as `DEFAULT`, downloaded if need be, or a
            file of them, `.safetensors`, `.pth` or `.pt`. The default is random weights.
        network: A module, instead of `name`, for a checkpoint whose network was built in Python.
        config: The configuration of a run, the folder of a run, or a checkpoint in one, whose data module says how
            images are prepared. The default is the `config.yaml` of the checkpoint's run.
        size: Height and width in pixels that images are scaled and cropped to, at the center. The default is the
            network's.
        mean: Mean of images in [0, 1] by which they are normalized, a number for each channel. The default is the
            network's.
        std: Standard deviation of images in [0, 1], a number for each channel. The default is the network's.
        device: Where the network is put: `auto` (a GPU if there is one), `cpu`, `cuda`, ...
        seed: The seed of random weights and, in commands, of noise and of the bootstrap.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a name is unknown, arguments do not go together, the checkpoint does not fit, or the network
            cannot be run.
        TypeError: If your own function does not make a network.
        OSError: If weights cannot be downloaded.

    Example:
        >>> network = load_network(name="cifar_resnet8", weights=None, device="cpu")  # doctest: +SKIP
        >>> network.num_classes  # doctest: +SKIP
        10
    """
    given = GivenPreprocessing(size, mean, std)
    checked_seed("seed", seed)
    where = chosen_device(device)
    configuration = None if config is None else configuration_in(local_path(config, "config"))
    if checkpoint is not None:
        if weights is not None:
            raise ValueError(f"`weights`: expected none beside the weights of a checkpoint, got {weights!r}")
        loaded = _from_checkpoint(local_path(checkpoint, "checkpoint"), name, network, configuration, given)
    elif network is not None:
        raise ValueError("`network`: expected a checkpoint with the weights of the network")
    elif name is None:
        raise ValueError("`checkpoint`: expected a checkpoint, or `name` with or without `weights`")
    else:
        with seeded(seed, torch.device("cpu")):
            loaded = _by_name(name, weights, configuration, given)
    for remark in loaded.remarks:
        warnings.warn(remark, CamtrainWarning, stacklevel=2)
    return loaded.on(where)


def needs_name(checkpoint: str | Path, config: Path | None = None) -> bool:
    """Whether a checkpoint or an exported folder does not say what its network is, so that `load_network` needs `name`.

    Args:
        checkpoint: As `load_network` takes it.
        config: A configuration that may name the code of the network.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it is none.
    """
    path = local_path(checkpoint, "checkpoint")
    if (folder := exported_folder(path)) is not None:
        return lacks_network(read_exported(folder).settings, None)
    path = checkpoint_in(path)
    return lacks_network(settings_in(path), config or config_of(path))


def chosen_device(device: str) -> torch.device:
    """The device of a name; `auto` is a GPU if there is one.

    Raises:
        ValueError: If no kind of device is called that.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"`device`: cannot use {device!r}: {error}") from error


def _by_name(name: str, weights: str | None, config: Path | None, given: GivenPreprocessing) -> LoadedNetwork:
    network = named_network(name, None, weights)
    is_random = weights is None and not is_own(name)
    remarks = (
        [f"{name} has random weights, so that its maps mean nothing; pass `weights` or `checkpoint`"]
        if is_random
        else []
    )
    title = ", ".join([name, *([weights] if weights else []), *(["random weights"] if is_random else [])])
    prepared = data_preprocessing(config, given) if config else weights_preprocessing(name, network, weights, given)
    return LoadedNetwork(network.eval(), title, *prepared, remarks=remarks)


def _from_checkpoint(
    path: Path, name: str | None, network: nn.Module | None, config: Path | None, given: GivenPreprocessing
) -> LoadedNetwork:
    if name is not None and network is not None:
        raise ValueError(f"`network`: expected none beside `name`, got {type(network).__name__}")

    def make(num_classes: int) -> nn.Module:
        return network if name is None else named_network(name, num_classes)  # type: ignore[return-value]

    make_network = make if name is not None or network is not None else None
    if (folder := exported_folder(path)) is not None:
        return _from_exported(folder, make_network, config, given)
    path = checkpoint_in(path)
    classifier = classifier_in(path, make_network, config)
    config = config or config_of(path)
    if config is None:
        preprocessing, names = assumed_preprocessing(classifier.network, given), None
    else:
        preprocessing, names = data_preprocessing(config, given)
    # The data may have changed since the training.
    rest = {"class_names": classifier.class_names or names, "several_labels": classifier.several_labels}
    return LoadedNetwork(classifier.network.eval(), str(path), preprocessing, **rest)  # type: ignore[arg-type]


def _from_exported(
    folder: Path, make_network: Callable[[int], nn.Module] | None, config: Path | None, given: GivenPreprocessing
) -> LoadedNetwork:
    if config is not None:
        raise ValueError(f"`config`: expected none beside {folder}, whose {CONFIG} says how images are prepared")
    exported = read_exported(folder)
    classifier = exported.classifier(make_network)
    try:
        preprocessing = preprocessing_of(exported.preprocessing, given, assumptions(classifier.network, given))
    except ValueError as error:
        raise ValueError(f"`checkpoint`: {folder / CONFIG}: {error}") from error
    rest = {"class_names": exported.class_names, "several_labels": classifier.several_labels}
    return LoadedNetwork(classifier.network.eval(), str(folder), preprocessing, **rest)  # type: ignore[arg-type]
