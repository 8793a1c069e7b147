#!/usr/bin/env bash
# Trains on real images for a few epochs and writes results.csv, the README's table and panel.png.
# Call it from the root of the repository, in the environment that `make demo` makes. Needs data/oxford-iiit-pet (three
# breeds: Abyssinian, Bengal, American Bulldog) and data/cifar100/{train,test}/<class>/*, and about an hour on two cores.
set -euo pipefail
engine="--model.engine camtrain.gradients.DoubleBackprop"  # the default when these runs were made
export OMP_NUM_THREADS=1  # sums depend on the number of threads

for seed in 0 1 2; do
    camtrain fit --config configs/pets_resnet18_interpretable_gradient.yaml --seed_everything "$seed" \
        $engine --trainer.max_epochs 6 --data.image_size 112 --run.name "first_light/pets_resnet18_seed$seed"
done
for network in resnet18 mobilenet_v2; do
    camtrain fit --config "configs/cifar100_${network}_interpretable_gradient.yaml" \
        --data camtrain.data.ImageFolderData --data.root data/cifar100 --data.image_size 32 --data.augmentation crop_flip \
        --data.mean '[0.5071, 0.4865, 0.4409]' --data.std '[0.2673, 0.2564, 0.2762]' \
        --data.classes '[apple, bear, bicycle, bottle, bridge, castle, clock, cup, orchid, tiger]' \
        $engine --trainer.max_epochs 1 --run.name "first_light/cifar100_10_classes_${network}_seed0"
done
python -m experiments.results_table experiments/first_light \
    "pets, 3 breeds, ResNet-18 at 112 px, 6 epochs=runs/first_light/pets_resnet18_seed*" \
    "CIFAR-100, 10 classes, ResNet-18, 1 epoch=runs/first_light/cifar100_10_classes_resnet18_seed*" \
    "CIFAR-100, 10 classes, MobileNet-V2, 1 epoch=runs/first_light/cifar100_10_classes_mobilenet_v2_seed*"
cp "$(ls -t runs/first_light/pets_resnet18_seed0/version_*/panels/test.png | head -1)" experiments/first_light/panel.png
