# SPDX-License-Identifier: Apache-2.0
"""From data to files: YAML and Markdown through templates.

The templates give documents their shape and comments. Every value goes in through ``tojson``, an
undefined name is an error, and what comes out is parsed again and compared with the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from scripts.tekton import plans
from scripts.tekton.documents import RenderError, pipeline_document, task_document
from scripts.tekton.plans import Document, MountedSecret
from scripts.tekton.samples import publisher_rights, sample_run

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_RIGHTS = "tasks/imgsec-publish-policy/samples/rbac.yaml"
# Characters that JSON leaves alone and YAML does not take as they are, or takes as line ends.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_NOT_TEXT = frozenset("y n yes no on off true false null".split())


def render_all(image: str) -> dict[str, str]:
    """Every file, by its path from the root of the project. Raises `RenderError`."""
    tasks = {plan.command: task_document(plan, image) for plan in plans.TASKS}
    files: dict[str, str] = {}
    for plan in plans.TASKS:
        folder = f"tasks/{plan.name}"
        files |= _folder(folder, tasks[plan.command], image, plan.introduction, plan.secrets)
    comment = "The rights of the service account that publishes the policy."
    files[_RIGHTS] = render_yaml("sample.yaml.j2", publisher_rights(), comment)
    folder, introduction = f"pipelines/{plans.PIPELINE}", plans.PIPELINE_INTRODUCTION
    pipeline = pipeline_document(tasks)
    files |= _folder(folder, pipeline, image, introduction, _pipeline_secrets(pipeline))
    return files


def _pipeline_secrets(pipeline: Document) -> list[MountedSecret]:
    """Those of its stages that a param of the Pipeline names; the others keep their defaults."""
    params = {param["name"] for param in pipeline["spec"]["params"]}
    mounted = dict.fromkeys(
        secret for plan in plans.TASKS if plan.command in plans.STAGES for secret in plan.secrets
    )
    return [secret for secret in mounted if secret.name_param in params]


def _folder(
    folder: str,
    document: Document,
    image: str,
    introduction: Sequence[str],
    secrets: Sequence[MountedSecret],
) -> dict[str, str]:
    """A Task or Pipeline, its sample and its README."""
    name = document["metadata"]["name"]
    path = f"{folder}/{name}.yaml"
    start = f"Start it with kubectl create -f {name}-run.yaml"
    sample = render_yaml("sample.yaml.j2", [sample_run(document)], start)
    read_only = [name for name, item in plans.WORKSPACES.items() if item.get("readOnly")]
    readme = make_environment().get_template("README.md.j2")
    return {
        path: render_yaml(f"{document['kind'].lower()}.yaml.j2", [document]),
        f"{folder}/samples/{name}-run.yaml": sample,
        f"{folder}/README.md": readme.render(
            document=document,
            path=path,
            introduction=introduction,
            image=image,
            is_placeholder=image == plans.NO_IMAGE,
            read_only=read_only,
            secrets=secrets,
            sample=sample,
        ),
    }


def render_yaml(template: str, documents: Sequence[Document], comment: str = "") -> str:
    """The YAML text of documents, proven to say what they say. Raises `RenderError` if not."""
    known = {"document": documents[0], "documents": documents, "comment": comment}
    text = make_environment().get_template(template).render(known)
    if list(yaml.safe_load_all(text)) != list(documents):
        raise RenderError(f"what {template} renders is not what was meant")
    return text


@cache
def make_environment() -> jinja2.Environment:
    """Templates in which an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML and Markdown; values go through tojson
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "tojson": _json,
        "key": _key,
        "cell": _cell,
        "default_cell": _default_cell,
    }
    return environment


def _json(value: Any) -> str:
    """JSON that is YAML too, character by character."""
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _key(name: str) -> str:
    """A mapping's key: plain where nothing else could be read from it, else quoted."""
    is_plain = _PLAIN_KEY.fullmatch(name) and name.lower() not in _NOT_TEXT
    return name if is_plain else _json(name)


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", " ".join(text.split()))


def _default_cell(param: Document) -> str:
    """The default, in a cell."""
    if "default" not in param:
        return "required"
    return f"`{param['default']}`" if param["default"] else "empty"
