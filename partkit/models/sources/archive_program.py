"""What a saved program says may be done with it: its JSON against what torch would evaluate, call or write into code.

torch's reader evaluates symbolic sizes as Python (``sympy.sympify``), looks targets up as attributes of ``torch``
(``torch.os.system``), imports modules that a structure names, and writes argument names into Python source. So every
string of the program is compared with what a program that torch.export saved can hold.
"""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from partkit.data.reading import shown
from partkit.errors import FormatError

_NAMESPACES = ("aten", "prims", "quantized_decomposed", "torchvision", "transformers")
_REFUSED_OPS = ("aten::from_file",)
"""Operators that the dispatcher knows and that open files."""
_HIGHER_ORDER = (
    *("associative_scan", "cond", "flex_attention", "map_impl", "scan", "while_loop"),
    *("wrap_with_autocast", "wrap_with_set_grad_enabled"),
)
_OPERATORS = frozenset(
    (
        "abs",
        "add",
        "and_",
        "eq",
        "floordiv",
        "ge",
        "getitem",
        "gt",
        "index",
        "inv",
        "invert",
        "le",
        "lshift",
        "lt",
        "mod",
        "mul",
        "ne",
        "neg",
        "not_",
        "or_",
        "pos",
        "pow",
        "rshift",
        "sub",
        "truediv",
        "truth",
        "xor",
    )
)
_FUNCTIONS = frozenset(
    (
        "Abs",
        "Add",
        "And",
        "BooleanFalse",
        "BooleanTrue",
        "CeilDiv",
        "CeilToInt",
        "CleanDiv",
        "Eq",
        "Equality",
        "Float",
        "FloatPow",
        "FloatTrueDiv",
        "FloorDiv",
        "FloorToInt",
        "Ge",
        "GreaterThan",
        "Gt",
        "Identity",
        "IntTrueDiv",
        "Integer",
        "IsNonOverlappingAndDenseIndicator",
        "LShift",
        "Le",
        "LessThan",
        "Lt",
        "Max",
        "Min",
        "Mod",
        "ModularIndexing",
        "Mul",
        "Ne",
        "Not",
        "Or",
        "Piecewise",
        "Pow",
        "PowByNatural",
        "PythonMod",
        "RShift",
        "Rational",
        "RoundDecimal",
        "RoundToInt",
        "StrictGreaterThan",
        "StrictLessThan",
        "Symbol",
        "ToFloat",
        "TruncToFloat",
        "TruncToInt",
        "Unequality",
        "Where",
        "ceiling",
        "floor",
        "sqrt",
    )
)
"""Functions of sympy and of torch's own that a symbolic size is written with."""
_TAKES_TEXT = frozenset(("Float", "Integer", "Rational", "Symbol"))
_EXPRESSION_NODES = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.Tuple),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_NAME = re.compile(r"(?:[^\W\d]\w*)?")
_PATH = re.compile(r"[^\x00-\x1f\x7f\"'\\]*")
"""Paths of modules and tensors: they end up between quotes in generated code."""
_WORD = re.compile(r"[\w.+\-]*")


def check_program(where: str, text: bytes) -> None:
    """Raise :class:`FormatError` for a program that could have torch run anything but its own operators."""
    try:
        program = json.loads(text)
        _Program(where).check(program)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FormatError(f"{where} is damaged: its program can't be read") from None


