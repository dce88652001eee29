# SPDX-License-Identifier: Apache-2.0
"""Policies of ours that are not part of what is published now: told, and removed where asked for.

The label says that imgsec made them, and not for which intent: one cluster may have several. So
nothing goes that nobody named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain.kubernetes import Document
from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.policy_rules import CLUSTER_KIND, NAMESPACED_KIND, PolicyId
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION

ALL = "*"


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which policies of ours are to be removed. everything: all that are left behind."""

    names: frozenset[PolicyId] = frozenset()
    everything: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """NAME is a ClusterImagePolicy, NAMESPACE/NAME an ImagePolicy, a star stands for all.

        Raises `ImgsecError` (invalid-option, invalid-name).
        """
        words = []
        for text in texts:
            if not text.strip():
                raise ImgsecError(INVALID_OPTION("--prune names nothing: give NAME or '*'"))
            words += text.split()
        names = frozenset(_named(word) for word in words if word != ALL)
        return cls(names, everything=ALL in words)

    def require_unpublished(self, published: Iterable[Mapping[str, Any]]) -> None:
        """Raises `ImgsecError` (invalid-option) for a policy that is to be made and removed."""
        for one in sorted(self.names & {id_of(each) for each in published}, key=str):
            raise ImgsecError(INVALID_OPTION(f"--prune {word_of(one)}: this run makes {one}"))


NO_PRUNING = Pruning()


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Those that are to be removed, those that stay, and those that were named and are not there.

    files: what is no policy, of an earlier run; removes_files: whether they go.
    """

    pruned: tuple[Document, ...] = ()
    kept: tuple[PolicyId, ...] = ()
    missing: tuple[PolicyId, ...] = ()
    files: tuple[str, ...] = ()
    removes_files: bool = False

    @classmethod
    def of(
        cls,
        made: Iterable[Document],
        published: Iterable[Mapping[str, Any]],
        pruning: Pruning,
        files: Iterable[str] = (),
    ) -> Self:
        """made: the policies of ours that are there; files: the same of what is no policy."""
        current = {id_of(one) for one in published}
        older = {id_of(one): one for one in made if id_of(one) not in current}
        gone = [name for name in older if pruning.everything or name in pruning.names]
        kept = tuple(name for name in older if name not in gone)
        missing = tuple(sorted(pruning.names - older.keys(), key=str))
        pruned = tuple(older[name] for name in gone)
        return cls(pruned, kept, missing, tuple(files), pruning.everything)

    @property
    def removed(self) -> frozenset[PolicyId]:
        return frozenset(map(id_of, self.pruned))

    def notes(self, *, enforced: bool) -> tuple[Note, ...]:
        """What stays, each by its name. enforced: it is in a cluster, and decides there."""
        told = [
            Note("nothing-pruned", f"--prune {word_of(one)}: imgsec made no {one} that is there")
            for one in self.missing
        ]
        stays = "in the cluster, and enforced" if enforced else "in the folder"
        if self.kept:
            words = " ".join(f"--prune {word_of(one)}" for one in self.kept)
            told.append(_left(", ".join(map(str, self.kept)), stays, words))
        if self.files and not self.removes_files:
            told.append(_left(", ".join(self.files), stays, f"--prune '{ALL}'"))
        return tuple(told)


def _left(named: str, stays: str, words: str) -> Note:
    text = f"imgsec made {named}, which this run does not: still {stays}; to remove: {words}"
    return Note("left-behind", text)


def id_of(document: Mapping[str, Any]) -> PolicyId:
    """Which policy a document is; read without strictness, since a cluster has checked it."""
    metadata = document.get("metadata") or {}
    return PolicyId(
        str(document.get("kind")), str(metadata.get("name")), str(metadata.get("namespace") or "")
    )


def word_of(policy: PolicyId) -> str:
    """As `Pruning.parse` takes it."""
    return f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name


def _named(word: str) -> PolicyId:
    namespace, slash, name = word.rpartition("/")
    if slash and not namespace:
        raise ImgsecError(INVALID_OPTION(f"--prune {shown(word)}: give NAME or NAMESPACE/NAME"))
    if not slash:
        return PolicyId(CLUSTER_KIND, str(ObjectName.parse(name)))
    return PolicyId(NAMESPACED_KIND, str(ObjectName.parse(name)), str(Namespace.parse(namespace)))
