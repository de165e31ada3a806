"""Reads the sources of the installed stripe-python as syntax trees and derives Stripe's contract from them.

It must not import stripe: parsing leaves the web process untouched and works for types that only exist in annotations.
stripe-python is generated from Stripe's own OpenAPI description, so its sources match the pinned API version exactly.

A type is plain JSON: a scalar name ("str", "int", "float", "bool", "decimal", "any"), or a list whose first element
names the shape: ["enum", [values]], ["list", type], ["map", type], ["ref", key], ["page", type], ["union", [types]].
"""

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Shape: TypeAlias = str | list[Any]
Fields: TypeAlias = dict[str, list[Any]]  # field name -> [shape, is required]

SCALARS = {
    "str": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "Decimal": "decimal",
    "datetime": "int",
    "Any": "any",
}
EXPANDABLE = "ExpandableField"
PAGES = {"ListObject", "SearchResultObject"}
MAPS = {"UntypedStripeObject", "Dict", "Mapping"}
GENERATED = "# File generated from our OpenAPI spec"
SKIPPED = {"__init__.py", "_v1_services.py", "_v2_services.py"}  # only re-exports and tables of services


def sdk_root() -> Path:
    """Folder of the installed SDK, found without importing it."""
    spec = importlib.util.find_spec("stripe")
    if spec is None or spec.origin is None:
        raise LookupError("stripe-python is not installed, so its contract cannot be read")
    return Path(spec.origin).parent


def _string_constant(root: Path, file_name: str, name: str) -> str:
    for node in ast.walk(ast.parse((root / file_name).read_text())):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return str(ast.literal_eval(node.value))
    raise LookupError(f"{file_name} of the installed stripe-python defines no {name}")


def sdk_version(root: Path) -> str:
    return _string_constant(root, "_version.py", "VERSION")


def sdk_api_version(root: Path) -> str:
    return _string_constant(root, "_api_version.py", "CURRENT")


@dataclass
class _Module:
    """One source file: its dotted name, its imports by local name, and its syntax tree."""

    name: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)  # local name -> "module:Name"

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe"):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = f"{node.module}:{alias.name}"


@dataclass(frozen=True)
class _Scope:
    """Where an annotation stands: its module and the class names that enclose it, innermost last."""

    module: _Module
    classes: tuple[str, ...]
    known: frozenset[str]  # every class defined in the module, as a dotted path

    def resolve(self, name: str) -> str:
        """The key of a named class: looked up from the innermost class outwards, then in the module's imports."""
        for depth in range(len(self.classes), -1, -1):
            dotted = ".".join((*self.classes[:depth], name))
            if dotted in self.known:
                return f"{self.module.name}:{dotted}"
        return self.module.imports.get(name, f"{self.module.name}:{name}")


def _classes(body: list[ast.stmt], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.ClassDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            path = (*prefix, node.name)
            yield path, node
            yield from _classes(node.body, path)


def _union(shapes: list[Shape]) -> Shape:
    """Joins alternatives. The SDK declares every enumeration open (`Literal[...] | str`); the listed values count as
    closed here, because a value outside them is what a misspelling looks like. Only `Literal[''] | str`, which means
    "a string, or empty to unset it", stays a plain string."""
    flat: list[Shape] = []
    for shape in shapes:
        flat.extend(shape[1] if isinstance(shape, list) and shape[0] == "union" else [shape])
    values = [value for shape in flat if isinstance(shape, list) and shape[0] == "enum" for value in shape[1]]
    others = [shape for shape in flat if not (isinstance(shape, list) and shape[0] == "enum")]
    if any(value != "" for value in values):
        others = [shape for shape in others if shape != "str"]
    elif "str" in others:
        values = []
    unique: list[Shape] = [["enum", values]] if values else []
    for shape in others:
        if shape not in unique:
            unique.append(shape)
    return unique[0] if len(unique) == 1 else ["union", unique]


def _arguments(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def _subscript(node: ast.Subscript, scope: _Scope) -> Shape:
    if not isinstance(node.value, ast.Name):
        return "any"
    name, arguments = node.value.id, _arguments(node)
    if name == "Literal":
        return ["enum", [argument.value for argument in arguments if isinstance(argument, ast.Constant)]]
    inner = [_shape(argument, scope) for argument in arguments]
    if name in ("Optional", "NotRequired", "Required", "ClassVar"):
        return inner[0]
    if name == "Union":
        return _union(inner)
    if name == EXPANDABLE:
        return ["union", ["str", inner[0]]]
    if name == "List":
        return ["list", inner[0]]
    if name in PAGES:
        return ["page", inner[0]]
    return ["map", inner[-1]] if name in MAPS else "any"


def _shape(node: ast.expr, scope: _Scope) -> Shape:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _shape(ast.parse(node.value.strip(), mode="eval").body, scope)
    if isinstance(node, ast.Name):
        return SCALARS.get(node.id) or ["ref", scope.resolve(node.id)]
    if isinstance(node, ast.BinOp):
        return _union([_shape(node.left, scope), _shape(node.right, scope)])
    return _subscript(node, scope) if isinstance(node, ast.Subscript) else "any"


def _wrapper(node: ast.expr) -> str:
    return node.value.id if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) else ""


def _functional_fields(call: ast.Call, scope: _Scope) -> Fields:
    """Fields of `Name = TypedDict("Name", {...})`, the form used when a key is a Python keyword such as `from`."""
    table = call.args[1]
    if not isinstance(table, ast.Dict):
        return {}
    return {
        str(key.value): [_shape(value, scope), _wrapper(value) != "NotRequired"]
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    }


def _class_fields(node: ast.ClassDef, scope: _Scope, optional: str) -> Fields:
    return {
        item.target.id: [_shape(item.annotation, scope), _wrapper(item.annotation) != optional]
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not item.target.id.startswith("_")
        and _wrapper(item.annotation) != "ClassVar"
    }


def _object_name(node: ast.ClassDef) -> str | None:
    for item in node.body:
        if (
            isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and item.target.id == "OBJECT_NAME"
            and isinstance(item.value, ast.Constant)
        ):
            return str(item.value.value)
    return None


def _bases(node: ast.ClassDef, scope: _Scope) -> list[str]:
    return [scope.resolve(base.id) for base in node.bases if isinstance(base, ast.Name)]


def _path_template(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Constant)
    ):
        return str(node.func.value.value)
    return None