def check_outputs(where: str, text: str) -> None:
    """The same for what :mod:`partkit.models.archive` tells of outputs: a structure can name modules to import."""
    try:
        told = json.loads(text)
        if told["structure"] is not None:
            _Program(where).structure(told["structure"])
        plain = all(
            value is None or isinstance(value, bool | int | float | str) for value in told["constants"].values()
        )
        if not plain or not all(isinstance(each, str) for each in (told["classes"], *told["paths"])):
            raise ValueError
        _ = [int(place) for place in told["constants"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise FormatError(f"{where} is damaged: the structure of its values can't be read") from None


class _Program:
    def __init__(self, where: str) -> None:
        self._where = where
        self._rules: dict[str, Callable[[Any], None]] = {
            "target": self.target,
            "as_operator": self.target,
            "expr_str": self.expression,
            "in_spec": self.arguments,
            "out_spec": self.structure,
            "name": self.name,
            "as_name": self.name,
            "as_string": _anything,
            "as_strings": _anything,
            "forward_arg_names": self.names,
            "metadata": _anything,  # looked up, not called
            "guards_code": _anything,  # dropped by pt2_load, never compiled
            "as_custom_obj": self._custom_object,
        }

    def check(self, value: Any) -> None:
        """Everything below ``value``."""
        if isinstance(value, dict):
            for key, inner in value.items():
                self._text(key)
                if inner is not None:
                    self._rules.get(key, self.check)(inner)
        elif isinstance(value, list):
            for inner in value:
                self.check(inner)
        elif isinstance(value, str):
            self._text(value)

    def target(self, text: Any) -> None:
        """What a node calls, or passes on to be called."""
        if not isinstance(text, str) or not _is_operator(text):
            self._refuse("calls", text)

    def expression(self, text: str) -> None:
        """A symbolic size, which torch evaluates as Python."""
        if "#" in text or "\\" in text or "\n" in text or not _is_expression(text):
            self._refuse("computes a size from", text)

    def name(self, text: Any) -> None:
        """A name, which torch writes into generated code."""
        if not isinstance(text, str) or _NAME.fullmatch(text) is None:
            self._refuse("has the name", text)

    def names(self, names: list[str]) -> None:
        """Names of arguments, which torch writes into generated code."""
        for name in names:
            self.name(name)

    def arguments(self, text: str) -> None:
        """The structure of a module's arguments: names of keyword arguments end up in generated code."""
        self.structure(text)
        _, structure = json.loads(text)
        if structure["type"] == "builtins.tuple" and len(structure["children_spec"]) == 2:
            context = structure["children_spec"][1]["context"]
            keys = json.loads(context) if isinstance(context, str) else context
            for key in keys or ():
                self.name(key)

    def structure(self, text: str) -> None:
        """A pytree structure as text."""
        _, structure = json.loads(text)
        self._node(structure)

    def _node(self, node: dict[str, Any]) -> None:
        context = node["context"]
        if node["type"] == "collections.defaultdict":
            factory = (context["default_factory_module"], context["default_factory_name"])
            if factory[0] != "builtins" or factory[1] not in ("dict", "float", "int", "list", "set", "str", "tuple"):
                self._refuse("makes values by", ".".join(map(str, factory)))
        if "__enum__" in json.dumps(context):
            self._refuse("imports", context)
        for child in node["children_spec"]:
            self._node(child)

    def _text(self, text: str) -> None:
        if _PATH.fullmatch(text) is None:
            self._refuse("has the name", text)

    def _custom_object(self, value: Any) -> None:
        self._refuse("takes an object of class", value.get("class_fqn"))

    def _refuse(self, does: str, what: object) -> None:
        raise FormatError(
            f"{self._where} {does} {shown(what)}, which a program saved by torch.export.save for partkit doesn't",
            hint="export the model with plain tensors and torch's own operators",
        )


def _anything(_: object) -> None:
    return


def _is_operator(text: str) -> bool:
    first, _, name = text.partition(".")
    if first == "_operator":
        return name in _OPERATORS and hasattr(operator, name)
    if first == "math":
        return not name.startswith("_") and callable(getattr(math, name, None))
    if first != "torch":
        return False
    if re.fullmatch(r"sym_[a-z]+|_sym_[a-z0-9]+", name):
        return True
    parts = name.split(".")
    if parts[:2] == ["ops", "higher_order"]:
        return len(parts) == 3 and parts[2] in _HIGHER_ORDER
    return len(parts) == 4 and parts[0] == "ops" and parts[1] in _NAMESPACES and _is_dispatched(*parts[1:])


def _is_dispatched(namespace: str, name: str, overload: str) -> bool:
    """True for operators on tensors; false for those of TorchScript alone, of which one writes files."""
    import torch

    full = f"{namespace}::{name}"
    qualified = full if overload == "default" else f"{full}.{overload}"
    return full not in _REFUSED_OPS and bool(torch._C._dispatch_has_kernel(qualified))


def _is_expression(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    texts: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSION_NODES):
            return False
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
                return False
            if node.func.id in _TAKES_TEXT:
                texts.update(id(argument) for argument in node.args)
        if isinstance(node, ast.Constant) and not (
            _is_number(node.value) or (id(node) in texts and _is_word(node.value))
        ):
            return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None
