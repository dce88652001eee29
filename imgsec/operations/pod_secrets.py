# SPDX-License-Identifier: Apache-2.0
"""Which pull secrets an engine has for a pod, and what it makes of each for an image's host.

Portieris `pkg/kubernetes/podspec.go`: mutateWithSA. What a kubelet has besides is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imgsec.domain.pull_secrets import PullCredential, UnusableSecret, read_pull_secret
from imgsec.domain.reference import shown
from imgsec.domain.workload import Workload
from imgsec.errors import ImgsecError
from imgsec.ports import AdmissionState
from imgsec.reasons import INPUT_MALFORMED, PERMISSION_DENIED, Reason


@dataclass(slots=True)
class PodSecrets:
    """The pull secrets of one pod, read for the hosts that are asked for.

    is_told: whether a pod without any has none indeed, since its ServiceAccount is known. closed:
    why one of them cannot be read from here, which is nothing that the engine says. unread: their
    names.
    """

    state: AdmissionState
    namespace: str
    names: tuple[str, ...]
    is_told: bool
    closed: Reason | None = None
    unread: set[str] = field(default_factory=set)
    read: dict[str, list[PullCredential | UnusableSecret]] = field(default_factory=dict)

    @property
    def are_wanting(self) -> bool:
        """Whether one was not given, or nobody told which there are."""
        if not self.names:
            return not self.is_told
        return any(self._find(name) is None for name in self.names)

    def credentials(self, host: str) -> tuple[PullCredential, ...]:
        """Those that the engine can use for a host, in their order."""
        if host not in self.read:
            self.read[host] = [
                read_pull_secret(found, name, host)
                for name, found in ((name, self._find(name)) for name in self.names)
                if name not in self.unread
            ]
        return tuple(one for one in self.read[host] if isinstance(one, PullCredential))

    def _find(self, name: str) -> dict[str, Any] | None:
        try:
            return self.state.find_secret(self.namespace, name)
        except ImgsecError as error:
            if error.reason.code not in (PERMISSION_DENIED.code, INPUT_MALFORMED.code):
                raise
            self.closed = error.reason
            self.unread.add(name)
            return None

    @property
    def found(self) -> tuple[PullCredential | UnusableSecret, ...]:
        """What came of each, for all hosts that were asked for so far."""
        return tuple(one for found in self.read.values() for one in found)


def pod_secrets(state: AdmissionState, workload: Workload, *, is_request: bool) -> PodSecrets:
    """The pod's own, else its ServiceAccount's: for a Pod the API server fills them in.

    is_request: it has done so. Raises `ImgsecError` (input-malformed).
    """
    names, is_told = workload.pod.pull_secrets, workload.is_pod and is_request
    if not names and not is_told:
        try:
            account = state.find_service_account(workload.namespace, workload.pod.service_account)
        except ImgsecError as error:
            if error.reason.code != PERMISSION_DENIED.code:
                raise
            return PodSecrets(state, workload.namespace, (), is_told=False, closed=error.reason)
        is_told = account is not None
        listed = (account or {}).get("imagePullSecrets") or []
        if not isinstance(listed, list):
            what = f"ServiceAccount {shown(workload.pod.service_account)}"
            raise ImgsecError(INPUT_MALFORMED(f"{what}: imagePullSecrets is no list"))
        names = tuple(str(one.get("name", "")) for one in listed if isinstance(one, dict))
    return PodSecrets(state, workload.namespace, names, is_told)
