"""Pages that say what the code says: commands from the command line's own, formats from schemas; and pictures."""

from __future__ import annotations

import functools
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer
from typer.main import get_command

import partkit.data
from partkit.data.schemas import KINDS, published
from partkit_cli.help_text import split_examples
from partkit_cli.main import app
from pictures import PICTURES


def write_all(folder: Path) -> None:
    """Write every generated page and picture under ``folder``; files that already say so are left as they are."""
    made = {"reference/commands.md": commands_page(), "reference/formats.md": formats_page()}
    made |= {f"images/{name}.svg": draw() for name, draw in PICTURES.items()}
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Each command: its words, its examples, its arguments and options by group."""
    group = get_command(app)
    context = group.make_context("partkit", ["--help"], resilient_parsing=True)
    parts = ["# Commands", "Exit codes and what is common to all are in [](common.md)."]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words, _, examples = split_examples(command.help or "")
        parts += [f"## partkit {name}", _plain(words), _fence("sh", "\n".join(examples))]
        by_panel: dict[str, list[str]] = {}
        for parameter in command.get_params(command.make_context(name, [], resilient_parsing=True)):
            record = parameter.get_help_record(context)
            if record is not None and parameter.name != "help":
                is_argument = parameter.param_type_name == "argument"
                panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
                by_panel.setdefault(panel, []).append(_row(f"`{record[0]}`", _plain(record[1])))
        for panel, rows in by_panel.items():
            parts.append("\n".join([_row(panel, ""), _row("---", "---"), *rows]))
    return "\n\n".join(parts) + "\n"


def formats_page() -> str:
    """Each kind of file: what it is for, then the fields of it and of what it holds."""
    parts = [
        "# Formats",
        "Every file that partkit writes is JSON with a published schema (`partkit/data/schemas/*.json`). A field "
        "marked `*` must be there. Unknown fields are refused, and so is a `schema_version` newer than the "
        "reader's. Times are seconds, sizes bytes.",
    ]
    for kind in KINDS:
        schema = json.loads(published(kind))
        parts += [f"## {kind}", _plain(schema.get("description", "")), _fields(schema, schema["title"])]
        for name, each in sorted(schema.get("$defs", {}).items()):
            if each.get("properties"):
                parts += [f"### {name} in {kind}", _plain(each.get("description", "")), _fields(each, name)]
    return "\n\n".join(part for part in parts if part) + "\n"


@functools.cache
def _meanings() -> dict[tuple[str, str], str]:
    """What is written under each field of each data class; schemas do not have it."""
    found: dict[tuple[str, str], str] = {}
    for module in pkgutil.iter_modules(partkit.data.__path__, "partkit.data."):
        if not module.ispkg:
            for (owner, name), lines in ModuleAnalyzer.for_module(module.name).find_attr_docs().items():
                found[owner.rpartition(".")[2], name] = " ".join(lines).strip()
    return found


def _fields(schema: dict[str, Any], owner: str) -> str:
    rows = []
    for name, field in schema.get("properties", {}).items():
        mark = " *" if name in schema.get("required", ()) else ""
        default = f" Default: `{json.dumps(field['default'])}`." if _is_short(field.get("default")) else ""
        rows.append(
            _row(f"`{name}`{mark}", f"`{_type(field)}`", f"{_plain(_meanings().get((owner, name), ''))}{default}")
        )
    return "\n".join([_row("field", "type", "meaning"), _row("---", "---", "---"), *rows])


def _is_short(default: object) -> bool:
    return default is not None and len(json.dumps(default)) <= 30


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " or ".join(json.dumps(each) for each in field["enum"])
    if "anyOf" in field or "allOf" in field:
        return " or ".join(_type(each) for each in field.get("anyOf") or field["allOf"])
    if field.get("type") == "array":
        of = field.get("items") or {}
        inside = [_type(each) for each in field["prefixItems"]] if "prefixItems" in field else [_type(of)]
        return f"[{', '.join(inside)}{'' if 'prefixItems' in field else ', …'}]"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"{{name: {_type(field['additionalProperties'])}}}"
    return str(field.get("type", "any"))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Docstrings as Markdown: roles and double backticks become code; what Markdown or HTML would obey is shown."""
    coded = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    pieces = re.split(r"(`[^`]*`)", coded)
    return "".join(piece if piece.startswith("`") else re.sub(r"([<>*_\[\]$])", r"\\\1", piece) for piece in pieces)


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```" if text else ""
