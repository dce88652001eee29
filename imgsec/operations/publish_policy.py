# SPDX-License-Identifier: Apache-2.0
"""Tell the cluster what to enforce: policies, and the Secrets that they and the pipelines need.

Set-up and `publish-policy` both come here, so that a policy has one author.
"""

from __future__ import annotations

from imgsec.domain.kubernetes import (
    key_reference_document,
    key_secret_document,
    policy_document,
)
from imgsec.domain.policy import ImagePolicy, KeyReference, KeySecret
from imgsec.domain.report import Change
from imgsec.ports import ManifestSink


def publish_policy(policy: ImagePolicy, sink: ManifestSink, *, adopt: bool = False) -> Change:
    """Write or apply one policy. Raises `ImgsecError` (foreign-object)."""
    return sink.publish(policy_document(policy), adopt=adopt)


def publish_key(
    public_key: tuple[KeySecret, bytes],
    reference: tuple[KeySecret, KeyReference],
    sink: ManifestSink,
    *,
    adopt: bool = False,
) -> tuple[Change, ...]:
    """Write or apply the Secret with the public key (armoured) and the one that names the key."""
    return (
        sink.publish(key_secret_document(*public_key), adopt=adopt),
        sink.publish(key_reference_document(*reference), adopt=adopt),
    )
