"""The classifier with several labels per image, with balanced class weights, and with a network of a single logit."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Callback
from sklearn.metrics import average_precision_score, f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors

from camtrain import Classifier, evaluate, explain, load_network
from camtrain.callbacks import MixUp
from camtrain.cams import GradCAM
from camtrain.data import DecoyDigits
from camtrain.data.image_data_module import ImageDataModule
from camtrain.gradients import Against
from camtrain.networks import LoadedNetwork
from camtrain.objective import BinaryCrossEntropy, CrossEntropy
from tests.test_classifier import sgd, trainer

CLASSES = 3


def network_of(num_logits=CLASSES):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_logits))


def images_of(count=12):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def several(count=12, num_classes=CLASSES):
    labels = (torch.rand(count, num_classes, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    labels[0] = 0
    return labels


def loader(labels, batch_size=4):
    return DataLoader(TensorDataset(images_of(len(labels)), labels), batch_size=batch_size)


class Several(ImageDataModule):
    """Gray images, the first class in all of them, the second in every third, the last in half of them."""

    class_names = ("always", "seldom", "half")

    def samples(self, split):
        images = torch.randint(256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        labels = torch.stack([torch.ones(12), (torch.arange(12) % 3 == 0).float(), (torch.arange(12) % 2).float()], 1)
        return [{"image": tv_tensors.Image(image), "label": label} for image, label in zip(images, labels, strict=True)]


class Few(ImageDataModule):
    """Images of one label: 6 of class 0, 4 of class 1 and 2 of class 2."""

    class_names = ("a", "b", "c")
    labels = (0,) * 6 + (1,) * 4 + (2,) * 2

    def samples(self, split):
        image = tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.uint8))
        return [{"image": image, "label": label} for label in self.labels]


def test_training_with_several_labels_is_a_loop_by_hand(tmp_path):
    labels, network, twin = several(), network_of(), network_of()
    fitting = trainer(tmp_path)
    module = Classifier(network, CLASSES, classification_loss=BinaryCrossEntropy(over_classes="mean"), optimizer=sgd)
    fitting.fit(module, loader(labels, batch_size=12))
    before = twin(images_of())
    F.binary_cross_entropy_with_logits(before, labels).backward()
    for found, parameter in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, parameter - 0.1 * parameter.grad)
    right = (before.sigmoid() >= 0.5) == labels.bool()
    assert float(fitting.callback_metrics["train/accuracy"]) == pytest.approx(right.float().mean().item())


def test_mixed_images_of_several_labels_are_known_from_the_first_epoch_on(tmp_path):
    """Nothing has shown an unmixed label before; the labels of an image of two classes do not sum to 1."""
    logged = []

    class Note(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            logged.append(float(trainer.callback_metrics["train/accuracy"]))

    network = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES))
    nn.init.zeros_(network[1].weight)
    network[1].bias.data = torch.tensor([1.0, -1.0, -1.0])  # always yes, never the other two
    module = Classifier(network, CLASSES, classification_loss="binary_cross_entropy", optimizer=without_a_step)
    callbacks = [MixUp(probability=1.0), Note()]
    trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0, callbacks=callbacks).fit(module, Several(batch_size=4))
    assert module.several_labels
    # A third of all answers is about the class that every image shows, and right; the accuracy of one label is 1 here.
    assert len(logged) == 2
    assert all(1 / 3 <= accuracy < 1 for accuracy in logged)


def test_a_batch_of_single_labels_as_probabilities_is_no_second_kind_of_accuracy(tmp_path):
    """An augmentation may leave a batch unmixed, so that its labels are 0 and 1."""
    images, labels = images_of(), torch.arange(12) % CLASSES
    mixed = F.one_hot(labels, CLASSES).float()
    mixed[:8] = 0.9 * mixed[:8] + 0.1 * mixed[:8].roll(1, dims=0)
    module = Classifier(network_of(), CLASSES, classification_loss="binary_cross_entropy", optimizer=without_a_step)
    fitting = trainer(tmp_path, max_epochs=2)
    fitting.fit(module, DataLoader(TensorDataset(images, mixed), batch_size=4))
    assert 0 <= float(fitting.callback_metrics["train/accuracy"]) <= 1


def without_a_step(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


def test_scores_of_several_labels_are_those_of_scikit_learn(tmp_path):
    labels, network = several(), network_of()
    labels[:, 2] = 0  # a class that no image shows has no average precision
    module = Classifier(network, CLASSES, classification_loss="binary_cross_entropy", optimizer=sgd)
    (logged,) = trainer(tmp_path).validate(module, loader(labels), verbose=False)
    with torch.no_grad():
        probabilities = network(images_of()).sigmoid()
    said = probabilities >= 0.5
    precisions = [average_precision_score(labels[:, k], probabilities[:, k]) for k in range(2)]
    assert logged["val/mean_average_precision"] == pytest.approx(sum(precisions) / 2)
    assert [logged[f"val/average_precision_per_class/{k}"] for k in range(2)] == pytest.approx(precisions)
    assert logged["val/accuracy"] == pytest.approx((said == labels.bool()).float().mean().item())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        of_classes = [
            f1_score(labels[:, k], said[:, k]) for k in range(3) if bool((labels[:, k].bool() | said[:, k]).any())
        ]
    assert logged["val/f1"] == pytest.approx(sum(of_classes) / len(of_classes))
    assert not [key for key in logged if "top5" in key or "accuracy_per_class" in key or key.endswith("per_class/2")]
    assert logged["val/loss_classification"] == pytest.approx(
        F.binary_cross_entropy_with_logits(network(images_of()), labels, reduction="sum").item() / 12
    )


def test_predictions_of_several_labels_are_sigmoids_also_after_loading(tmp_path):
    labels, network, fitting = several(), network_of(), trainer(tmp_path)
    module = Classifier(network, CLASSES, classification_loss="binary_cross_entropy", optimizer=sgd)
    fitting.fit(module, loader(labels), loader(labels))
    fitting.save_checkpoint(tmp_path / "several.ckpt")
    expected = network(images_of()).sigmoid()
    loaded = Classifier.load_from_checkpoint(tmp_path / "several.ckpt", network=network_of())
    unlabeled = DataLoader(images_of(), batch_size=4)
    torch.testing.assert_close(torch.cat(trainer(tmp_path).predict(loaded, unlabeled)), expected)
    # Labels say it, too.
    fresh = Classifier(network, CLASSES, classification_loss="binary_cross_entropy")
    torch.testing.assert_close(torch.cat(trainer(tmp_path).predict(fresh, loader(labels))), expected)
    fresh = Classifier(network, CLASSES, classification_loss="binary_cross_entropy")
    torch.testing.assert_close(torch.cat(trainer(tmp_path).predict(fresh, unlabeled)), network(images_of()).softmax(1))


def test_cross_entropy_refuses_several_labels_in_the_first_step(tmp_path):
    module = Classifier(network_of(), CLASSES, optimizer=sgd)
    with pytest.raises(ValueError, match=r"`labels`: expected probabilities that sum to 1 .* binary_cross_entropy"):
        trainer(tmp_path).fit(module, loader(several()))


@pytest.mark.parametrize("kind", ["indices", "column"])
@pytest.mark.parametrize("num_classes", [1, 2])
def test_a_single_logit_is_trained_scored_and_predicts_as_yes_or_no(tmp_path, num_classes, kind):
    labels = torch.arange(12) % 3 // 2
    network, twin = network_of(1), network_of(1)
    module = Classifier(network, num_classes, classification_loss="binary_cross_entropy", optimizer=sgd)
    given = labels if kind == "indices" else labels.float().unsqueeze(1)
    fitting = trainer(tmp_path)
    fitting.fit(module, loader(given, batch_size=12))
    F.binary_cross_entropy_with_logits(twin(images_of()).squeeze(1), labels.float()).backward()
    for found, parameter in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, parameter - 0.1 * parameter.grad)
    (logged,) = fitting.validate(module, loader(given), verbose=False)
    logits = network(images_of()).squeeze(1)
    right = (logits > 0).long() == labels
    assert logged["val/accuracy"] == pytest.approx(right.float().mean().item())
    assert logged["val/accuracy_per_class/1"] == pytest.approx(right[labels == 1].float().mean().item())
    probabilities = torch.cat(fitting.predict(module, loader(given)))
    torch.testing.assert_close(probabilities, torch.stack([1 - logits.sigmoid(), logits.sigmoid()], dim=1))


def test_one_class_of_a_named_network_is_a_single_logit():
    module = Classifier("cifar_resnet8", 1, classification_loss="binary_cross_entropy")
    assert module(torch.rand(2, 3, 16, 16)).shape == (2, 1)


def test_the_frequencies_of_a_data_module():
    assert Few(batch_size=2).class_frequencies().tolist() == pytest.approx([6 / 12, 4 / 12, 2 / 12])
    assert Few(batch_size=2, balanced_classes=True).class_frequencies().tolist() == pytest.approx([1 / 3] * 3)
    assert Several(batch_size=2).class_frequencies().tolist() == pytest.approx([1, 1 / 3, 1 / 2])
    assert DecoyDigits().class_frequencies().sum().item() == pytest.approx(1)


def test_images_of_several_labels_are_batched_and_chosen_evenly():
    data = Several(batch_size=4)
    batch = next(iter(data.val_dataloader()))
    assert batch.labels.dtype == torch.float32
    assert batch.labels.tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 1]]
    with pytest.raises(ValueError, match="`balanced_classes`: expected false for images that may show several classes"):
        Several(batch_size=4, balanced_classes=True).train_dataloader()


def test_balanced_weights_are_computed_from_the_training_images(tmp_path):
    module = Classifier(network_of(), CLASSES, classification_loss=CrossEntropy("balanced"), optimizer=sgd)
    fitting = trainer(tmp_path)
    fitting.fit(module, datamodule=Few(batch_size=2))
    weights = module.objective.loss_function.class_weights.values
    assert weights.tolist() == pytest.approx([12 / 3 / 6, 12 / 3 / 4, 12 / 3 / 2])
    fitting.save_checkpoint(tmp_path / "balanced.ckpt")
    # With the checkpoint, no training images are needed.
    loaded = Classifier.load_from_checkpoint(
        tmp_path / "balanced.ckpt", network=network_of(), classification_loss=CrossEntropy("balanced")
    )
    (logged,) = trainer(tmp_path).validate(loaded, loader(torch.arange(12) % 3), verbose=False)
    assert logged["val/loss_classification"] > 0
    # Without one, they are computed where an untrained network is scored.
    fresh = Classifier(network_of(), CLASSES, classification_loss=CrossEntropy("balanced"))
    trainer(tmp_path).test(fresh, datamodule=Few(batch_size=2), verbose=False)
    torch.testing.assert_close(fresh.objective.loss_function.class_weights.values, weights)


def test_balanced_weights_of_several_labels_and_of_a_single_logit(tmp_path):
    class Two(Few):
        class_names = ("no", "yes")
        labels = (0,) * 9 + (1,) * 3

    module = Classifier(network_of(1), 2, classification_loss=BinaryCrossEntropy("balanced"), optimizer=sgd)
    trainer(tmp_path).fit(module, datamodule=Two(batch_size=12))
    labels, twin = torch.tensor(Two.labels).float(), network_of(1)
    images = next(iter(Two(batch_size=12).val_dataloader())).images
    expected = F.binary_cross_entropy_with_logits(twin(images).squeeze(1), labels, pos_weight=torch.tensor(3.0))
    expected.backward()
    torch.testing.assert_close(module.network[4].bias, twin[4].bias - 0.1 * twin[4].bias.grad)


def test_balanced_weights_need_the_training_images_of_every_class(tmp_path):
    def module():
        return Classifier(network_of(), CLASSES, classification_loss=CrossEntropy("balanced"), optimizer=sgd)

    with pytest.raises(ValueError, match=r"`classification_loss`: balanced weights need a data .* loaders without"):
        trainer(tmp_path).fit(module(), loader(torch.arange(12) % 3))

    class Missing(Few):
        labels = (0,) * 6 + (1,) * 6

    with pytest.raises(ValueError, match=r"`class_weights`: expected training images .* none of class 2"):
        trainer(tmp_path).fit(module(), datamodule=Missing(batch_size=2))


def test_a_loss_that_was_built_in_python_is_passed_again(tmp_path):
    module = Classifier(network_of(), CLASSES, classification_loss=BinaryCrossEntropy([1, 2, 3]), optimizer=sgd)
    fitting = trainer(tmp_path)
    fitting.fit(module, loader(several()))
    fitting.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.warns(UserWarning, match="trained with the classification loss binary_cross_entropy"):
        Classifier.load_from_checkpoint(tmp_path / "own.ckpt", network=network_of())
    loaded = Classifier.load_from_checkpoint(
        tmp_path / "own.ckpt", network=network_of(), classification_loss=BinaryCrossEntropy([1, 2, 3])
    )
    assert loaded.objective.loss_name == "binary_cross_entropy"
    torch.load(tmp_path / "own.ckpt", weights_only=True)


def test_functions_and_torchs_own_losses_are_trained(tmp_path):
    def squared(logits, labels):
        return (logits.sigmoid() - labels).square().mean()

    for loss in (squared, nn.BCEWithLogitsLoss(), nn.MultiLabelSoftMarginLoss()):
        module = Classifier(network_of(), CLASSES, classification_loss=loss, optimizer=sgd)
        fitting = trainer(tmp_path)
        fitting.fit(module, loader(several(), batch_size=12), loader(several()))
        twin = network_of()
        loss(twin(images_of()), several()).backward()
        torch.testing.assert_close(module.network[4].bias, twin[4].bias - 0.1 * twin[4].bias.grad)
        assert "val/mean_average_precision" in fitting.callback_metrics


def test_a_checkpoint_of_several_labels_is_explained_and_scored_with_sigmoids(tmp_path):
    torch.manual_seed(0)
    module = Classifier("cifar_resnet8", CLASSES, classification_loss="binary_cross_entropy", optimizer=sgd)
    data = DataLoader(TensorDataset(torch.rand(4, 3, 16, 16), several(4)), batch_size=4)
    fitting = trainer(tmp_path)
    fitting.fit(module, data, data)
    fitting.save_checkpoint(tmp_path / "several.ckpt")
    loaded = load_network(tmp_path / "several.ckpt", size=16, mean=(0.0,) * 3, std=(1.0,) * 3, device="cpu")
    assert loaded.several_labels
    images = torch.rand(2, 3, 16, 16)
    expected = loaded.network(images).sigmoid().detach()
    for row, explanation in enumerate(explain(loaded, images, progress=False)):
        torch.testing.assert_close(explanation.probabilities, expected[row])
    found = evaluate(loaded, [images], metrics="average_drop", progress=False)
    torch.testing.assert_close(found.found.scores, expected.amax(dim=1))


def test_a_single_logit_is_explained_as_yes_and_no():
    network, images = network_of(1).eval(), images_of(3)
    loaded = LoadedNetwork(network, "one", LoadedNetwork.of(network).preprocessing, class_names=["not owl", "owl"])
    assert loaded.on("cpu").num_classes == 2
    yes = network(images).sigmoid().squeeze(1).detach()
    for row, each in enumerate(explain(loaded.on("cpu"), images, "grad_cam", contrast=True, progress=False)):
        torch.testing.assert_close(each.probabilities, torch.stack([1 - yes[row], yes[row]]))
        assert each.prediction == ("owl" if yes[row] > 0.5 else "not owl")
        rest = "not owl" if yes[row] > 0.5 else "owl"
        assert f"rather than {rest} (" in each.maps[1].question.title
    cam = GradCAM(network, "0")
    against, no = (cam(images, Against(1)), cam(images, 0))
    torch.testing.assert_close(against, no)
    assert not torch.equal(cam(images, 1), no)
