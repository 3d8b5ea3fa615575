"""The words that a user may try: what is not built yet, and what others call our keys.

Tables alone; the first two shrink as things are built.
"""

from collections.abc import Mapping

NOT_BUILT_KEYS: Mapping[str, str] = {
    "data.transforms": "",
    "data.arguments": "",
    "data.download": "",
    "data.sampler": "",
    "data.on_corrupt": "",
    "data.normalize": "",
    "data.mixup": "",
    "data.cutmix": "",
    "data.repeated_augmentation": "",
    "data.cache": "",
    "data.size": "",
    "data.split": "digits has a fixed stratified split",
    "model.arguments": "",
    "model.head": "the head is replaced by one linear layer",
    "model.weights": "",
    "model.strict": "",
    "model.min_loaded": "",
    "model.initialization": "the network's own is used",
    "model.rules": "",
    "model.sync_batch_norm": "",
    "model.channels_last": "",
    "loss.smoothing": "the uniform form is used",
    "loss.class_weights": "",
    "loss.arguments": "",
    "optimizer.scale_lr": "set optimizer.lr for the global batch",
    "optimizer.betas": "",
    "optimizer.nesterov": "",
    "optimizer.arguments": "",
    "schedule.milestones": "",
    "schedule.step_epochs": "",
    "schedule.gamma": "",
    "training.compile": "",
    "training.precision": "float32 is used",
    "training.accumulate": "",
    "training.micro_batch": "",
    "training.clip_norm": "",
    "training.ema": "",
    "training.cudnn_benchmark": "",
    "training.early_stopping": "",
    "fine_tune.groups": "use backbone_lr and head_lr",
    "fine_tune.layer_decay": "",
    "fine_tune.linear_probe_epochs": "",
    "fine_tune.unfreeze": "",
    "fine_tune.decay_norm_and_bias": "",
    "resources.visible_devices": "set CUDA_VISIBLE_DEVICES before starting Ray",
    "resources.placement": "",
    "resources.min_workers": "",
    "search.scheduler": "every run trains to its end",
    "checkpoint.*": "",
}
"""Key to what holds or to do meanwhile; `section.*` is every key of a section."""

NOT_BUILT_VALUES: Mapping[str, str] = {
    "data.dataset": """
        synthetic image_folder table mnist fashionmnist emnist kmnist qmnist usps cifar10
        cifar100 svhn stl10 flowers102 oxfordiiitpet food101 imagenet caltech101 caltech256
        dtd eurosat fgvcaircraft gtsrb pcam places365 stanfordcars sun397 country211
    """,
    "model.architecture": """
        resnet101 resnet152 alexnet googlenet inception_v3 densenet121 densenet161 densenet169
        densenet201 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large squeezenet1_0
        squeezenet1_1 vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn
        resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
        mnasnet0_5 mnasnet1_0 maxvit_t shufflenet_v2_x0_5 shufflenet_v2_x1_0 vit_b_16 vit_b_32
        vit_l_16 vit_l_32 vit_h_14 swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b
        convnext_tiny convnext_small convnext_base convnext_large regnet_y_400mf
        regnet_x_400mf efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
        efficientnet_b4 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
    """,
    "loss.name": "bce",
    "optimizer.name": """
        adam adagrad adadelta adamax asgd lbfgs nadam radam rmsprop rprop muon adafactor
    """,
    "schedule.name": "step multistep",
    "search.algorithm": "tpe bayes bohb optuna sobol",
    "search.metric": """
        val/ece val/ece_adaptive val/brier val/top5 val/nll_calibrated val/balanced_accuracy
        val/macro_f1
    """,
}
"""Key to the words, in lower case, that will be values of it."""

OTHER_WORDS: Mapping[str, str] = {
    "learning_rate": "optimizer.lr",
    "base_lr": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "l2": "optimizer.weight_decay",
    "optim": "optimizer",
    "max_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "n_epochs": "training.epochs",
    "num_train_epochs": "training.epochs",
    "trainer": "training",
    "train": "training",
    "amp": "training.precision",
    "fp16": "training.precision",
    "bf16": "training.precision",
    "mixed_precision": "training.precision",
    "use_amp": "training.precision",
    "gradient_clip_val": "training.clip_norm",
    "max_grad_norm": "training.clip_norm",
    "accumulate_grad_batches": "training.accumulate",
    "gradient_accumulation_steps": "training.accumulate",
    "patience": "training.early_stopping",
    "sync_batchnorm": "model.sync_batch_norm",
    "sync_bn": "model.sync_batch_norm",
    "seed_everything": "seed",
    "random_seed": "seed",
    "random_state": "seed",
    "manual_seed": "seed",
    "output_dir": "storage_path",
    "log_dir": "storage_path",
    "save_dir": "storage_path",
    "default_root_dir": "storage_path",
    "experiment_name": "name",
    "data_dir": "data.root",
    "data_path": "data.root",
    "train_batch_size": "data.batch_size",
    "per_device_train_batch_size": "data.batch_size",
    "bs": "data.batch_size",
    "img_size": "data.image_size",
    "input_size": "data.image_size",
    "crop_size": "data.image_size",
    "augmentation": "data.transforms",
    "augmentations": "data.transforms",
    "arch": "model.architecture",
    "backbone": "model.architecture",
    "network": "model.architecture",
    "model_name": "model.architecture",
    "pretrained": "model.weights",
    "criterion": "loss.name",
    "smoothing": "loss.label_smoothing",
    "label_smooth": "loss.label_smoothing",
    "lr_scheduler": "schedule.name",
    "scheduler": "schedule.name",
    "warmup": "schedule.warmup_epochs",
    "lr_warmup_epochs": "schedule.warmup_epochs",
    "gpus": "resources.gpus_per_worker",
    "devices": "resources.gpus_per_worker",
    "n_gpus": "resources.gpus_per_worker",
    "num_gpus": "resources.gpus_per_worker",
    "use_gpu": "resources.gpus_per_worker",
    "accelerator": "resources.gpus_per_worker",
    "world_size": "resources.num_workers",
    "nproc_per_node": "resources.num_workers",
    "num_cpus": "resources.cpus_per_worker",
    "num_samples": "search.num_trials",
    "n_trials": "search.num_trials",
    "num_seeds": "search.seeds",
    "max_concurrent_trials": "search.max_concurrent",
    "tracking_uri": "tracking.uri",
    "mlflow": "tracking",
    "resume": "checkpoint",
}
"""Another tool's word, wherever it stands, to our key."""

OTHER_SPACE_WORDS: Mapping[str, str] = {
    "grid_search": "grid",
    "values": "grid",
    "categorical": "choice",
    "suggest_float": "uniform",
    "log_uniform": "loguniform",
    "log_uniform_values": "loguniform",
    "suggest_int": "randint",
    "int_uniform": "randint",
    "range": "randint",
}

OTHER_METRICS: Mapping[str, str] = {
    "accuracy": "val/accuracy",
    "acc": "val/accuracy",
    "val_accuracy": "val/accuracy",
    "val_acc": "val/accuracy",
    "top1": "val/accuracy",
    "val_loss": "val/nll",
    "val/loss": "val/nll",
    "loss": "train/loss",
    "train_loss": "train/loss",
}
