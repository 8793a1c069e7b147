"""From logits to probabilities: of classes that exclude each other, of independent classes, and of a single logit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def with_both_classes(logits: Tensor) -> Tensor:
    """The logits of at least two classes.

    A single logit z answers a question with yes or no, with the probabilities σ(z) of yes and 1 − σ(z) of no. It
    becomes the two logits (−z/2, z/2), whose softmax they are: class 0 is no, class 1 is yes.

    Args:
        logits: (N, K).

    Returns:
        (N, K), the same tensor; (N, 2) where K is 1.

    Example:
        >>> with_both_classes(torch.tensor([[3.0]])).softmax(dim=1)[:, 1], torch.sigmoid(torch.tensor([3.0]))
        (tensor([0.9526]), tensor([0.9526]))
    """
    return torch.cat([-logits / 2, logits / 2], dim=1) if logits.shape[1] == 1 else logits


def class_probabilities(logits: Tensor, *, independent: bool = False) -> Tensor:
    """The probability of each class: the softmax of the logits, or the sigmoid of each logit by itself.

    Args:
        logits: (N, K).
        independent: Whether an image may show several classes, so that each logit answers a question of its own.

    Returns:
        (N, K); of a single logit z, (N, 2): 1 − σ(z) for class 0 and σ(z) for class 1.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0]])
        >>> class_probabilities(logits), class_probabilities(logits + 2, independent=True)
        (tensor([[0.5000, 0.5000]]), tensor([[0.8808, 0.8808]]))
    """
    if independent and logits.shape[1] > 1:
        return logits.sigmoid()
    return with_both_classes(logits).softmax(dim=1)


def log_probabilities(logits: Tensor, classes: Tensor, *, independent: bool = False) -> Tensor:
    """The log-probability of one class of each image, (N,).

    Args:
        logits: (N, K).
        classes: (N,) class indices.
        independent: As for `class_probabilities`.

    Example:
        >>> log_probabilities(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor([-0.6931])
    """
    if independent and logits.shape[1] > 1:
        return F.logsigmoid(logits).gather(1, classes.unsqueeze(1)).squeeze(1)
    return -F.cross_entropy(with_both_classes(logits), classes, reduction="none")


def log_odds(logits: Tensor, classes: Tensor, *, independent: bool = False) -> Tensor:
    """The log-odds of one class of each image, log p − log(1 − p), finite also where p rounds to 1.

    With o the log-odds, −log p = softplus(−o) and −log(1 − p) = softplus(o), whose slopes are at most 1.

    Args:
        logits: (N, K).
        classes: (N,) class indices.
        independent: As for `class_probabilities`.

    Returns:
        (N,): the logit minus log Σ exp of the others; the logit itself of an independent class.

    Example:
        >>> log_odds(torch.tensor([[500.0, 0.0, 0.0]]), torch.tensor([0]))
        tensor([499.3069])
        >>> log_odds(torch.tensor([[2.0]]), torch.tensor([0]))  # class 0 of a single logit
        tensor([-2.])
    """
    index = classes.unsqueeze(1)
    if independent and logits.shape[1] > 1:
        return logits.gather(1, index).squeeze(1)
    both = with_both_classes(logits)
    return both.gather(1, index).squeeze(1) - both.scatter(1, index, -torch.inf).logsumexp(dim=1)


def total_log_probability(logits: Tensor, *, independent: bool = False) -> Tensor:
    """The log-probabilities of everything that an image may be, added up, (N,).

    Σ_k log p_k; of independent classes Σ_k [log σ(z_k) + log(1 − σ(z_k))].

    Args:
        logits: z, (N, K).
        independent: As for `class_probabilities`.

    Example:
        >>> total_log_probability(torch.tensor([[0.0, 0.0]]))
        tensor([-1.3863])
    """
    if independent and logits.shape[1] > 1:
        return (F.logsigmoid(logits) + F.logsigmoid(-logits)).sum(dim=1)
    return with_both_classes(logits).log_softmax(dim=1).sum(dim=1)
