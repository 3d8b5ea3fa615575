"""Key `fine_tune`: which parameters learn how fast, and from when on."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import ConfigDict, Field

from orchestrator.specs.model_section import Regex
from orchestrator.specs.section import LISTED, NOT_EMPTY, Finding, Section

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

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        if (self.match is None) is (self.type is None):
            yield "", "needs either match or type"
        if sum([self.lr is not None, self.lr_mult is not None, self.freeze]) > 1:
            yield "", "takes one of lr, lr_mult and freeze"

    @property
    def freezes(self) -> bool:
        """Whether the parameters stay as they are."""
        return self.freeze or 0.0 in (self.lr, self.lr_mult)


class UnfreezeRule(Section):
    """One rule of `fine_tune.unfreeze`."""

    epoch: Annotated[int, Field(ge=2)]
    """First epoch in which the parameters learn (count from 1, >= 2)."""
    match: Regex
    """Regular expression searched for in the parameters' names."""
    lr: Annotated[float, Field(gt=0.0)]
    """Their highest learning rate from then on, before layer_decay (dimensionless, > 0)."""


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

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        short = [key for key in ("backbone_lr", "head_lr") if getattr(self, key) is not None]
        if self.groups is not None and short:
            yield short[0], "groups say the rates; leave one of the two out"
        elif len(short) == 1:
            other = "head_lr" if short == ["backbone_lr"] else "backbone_lr"
            yield other, f"required beside {short[0]}"
        if self.linear_probe_epochs and self.unfreeze:
            text = "linear_probe_epochs says when the backbone learns; leave one of the two out"
            yield "unfreeze", text

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        if self == FineTuneSpec():
            yield "", "says nothing; leave it out"
        for index, rule in enumerate(self.groups or ()):
            if rule.weight_decay is not None and rule.freezes and not self.unfreeze:
                text = "belongs to parameters that learn, these are frozen; leave it out"
                yield f"groups.{index}.weight_decay", text