def _operation(method: ast.FunctionDef, scope: _Scope) -> dict[str, Any] | None:
    """The HTTP call that one service method makes, or None for helpers."""
    for call in ast.walk(method):
        if not (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in ("_request", "_request_stream")
        ):
            continue
        path = _path_template(call.args[1])
        if not isinstance(call.args[0], ast.Constant) or path is None:
            continue
        params = next((arg.annotation for arg in method.args.args if arg.arg == "params" and arg.annotation), None)
        shape = _shape(params, scope) if params else "any"
        returns = _shape(method.returns, scope) if method.returns else "any"
        return {
            "method": str(call.args[0].value).upper(),
            "path": path,
            "params": shape[1] if isinstance(shape, list) and shape[0] == "ref" else None,
            "returns": returns,
        }
    return None


@dataclass
class Derived:
    """The contract as plain JSON values."""

    version: str
    api_version: str
    operations: list[dict[str, Any]] = field(default_factory=list)
    params: dict[str, Fields] = field(default_factory=dict)
    responses: dict[str, Fields] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)  # value of "object" -> key in responses


def _read_params(module: _Module, into: Derived) -> None:
    scope = _Scope(module, (), frozenset(path[-1] for path, _ in _classes(module.tree.body)))
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            into.params[f"{module.name}:{node.targets[0].id}"] = _functional_fields(node.value, scope)
    for _, node in _classes(module.tree.body):
        fields: Fields = {}
        for base in _bases(node, scope):
            fields.update(into.params.get(base, {}))
        fields.update(_class_fields(node, scope, "NotRequired"))
        into.params[f"{module.name}:{node.name}"] = fields


def _read_services(module: _Module, into: Derived) -> None:
    scope = _Scope(module, (), frozenset())
    for _, node in _classes(module.tree.body):
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and (operation := _operation(method, scope)):
                into.operations.append(operation)


def _read_responses(module: _Module, into: Derived) -> None:
    found = list(_classes(module.tree.body))
    known = frozenset(".".join(path) for path, _ in found)
    for path, node in found:
        key = f"{module.name}:{'.'.join(path)}"
        into.responses[key] = _class_fields(node, _Scope(module, path, known), "Optional")
        if name := _object_name(node):
            into.objects.setdefault(name, key)


def derive(root: Path | None = None) -> Derived:
    """Parses every source file once (about 3 s on one core)."""
    root = root or sdk_root()
    into = Derived(version=sdk_version(root), api_version=sdk_api_version(root))
    for path in sorted(root.rglob("*.py")):
        dotted = ".".join(("stripe", *path.relative_to(root).with_suffix("").parts))
        source = path.read_text()
        if path.name in SKIPPED or GENERATED not in source[:200]:
            continue
        module = _Module(dotted, ast.parse(source))
        if dotted.startswith("stripe.params."):
            _read_params(module, into)
        elif path.name.endswith("_service.py"):
            _read_services(module, into)
        else:
            _read_responses(module, into)
    return into
