# SPDX-License-Identifier: Apache-2.0
"""What ``publish-policy`` does with an intent, and the options that go with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from imgsec.cli.options import loosening, own
from imgsec.cli.output import Answer
from imgsec.cli.publishing import Destination, publish
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION

if TYPE_CHECKING:  # imported where they are used: --help needs none of them
    from imgsec.cli.predicting import PredictionOptions
    from imgsec.domain.engines import Engine
    from imgsec.domain.intent_rendering import Target
    from imgsec.domain.policy import ImagePolicy
    from imgsec.domain.policy_intent import PolicyIntent
    from imgsec.domain.verdict import Note
    from imgsec.wiring import World

_COMMAND = "publish-policy"
_PANEL = "Policy"
_SWITCH = {"on": True, "off": False}

IntentOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--intent",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="The intent file: what must be signed by whom, and what is let through and why.",
    ),
]
ForOpt = Annotated[
    str,
    own(
        _COMMAND,
        "--for",
        metavar="TARGET",
        rich_help_panel=_PANEL,
        help="portieris, cise (the older API), containers (policy.json) or config (config.yaml).",
    ),
]
SetOpt = Annotated[
    list[str] | None,
    loosening(
        "--set",
        metavar="NAME",
        panel=_PANEL,
        help="Begin with published defaults: cise-defaults, portieris-iks, multicloud, empty."
        " Repeatable, recorded.",
    ),
]
PlatformOpt = Annotated[
    list[str] | None,
    loosening(
        "--allow-platform",
        metavar="NAME",
        panel=_PANEL,
        help="Let through what a platform runs by itself: iks, kubernetes, openshift, portieris,"
        " tekton. Repeatable, recorded.",
    ),
]
ClusterDomainOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--cluster-domain",
        metavar="NAME",
        rich_help_panel=_PANEL,
        help="With --set multicloud: the domain of the cluster's own registry.",
    ),
]
PolicyFileOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--policy",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="A CISE policy, or config.yaml, whose switches are to be flipped, in a copy.",
    ),
]
TrustOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--trust",
        metavar="on|off",
        rich_help_panel=_PANEL,
        help="With --policy: whether the images it checks need content trust.",
    ),
]
AdvisorSwitchOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--va",
        metavar="on|off",
        rich_help_panel=_PANEL,
        help="With --policy: whether Vulnerability Advisor is asked about them.",
    ),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options ask of an intent. options: the policy that they describe themselves."""

    target: Target
    prediction: PredictionOptions
    intent: str | None
    options: ImagePolicy | None
    sets: tuple[str, ...]
    platforms: tuple[str, ...]
    cluster_domain: str | None


def target_of(word: str) -> Target:
    """Raises `ImgsecError` (invalid-option)."""
    from imgsec.domain.intent_rendering import Target
    from imgsec.domain.reference import shown

    if word not in tuple(Target):
        raise ImgsecError(INVALID_OPTION(f"--for {shown(word)}: give {', '.join(Target)}"))
    return Target(word)


def _engine_of(version: str | None, target: Target) -> Engine:
    """The one that is asked for. Raises `ImgsecError` (engine-unknown, invalid-option)."""
    from imgsec.domain.engines import NEWEST, Engine
    from imgsec.domain.intent_rendering import Target

    if version is None:
        return NEWEST
    engine = Engine.parse(version)
    if target is not Target.PORTIERIS or engine.is_cise:
        text = "--engine is a version of Portieris, and goes with --for portieris"
        raise ImgsecError(INVALID_OPTION(text, hint="For the older engine say --for cise."))
    return engine


