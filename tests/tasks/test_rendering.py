# SPDX-License-Identifier: Apache-2.0
"""The committed files are what scripts/render-tasks makes, and rendering cannot be bent."""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.tekton import plans
from scripts.tekton.documents import RenderError, read_command
from scripts.tekton.files import make_environment, render_all, render_yaml

from .project_files import ROOT, SCRIPT, render_tasks, tasks

pytestmark = pytest.mark.once

DIGEST = "sha256:" + "ab" * 32
HOSTILE = [
    "plain",
    'it\'s "quoted" \\ and # not: a comment',
    "two\nlines\r\n\tand a tab",
    "{{ 7 * 7 }} {% raw %} {# gone #}",
    "$(params.key) $$(HOME) `id` $(id)",
    "- a\n- b: {c: [d]}\n---\n...",
    "yes",
    "0o17",
    "2026-01-01",
    "null",
    "",
    " leading and trailing ",
    "\u2028\u2029\x85\x7f\ufeff\ufffe",
    "é ☃ \U0001f511",
    "!!python/object:os.system &a *a",
]


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the script in this process: its exit code, and what it said."""

    def script(*words: str) -> tuple[int, str]:
        try:
            code = render_tasks().main(words)
        except SystemExit as ended:  # argparse
            code = ended.code
        return code, capsys.readouterr().err

    return script


def test_committed_files_are_what_would_be_rendered() -> None:
    assert render_tasks().differences(render_all(plans.NO_IMAGE), ROOT) == {}


def test_check_names_what_differs_is_missing_or_stale(run: Run, tmp_path: Path) -> None:
    assert run("--output-dir", str(tmp_path))[0] == 0
    task = tmp_path / "tasks/imgsec-resolve/imgsec-resolve.yaml"
    # What an editor, a merge or a desktop leaves is nobody's Task.
    for name in ("imgsec-resolve.yaml~", ".imgsec-resolve.yaml.swp", "x.orig", ".DS_Store"):
        task.with_name(name).touch()
    task.with_name(".#imgsec-resolve.yaml").symlink_to("user@host.1")
    assert run("--check", "--output-dir", str(tmp_path)) == (0, "")
    task.write_text(task.read_text() + "# mine\n")
    (tmp_path / "tasks/imgsec-resolve/README.md").unlink()
    (tmp_path / "tasks/imgsec-gone").mkdir()
    (tmp_path / "tasks/imgsec-gone/imgsec-gone.yaml").touch()
    before = task.read_bytes()
    code, said = run("--check", "--output-dir", str(tmp_path))
    assert code == 1
    assert said.splitlines() == [
        "render-tasks: tasks/imgsec-gone/imgsec-gone.yaml is not rendered any more: remove it",
        "render-tasks: tasks/imgsec-resolve/README.md is missing",
        "render-tasks: tasks/imgsec-resolve/imgsec-resolve.yaml is not what would be rendered",
    ]
    assert task.read_bytes() == before


def test_the_script_runs_by_itself_and_shows_examples() -> None:
    done = subprocess.run(
        [SCRIPT, "--help"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "scripts/render-tasks --image" in done.stdout


@pytest.mark.parametrize(
    "image",
    [
        f"us.icr.io/team/imgsec:1.0@{DIGEST}",
        f"us.icr.io/team/imgsec@{DIGEST}",
        f"localhost:5000/imgsec:1.0@{DIGEST}",
    ],
)
def test_the_image_goes_into_every_step(run: Run, tmp_path: Path, image: str) -> None:
    assert run("--image", image, "--output-dir", str(tmp_path)) == (0, "")
    files = list((tmp_path / "tasks").glob("*/*.yaml"))
    for path in files:
        task = yaml.safe_load(path.read_bytes())
        assert [step["image"] for step in task["spec"]["steps"]] == [image]
        assert f"It runs `{image}`." in (path.parent / "README.md").read_text()
    assert len(files) == len(plans.TASKS)


def test_a_folder_that_cannot_be_written_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = run("--output-dir", str(tmp_path / "file"))
    assert (code, "cannot be read or written" in said) == (2, True)


def test_without_an_image_the_script_warns(run: Run, tmp_path: Path) -> None:
    assert "registry.invalid" in run("--output-dir", str(tmp_path))[1]


@pytest.mark.parametrize(
    "image",
    [
        "us.icr.io/team/imgsec:1.0",
        "imgsec:1.0",
        f"us.icr.io/team/imgsec@{DIGEST}0",
        f"US.icr.io/team/imgsec:1.0@{DIGEST}",
        f'us.icr.io/team/imgsec:1"0@{DIGEST}',
        f"us.icr.io/team/imgsec:1.0@{DIGEST}\nscript: id",
        f"-us.icr.io/team/imgsec:1.0@{DIGEST}",
        "",
    ],
)
def test_an_image_that_is_not_canonical_is_a_usage_error(
    run: Run, tmp_path: Path, image: str
) -> None:
    code, said = run(f"--image={image}", "--output-dir", str(tmp_path))
    assert (code, "--image" in said) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_through_the_template_as_itself(text: str) -> None:
    document = copy.deepcopy(tasks()["imgsec-sign-image"])
    document["spec"]["description"] = text
    document["metadata"]["annotations"][text or "empty"] = text
    for param in document["spec"]["params"]:
        param |= {"description": text, "default": text}
    document["spec"]["steps"][0]["args"] = [text, [text], {"k": text}, [], {}]
    rendered = render_yaml("task.yaml.j2", [document])
    assert yaml.safe_load(rendered) == document


PLAIN = st.recursive(
    st.text() | st.booleans() | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(max_size=20), PLAIN, min_size=1, max_size=4))
def test_any_plain_data_comes_through_the_template_as_itself(document: dict[str, Any]) -> None:
    text = render_yaml("sample.yaml.j2", [document], comment='"a comment"')
    assert yaml.safe_load(text) == document


def test_a_template_that_says_something_else_is_noticed() -> None:
    document = {**tasks()["imgsec-resolve"], "extra": "which the template leaves out"}
    with pytest.raises(RenderError, match=r"not what was meant"):
        render_yaml("task.yaml.j2", [document])


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        make_environment().from_string("{{ nobody }}").render()


def test_an_option_that_no_table_mentions_stops_the_rendering(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = {name: why for name, why in plans.LEFT_OUT.items() if name != "tools-dir"}
    monkeypatch.setattr(plans, "LEFT_OUT", left_out)
    code, said = run("--output-dir", str(tmp_path))
    assert (code, "--tools-dir" in said) == (2, True)
    assert not list(tmp_path.iterdir())


def test_an_option_that_a_command_lost_stops_the_rendering(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plans.TASKS[0]
    plan = dataclasses.replace(first, params=(*first.params, "sign-by"))
    monkeypatch.setattr(plans, "TASKS", (plan, *plans.TASKS[1:]))
    code, said = run("--output-dir", str(tmp_path))
    assert (code, "has no option --sign-by any more" in said) == (2, True)


def test_params_have_the_defaults_and_words_of_the_options() -> None:
    for plan in plans.TASKS:
        options = read_command(plan.command).options
        for param in tasks()[plan.name]["spec"]["params"]:
            option = options.get(param["name"])
            if option is None:
                continue
            words = option.help.partition(" Repeatable")[0]
            for name in re.findall(r"--([a-z-]+)", words):
                if f"--{name}" not in param["description"]:  # a param here, and called otherwise
                    words = words.replace(f"--{name}", plan.param(name))
            assert param["description"].startswith(words)
            if option.default is not None:
                assert param["default"].lower() == str(option.default).lower()


def test_every_result_of_a_command_is_a_result_of_its_task() -> None:
    for plan in plans.TASKS:
        told = [name for name in read_command(plan.command).options if name.startswith("result-")]
        assert len(tasks()[plan.name]["spec"]["results"]) == len(told) > 0


def test_what_loosens_a_check_is_one_argument_and_never_a_variable() -> None:
    for plan in plans.TASKS:
        (step,) = tasks()[plan.name]["spec"]["steps"]
        loosening = [
            option.name
            for option in read_command(plan.command).options.values()
            if option.twin is None and option.name in plan.params
        ]
        assert [text for text in step["args"] if text.startswith("--") and "params." in text] == [
            f"--{name}=$(params.{name})" for name in loosening
        ]
