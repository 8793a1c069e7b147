"""Lightning data modules, whose loaders yield `camtrain.batch.Batch`."""

from camtrain.data.cifar import CIFAR10, CIFAR100
from camtrain.data.coco import COCO
from camtrain.data.cub import CUB
from camtrain.data.decoy_digits import DecoyDigits
from camtrain.data.decoy_mnist import DecoyMNIST
from camtrain.data.hide_and_seek import HideAndSeek
from camtrain.data.image_data_module import ImageDataModule
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.image_folder import ImageFolderData
from camtrain.data.oxford_pet import OxfordPet
from camtrain.data.plant_decoy import PlantDecoy
from camtrain.data.squash import Squash
from camtrain.data.voc import VOC
from camtrain.data.waterbirds import Waterbirds
from camtrain.data.wsol import WSOLData
from camtrain.pixel_format import PixelFormat

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "COCO",
    "CUB",
    "VOC",
    "DecoyDigits",
    "DecoyMNIST",
    "HideAndSeek",
    "ImageDataModule",
    "ImageFile",
    "ImageFileSamples",
    "ImageFolderData",
    "OxfordPet",
    "PixelFormat",
    "PlantDecoy",
    "Squash",
    "WSOLData",
    "Waterbirds",
]