def publish_intents(asked: Asked, world: World, destination: Destination) -> Answer:
    """Render all that was asked for, and publish it where nothing stands against it."""
    from imgsec.cli.predicting import Ahead
    from imgsec.domain.intent_rendering import Target, render_intents
    from imgsec.operations.publish_intent import key_reasons

    if destination.render is None and asked.target is not Target.PORTIERIS:
        text = f"--for {asked.target} gives files: say --render DIR, and take them there"
        raise ImgsecError(INVALID_OPTION(text))
    engine = _engine_of(asked.prediction.engine, asked.target)
    now = world.clock.now()
    intents, notes = _intents(asked, world)
    destination = replace(destination, reads_secrets=asked.target is Target.PORTIERIS)

    def published(engine: Engine, destination: Destination) -> Answer:
        rendered = render_intents(intents, asked.target, now.date(), engine)
        reasons = key_reasons(intents, asked.target, lambda: world.keyring, now)
        return publish(rendered, destination, world, reasons=reasons, notes=notes)

    if destination.render is not None:
        return published(engine, destination)
    lockout = destination.terms.lockout
    ahead = Ahead(asked.prediction, world, accept_lockout=lockout)
    return ahead.tell(_COMMAND, lambda: published(ahead.engine, replace(destination, ahead=ahead)))


def _intents(asked: Asked, world: World) -> tuple[tuple[PolicyIntent, ...], tuple[Note, ...]]:
    """The documents of the platforms, of the file or the options, and of the sets.

    In this order they are applied: what a platform needs is let through before anything is denied.
    """
    from imgsec.domain.intent_sets import platform_named, set_named

    found: tuple[PolicyIntent, ...] = ()
    notes: tuple[Note, ...] = ()
    if asked.cluster_domain and "multicloud" not in asked.sets:
        raise ImgsecError(INVALID_OPTION("--cluster-domain goes with --set multicloud"))
    if asked.intent is not None:
        found = world.intents(asked.intent)
    elif asked.options is not None:
        found = (_of_options(asked.options),)
    for name in dict.fromkeys(asked.sets):
        domain = asked.cluster_domain if name == "multicloud" else None
        further, said = set_named(name, cluster_domain=domain)
        found, notes = (*found, *further), (*notes, *said)
    platforms = (platform_named(name, found) for name in dict.fromkeys(asked.platforms))
    return (*(one for each in platforms for one in each), *found), notes


def _of_options(policy: ImagePolicy) -> PolicyIntent:
    """What the options say, as an intent."""
    from imgsec.domain.policy_intent import (
        ImageNames,
        IntentKey,
        IntentRule,
        PolicyIntent,
        RequiredSignature,
        Unchecked,
    )

    secret = policy.key_secret
    key = IntentKey("key", str(secret.name), str(secret.namespace))
    signed = IntentRule(
        tuple(ImageNames(one.text) for one in policy.signed),
        (RequiredSignature(key),),
        mutates=policy.mutate_image,
    )
    rules = [signed]
    if policy.unchecked:
        names = tuple(ImageNames(one.text) for one in policy.unchecked)
        rules.append(IntentRule(names, unchecked=Unchecked("--allow-unchecked")))
    namespaces = (policy.namespace,) if policy.namespace else ()
    return PolicyIntent(tuple(rules), policy.name, namespaces)


def flip_switches(
    path: str, trust: str | None, va: str | None, world: World, *, render: Path, adopt: bool
) -> Answer:
    """Write a copy of a CISE policy file with other switches."""
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed

    switches = _switches(trust, va)
    change, rules, is_other = world.copy_with_switches(path, switches, render, adopt=adopt)
    words = " and ".join(f"{name} {'on' if is_on else 'off'}" for name, is_on in switches.items())
    if is_other:
        notes = [Note("switched", f"{words}, in each of {rules} rules that check anything")]
    else:
        text = f"{words} already, in each of {rules} rules that check anything"
        notes = [Note("nothing-switched", text)]
    if not any(switches.values()):
        text = "a rule with neither of the two lets its images through unchecked"
        notes.append(Note("switched-off", text))
    return Answer(Report(_COMMAND, passed(*notes), changes=(change,)))


def _switches(trust: str | None, va: str | None) -> Mapping[str, bool]:
    said = {name: word for name, word in (("trust", trust), ("va", va)) if word is not None}
    for name, word in said.items():
        if word not in _SWITCH:
            raise ImgsecError(INVALID_OPTION(f"--{name} is on or off"))
    if not said:
        raise ImgsecError(INVALID_OPTION("--policy goes with --trust on|off, --va on|off"))
    return {name: _SWITCH[word] for name, word in said.items()}
