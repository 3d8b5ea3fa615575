"""Key `fine_tune`: which parameters learn how fast, and from when on."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from orchestrator.specs.model_section import Regex
from orchestrator.specs.section import LISTED, NOT_EMPTY, Section, refuse

Rate = Annotated[float, Field(ge=0.0)]


class GroupRule(Section):
    """One rule of `fine_tune.groups`: the first that takes a parameter has it."""

    match: Regex | None = None
    """Regular expression searched for in the parameters' names."""
    type: str | None = None
    """Class name of the layers whose parameters are meant, such as `BatchNorm2d`."""
    lr: Rate | None = None
    """Highest learning rate (dimensionless, >= 0); 0 freezes."""
    lr_mult: Rate | None = None
    """Factor on optimizer.lr in place of a rate (dimensionless, >= 0); 0 freezes."""
    weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    """Weight decay of the group (dimensionless, >= 0). Unset: the optimizer's."""
    freeze: bool = False
    """Whether the parameters stay as they are (true or false)."""

    @model_validator(mode="after")
    def _says_what_and_how(self) -> "GroupRule":
        if (self.match is None) is (self.type is None):
            raise refuse("needs either match or type")
        given = [self.lr is not None, self.lr_mult is not None, self.freeze]
        if sum(given) > 1:
            raise refuse("takes one of lr, lr_mult and freeze")
        return self


class UnfreezeRule(Section):
    """One rule of `fine_tune.unfreeze`."""

    epoch: Annotated[int, Field(ge=2)]
    """First epoch in which the parameters learn (count from 1, >= 2)."""
    match: Regex
    """Regular expression searched for in the parameters' names."""
    lr: Annotated[float, Field(gt=0.0)]
    """Their highest learning rate from then on (dimensionless, > 0)."""


class FineTuneSpec(Section):
    """Key `fine_tune`: which parameters learn how fast, and from when on."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"backbone_lr": ["head_lr"], "head_lr": ["backbone_lr"]}
        }
    )

    backbone_lr: Rate | None = None
    """Highest learning rate of all parameters but the head's (dimensionless, >= 0).
    0 freezes them."""
    head_lr: Rate | None = None
    """Highest learning rate of the last, classifying layer (dimensionless, >= 0).
    0 freezes it."""
    groups: Annotated[tuple[GroupRule, ...], LISTED, NOT_EMPTY] | None = None
    """The long form: ordered rules {match or type, lr or lr_mult or freeze, weight_decay};
    every parameter must be covered."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Factor on the learning rate per layer away from the head (dimensionless, 0 < value <= 1).
    Unset: none. Source: Clark et al. 2020, arXiv:2003.10555."""
    linear_probe_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the head alone learns, before all do (count, >= 0). Source: Kumar et al.
    2022, arXiv:2202.10054."""
    unfreeze: Annotated[tuple[UnfreezeRule, ...], LISTED, NOT_EMPTY] | None = None
    """Parameters that begin to learn later: a list of {epoch, match, lr}."""

    @model_validator(mode="after")
    def _one_form_alone(self) -> "FineTuneSpec":
        short = [key for key in ("backbone_lr", "head_lr") if getattr(self, key) is not None]
        if self.groups is not None and short:
            raise refuse("groups say the rates; leave one of the two out", key=short[0])
        if len(short) == 1:
            other = "head_lr" if short == ["backbone_lr"] else "backbone_lr"
            raise refuse(f"required beside {short[0]}", key=other)
        if self.linear_probe_epochs and self.unfreeze:
            raise refuse(
                "linear_probe_epochs says when the backbone learns; leave one of the two out",
                key="unfreeze",
            )
        return self
