#!/usr/bin/env bash
# Trains and scores the grid over λ for both networks, and copies the files that are committed. Call it from the root of the
# repository, in the environment of `make test`, with the number of runs at a time. If it was stopped, call it again to go on.
set -euo pipefail
for network in resnet20 mobilenet_v2; do
    study=runs/lambda_cifar100_$network
    camtrain ablate --config experiments/lambda_cifar100/$network.yaml \
        --set model.regularizer_weight=0,1e-3,7.5e-3,0.1,1 --seeds 0,1,2 --jobs "${1:-1}" --threads 1 --out "$study" \
        --methods grad_cam,grad_cam_plus_plus,score_cam,ablation_cam,x_grad_cam --num_images 200 \
        --metrics average_drop,average_increase,average_gain,insertion_auc,deletion_auc,gradient \
        --batch_size 100 --num_channels 128
    mkdir -p experiments/lambda_cifar100/$network
    # Sheets of maps are not copied, because they hold images of CIFAR-100.
    cp "$study"/results.{csv,md} "$study"/figures/{score_curves,pareto_plane,removal_curves,cost_bars}.png \
        "experiments/lambda_cifar100/$network/"
done
python -m experiments.lambda_cifar100.table
python -m experiments.lambda_cifar100.statistics_of_norm
