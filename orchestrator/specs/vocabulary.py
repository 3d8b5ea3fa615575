"""The words that a user may try: what is planned but not built, and what other tools call our keys.

A word that does nothing is worse than an error, so each is answered; both tables only shrink.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from orchestrator.specs.mistakes import value_text

SPACE_WORDS = ("grid", "choice", "uniform", "loguniform", "randint")

_NOT_BUILT_KEYS: Mapping[str, str] = {
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

_NOT_BUILT_VALUES: Mapping[str, frozenset[str]] = {
    "data.dataset": frozenset(
        "synthetic image_folder table mnist fashionmnist emnist kmnist qmnist usps cifar10 cifar100 "
        "svhn stl10 flowers102 oxfordiiitpet food101 imagenet caltech101 caltech256 dtd eurosat "
        "fgvcaircraft gtsrb pcam places365 stanfordcars sun397 country211".split()
    ),
    "model.architecture": frozenset(
        "resnet101 resnet152 alexnet googlenet inception_v3 densenet121 densenet161 densenet169 "
        "densenet201 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large squeezenet1_0 "
        "squeezenet1_1 vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn resnext50_32x4d "
        "resnext101_32x8d wide_resnet50_2 wide_resnet101_2 mnasnet1_0 maxvit_t "
        "shufflenet_v2_x1_0 vit_b_16 vit_b_32 vit_l_16 swin_t swin_s swin_b convnext_tiny "
        "convnext_small convnext_base convnext_large regnet_y_400mf efficientnet_b0 "
        "efficientnet_b1 efficientnet_b2 efficientnet_v2_s".split()
    ),
    "loss.name": frozenset({"bce"}),
    "optimizer.name": frozenset(
        "adam adagrad adadelta adamax asgd lbfgs nadam radam rmsprop rprop muon adafactor".split()
    ),
    "schedule.name": frozenset({"step", "multistep"}),
    "search.algorithm": frozenset({"tpe", "bayes", "bohb", "asha", "pbt", "optuna", "sobol"}),
    "search.metric": frozenset(
        "val/ece val/ece_adaptive val/brier val/top5 val/nll_calibrated val/balanced_accuracy "
        "val/macro_f1".split()
    ),
}

_OWN_CODE_KEYS = frozenset({"data.dataset", "model.architecture", "loss.name"})

_KINDS_OF_WORD: Mapping[str, str] = {
    "data.dataset": "data set",
    "model.architecture": "architecture",
    "loss.name": "loss",
    "optimizer.name": "optimizer",
    "schedule.name": "schedule",
    "search.algorithm": "algorithm",
    "search.metric": "metric that a run reports",
}

_OTHER_WORDS: Mapping[str, str] = {
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

_OTHER_SPACE_WORDS: Mapping[str, str] = {
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

_OTHER_METRICS: Mapping[str, str] = {
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


def not_built(key: str) -> str | None:
    """Say that a key is not built yet, and what to do meanwhile; None for any other key."""
    advice = _NOT_BUILT_KEYS.get(key, _NOT_BUILT_KEYS.get(f"{key.partition('.')[0]}.*"))
    if advice is None or key == key.partition(".")[0]:
        return None
    return f"not built yet; {advice}" if advice else "not built yet"


def explain_unknown_key(key: str, known: Collection[str]) -> tuple[str, str]:
    """Say what is wrong with a key that no section has.

    Args:
        key: Dotted, as it was written.
        known: Every key there is, dotted, sections too.

    Returns:
        The message, and the key that was probably meant ("" where none comes near).
    """
    unbuilt = not_built(key)
    if unbuilt:
        return unbuilt, ""
    section, _, word = key.rpartition(".")
    if word in SPACE_WORDS and section:
        return f"a search space stands in place of a value, not of the section {section!r}", ""
    siblings = {name.rpartition(".")[2]: name for name in known if _parent(name) == section}
    near = get_close_matches(word, siblings, n=1, cutoff=0.75)
    if near:
        return f"no such key; did you mean {near[0]!r}?", siblings[near[0]]
    elsewhere = [name for name in known if name.rpartition(".")[2] == word]
    elsewhere += [name for name in _NOT_BUILT_KEYS if name.rpartition(".")[2] == word]
    meant = _OTHER_WORDS.get(word) or (elsewhere[0] if len(elsewhere) == 1 else "")
    if meant:
        later = ", which is not built yet" if not_built(meant) else ""
        return f"that is {meant!r} here{later}", meant
    return _guess(key, siblings, known)


def _guess(key: str, siblings: Mapping[str, str], known: Collection[str]) -> tuple[str, str]:
    word = key.rpartition(".")[2]
    near = get_close_matches(word, siblings, n=1)
    if near:
        return f"no such key; did you mean {near[0]!r}?", siblings[near[0]]
    lasts = {name.rpartition(".")[2]: name for name in known}
    far = get_close_matches(word, lasts, n=1, cutoff=0.75)
    if far:
        return f"no such key; did you mean {lasts[far[0]]!r}?", lasts[far[0]]
    return (
        f"no such key; keys here are {', '.join(siblings)}" if siblings else "no such key",
        "",
    )


def explain_wrong_word(key: str, value: Any, options: Sequence[Any]) -> str:
    """Say what is wrong with a value that is none of the listed ones."""
    allowed = [value_text(option) for option in options]
    listed = f"use {_one_of(allowed)}"
    if not isinstance(value, str):
        return f"must be {_one_of(allowed)} (got {value_text(value)})"
    if key in _OWN_CODE_KEYS and ":" in value:
        return f"own code as module:callable is not built yet (got {value!r}); {listed}"
    if value.lower() in _NOT_BUILT_VALUES.get(key, ()):
        return f"{value!r} is not built yet; {listed}"
    kind = _KINDS_OF_WORD.get(key)
    if kind is None:
        return f"must be {_one_of(allowed)} (got {value!r})"
    near = get_close_matches(value.lower(), [str(option) for option in options], n=1)
    near = (
        [_OTHER_METRICS[value]] if key == "search.metric" and value in _OTHER_METRICS else near
    )
    advice = f"did you mean {near[0]!r}?" if near else listed
    return f"no such {kind} (got {value!r}); {advice}"


def explain_wrong_space(words: Sequence[str]) -> str:
    """Say what is wrong with a map that stands in place of a value; "" where it is a space."""
    if len(words) == 1 and words[0] in SPACE_WORDS:
        return ""
    spaces = [word for word in words if word in SPACE_WORDS]
    if spaces:
        return f"a search space is a map with one key (got {', '.join(words)})"
    for word in words[:1]:
        near = get_close_matches(word, SPACE_WORDS, n=1)
        meant = _OTHER_SPACE_WORDS.get(word) or (near[0] if near else "")
        if meant:
            return f"no such search space (got {word!r}); did you mean {meant!r}?"
    return "must be a value, or a search space such as {grid: [...]} (got a map)"


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _parent(key: str) -> str:
    return key.rpartition(".")[0]
