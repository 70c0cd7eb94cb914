"""What goes into a report: files, and what only planners know about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from partkit.data.cluster import Cluster
from partkit.data.difference import Difference
from partkit.data.document import Document
from partkit.data.explanation import CutExplanation
from partkit.data.model import ModelSpec
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.result import Comparison, RunResult

_Kind = TypeVar("_Kind", bound=Document)


def told_model(model: ModelSpec) -> str:
    """A model as it computes and what it is fed: figures of models that are told alike may stand side by side."""
    modes = [mode for mode, is_so in (("tf32", model.tf32), ("compiled", model.compiled)) if is_so]
    return " ".join((model.source, model.dtype, *modes, *(str(spec) for spec in model.inputs)))


@dataclass(frozen=True)
class Part:
    """A document and the name that the reader knows it by."""

    name: str
    document: Document


@dataclass(frozen=True)
class Contents:
    """The files of a report in the order given."""

    parts: Sequence[Part]
    cuts: Mapping[str, Sequence[CutExplanation]] = field(default_factory=dict)
    """Explanations of a plan's cuts, by the part's name."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Profiles of plans by digest: those given, and those that this machine keeps."""

    def of(self, kind: type[_Kind]) -> list[tuple[str, _Kind]]:
        """Name and document of each part of a kind."""
        return [(part.name, part.document) for part in self.parts if isinstance(part.document, kind)]

    @property
    def comparisons(self) -> list[tuple[str, Comparison]]:
        """Comparisons by name."""
        return self.of(Comparison)

    @property
    def runs(self) -> list[tuple[str, RunResult]]:
        """Runs by name."""
        return self.of(RunResult)

    @property
    def plans(self) -> list[tuple[str, Plan]]:
        """Plans by name."""
        return self.of(Plan)

    @property
    def differences(self) -> list[tuple[str, Difference]]:
        """Differences by name."""
        return self.of(Difference)

    @property
    def lone_profiles(self) -> list[tuple[str, Profile]]:
        """Profiles that no plan of the report was made from."""
        used = {plan.profile_sha256 for _, plan in self.plans}
        return [(name, profile) for name, profile in self.of(Profile) if profile.sha256 not in used]

    @property
    def clusters(self) -> list[tuple[str, Cluster]]:
        """Clusters by name: those given, and each plan's own."""
        own = [(f"the cluster of {name}", plan.cluster) for name, plan in self.plans]
        return [*self.of(Cluster), *own]

    @property
    def models(self) -> list[ModelSpec]:
        """The models that the parts are of, each once."""
        found = [part.document.model for part in self.parts if isinstance(part.document, Comparison | Plan | Profile)]
        unique: dict[str, ModelSpec] = {}
        for model in found:
            unique.setdefault(told_model(model), model)
        return list(unique.values())
