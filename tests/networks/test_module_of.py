"""Which module is found in what is called a network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from camtrain.networks import module_of


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Identity()


def test_a_module_is_itself_and_other_objects_are_unwrapped():
    module = Wrapped()
    assert module_of(module) is module
    assert module_of(SimpleNamespace(network=module)) is module


@pytest.mark.parametrize("other", [None, SimpleNamespace(network="resnet18"), lambda images: images])
def test_anything_else_is_refused(other):
    with pytest.raises(TypeError, match=f"`network`: expected an nn.Module, or .*, got {type(other).__name__}"):
        module_of(other)
