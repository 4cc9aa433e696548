"""jsonargparse's errors in pdeflow's words: which key, what it got, the nearest names, what to run next."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any

from pdeflow.cli.allowlist import is_allowed
from pdeflow.cli.failure import UsageError
from pdeflow.errors import InvalidInput, PdeflowError, nearest

_DENIED = re.compile(r"Importing '([^']+)' is not allowed, denied by the '([^']+)' entry")
_NO_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_NO_GROUP_OPTION = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_NOT_SUBCLASS = re.compile(r"Import path (\S+) does not correspond to a subclass of (\S+)")
_MISSING = re.compile(r"the following arguments are required: (.+)")
_UNRECOGNISED = re.compile(r"unrecognized arguments: (.+)", re.DOTALL)
_ONE_ARGUMENT = re.compile(r"argument (\S+): expected (one|at least one) argument")
_PARSER_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"given class_path '([\w.]+)'")
_CLASS_IN_VALUE = re.compile(r"Namespace\(class_path='([\w.]+)'")
_EXPECTED = re.compile(r"Expected an? (?:<class '([\w.]+)'>|(.+?))(?:\.? Got value: (.+))?$", re.MULTILINE)
_NO_CLASS = re.compile(r"Not a valid subclass of \w+\. Got value: (.+)")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NOT_IN_MODULE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_NUMBER = re.compile(r"Expected an? <class '(int|float)'>")
_GIVEN = re.compile(r"Given value: (.+)", re.DOTALL)
_YAML = re.compile(r"line (\d+), column (\d+)")
_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
    "list": "a list",
    "collections.abc.Sequence": "a list",
    "collections.abc.Mapping": "a mapping",
}

# What the two verbs that take a file of their own kind call it, and keys that no file of the other kind has
# (`problem` is in both).
EXAMPLES = {
    "fit": "pdeflow fit -c configs/darcy_fno.yaml",
    "generate": "pdeflow generate -c datasets/darcy/recipe.yaml -o data/darcy.h5",
}
_KINDS = {"fit": "a training config", "generate": "a recipe"}
_MARKS = {
    "fit": (
        "model",
        "objective",
        "data",
        "optimizer",
        "lr_scheduler",
        "trainer",
        "ensemble",
        "compile",
        "seed_everything",
    ),
    "generate": ("name", "samples", "chain", "solver", "preconditioner", "resolution", "rtol"),
}


def usage_error(message: str, parser: Any, verb: str) -> UsageError:
    """The `UsageError` that says what ``message`` (from ``parser``) means for the user of ``verb``."""
    keys = _PARSER_KEY.findall(message)
    top = keys[0] if keys else ""
    classes = _CLASS.findall(message) or _CLASS_IN_VALUE.findall(message)[:1]
    listing = f"Run: pdeflow {verb} --help"
    for name in classes if top == "model" else []:
        if refused := made_of_operators(name):
            return refused
    if found := _DENIED.search(message):
        name = found[1]
        advice = "It can run commands or reach files: do not use a config that names it."
        if found[2] == "*":
            advice = f"If you wrote or trust it: pdeflow {verb} --allow {name.rpartition('.')[0] or name} ..."
        return UsageError(
            _join(keys, "class_path"),
            name,
            "a class that configs may name (pdeflow's, torch.optim's, Lightning's callbacks)",
            f"Nothing was imported. {advice}",
            choices=_near_only(name.rpartition(".")[2], _class_names(top)),
        )
    if classes and (found := _NOT_IN_MODULE.search(message)):
        names = vars(sys.modules[found[1]]) if found[1] in sys.modules else {}
        own = [name for name, value in names.items() if getattr(value, "__module__", None) == found[1]]
        expected, hint = f"a class of {found[1]}", "Correct the name, or define it there."
        return UsageError(
            _join(keys, "class_path"), found[2], expected, hint, choices=_near_only(found[2], own)
        )
    if classes and (found := _NO_MODULE.search(message)):
        expected = "a module that can be imported"
        hint = f"Is {found[1]} in the current folder, or installed?"
        return UsageError(_join(keys, "class_path"), classes[-1], expected, f"No module {found[1]}. {hint}")
    if found := _NO_GROUP_OPTION.search(message):
        group, name = found[1], found[2]
        choices = [key[len(group) + 1 :] for key in _keys(parser) if key.startswith(group + ".")]
        return _unknown(f"{group}.{name}", name, f"a key of {group}", choices, listing)
    if found := _NO_OPTION.search(message):
        return _unaccepted(found[1], keys, classes, parser, verb)
    if (found := _UNKNOWN_CLASS.search(message)) and not _NUMBER.search(_innermost(message)):
        return _unknown_class(found[1], keys, verb)
    if (found := _NOT_SUBCLASS.search(message)) and not _MISSING.search(message):
        expected = f"a subclass of {found[2].rpartition('.')[2]}"
        return UsageError(_join(keys, "class_path"), found[1], expected, listing, choices=_class_names(top))
    if found := _MISSING.search(message):
        return _missing(found[1].partition(". Got value")[0].strip(), keys, classes, verb)
    if found := _UNRECOGNISED.search(message):
        name = found[1].split()[0].split("=")[0]
        if not name.startswith("-"):
            return UsageError("command", name, "an option such as --trainer.max_epochs=10", listing)
        if name == "--device":
            return UsageError(name, name, "an option", "Give --trainer.accelerator=cuda (or cpu, gpu, mps).")
        return _unknown(name, name, "an option", ["--" + key for key in _keys(parser)], listing)
    if found := _ONE_ARGUMENT.search(message):
        return UsageError(found[1], "nothing", "a value", f"For example: {found[1]}=VALUE. {listing}")
    if message.startswith("Problems parsing config") or "parsing a" in message:
        place = _YAML.findall(message)
        line = f"line {place[-1][0]}, column {place[-1][1]}" if place else "unreadable text"
        why = next(
            (text for text in message.splitlines()[::-1] if text and not text.startswith(" ")), message
        )
        return UsageError(
            "-c/--config", line, "YAML", f"{why.strip()}. Check the indentation, colons and brackets there."
        )
    if classes and keys and "." not in keys[0]:
        listing = f"Run: pdeflow {verb} --{keys[0]}.help {classes[-1].rpartition('.')[2]}"
    return _wrong_value(message, keys, listing)


def made_of_operators(class_path: str) -> UsageError | None:
    """The `UsageError` for a model that pdeflow makes of the operator that a config names."""
    module, _, name = class_path.rpartition(".")
    if name not in _MADE_BY or module.partition(".")[0] not in ("", "pdeflow"):
        return None
    hint = f"Name the operator that it is made of, and set {_MADE_BY[name]}."
    return UsageError("model.class_path", name, "an operator such as FNO", hint)


def instantiate(parser: Any, config: Any) -> Any:
    """``parser.instantiate(config)``; the error of a class that refuses its arguments is its own, with a key.

    jsonargparse wraps it where the argument's type is a union.
    """
    try:
        return parser.instantiate(config)
    except ValueError as error:
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, PdeflowError):
            inner = inner.__cause__
        if inner is None:
            raise
        place = _place(config.as_dict(), inner) if isinstance(inner, InvalidInput) else ""
        if isinstance(inner, InvalidInput) and place:
            key, choices = f"{place}: {inner.name}", inner.choices
            raise UsageError(key, inner.got, inner.expected, inner.hint, choices=choices) from None
        raise inner from None


def _place(config: Any, error: InvalidInput, path: str = "") -> str:
    """The key of the class whose arguments an error is about; "" where that is not clear."""
    found = []
    if isinstance(config, dict):
        arguments = config.get("init_args")
        names = error.name.split(", ")
        if path and isinstance(arguments, dict) and set(names) <= set(arguments):
            values = tuple(arguments[name] for name in names)
            if values == error.got or values == (error.got,):
                found.append(path)
        for key, value in config.items():
            inside = path if key == "init_args" else f"{path}.{key}" if path else key
            found.append(_place(value, error, inside))
    places = {place for place in found if place}
    return places.pop() if len(places) == 1 else ""


def _unknown_class(name: str, keys: list[str], verb: str) -> UsageError:
    top = keys[0] if keys else ""
    for path in _class_paths(top):
        if path.rpartition(".")[2] == name and not is_allowed(path):
            hint = f"If you trust it: pdeflow {verb} --allow {path.rpartition('.')[0]} ..."
            return UsageError(_join(keys, "class_path"), name, "a class that configs may name", hint)
    hint = f"Run: pdeflow {verb} --help"
    if "." not in top:
        hint = f"Run: pdeflow {verb} --{top}.help CLASS for the arguments of one of them."
    return UsageError(_join(keys, "class_path"), name, "a known class", hint, choices=_class_names(top))


def _unaccepted(name: str, keys: list[str], classes: list[str], parser: Any, verb: str) -> UsageError:
    if classes:
        name = name.removeprefix("init_args.")
        owner = classes[-1].rpartition(".")[2]
        key = _join(keys, f"init_args.{name}")
        hint = f"Run: pdeflow {verb} --{keys[0] if keys else 'model'}.help {owner}"
        return _unknown(key, name, f"an argument of {owner}", _arguments(classes[-1]), hint)
    known = _keys(parser)
    known += [key.split(".")[0] for key in known]
    head = name.split(".")[0]
    wrong = head if head not in known else name
    for other, example in EXAMPLES.items():
        if other != verb and wrong in _MARKS[other]:
            what, wanted = _KINDS[other], _KINDS[verb]
            return UsageError(
                "-c/--config",
                wrong,
                f"{wanted}; a file with this key is {what}",
                f"For {wanted}: {EXAMPLES[verb]}\nFor {what}: {example}",
            )
    return _unknown(wrong, wrong, "a key of a config", known, f"Run: pdeflow {verb} --help")


def _unknown(key: str, name: str, expected: str, choices: Iterable[str], hint: str) -> UsageError:
    return UsageError(key, name, expected, hint, choices=set(choices))


def _missing(names: str, keys: list[str], classes: list[str], verb: str) -> UsageError:
    if classes:
        owner = classes[-1].rpartition(".")[2]
        hint = f"Run: pdeflow {verb} --{keys[0] if keys else 'model'}.help {owner}"
        first = names.split(",")[0].strip()
        return UsageError(
            _join(keys, f"init_args.{first}"), "nothing", f"a value: {owner} needs {names}", hint
        )
    return UsageError(
        names,
        "nothing",
        f"a config that gives {'them' if ',' in names else 'it'}",
        f"For example: {EXAMPLES.get(verb, EXAMPLES['fit'])}",
    )


def _wrong_value(message: str, keys: list[str], listing: str) -> UsageError:
    kinds, got = [], None
    for kind, text, value in _EXPECTED.findall(_innermost(message)):
        kind = _TYPE_NAMES.get(kind, kind.rpartition(".")[2]) if kind else text.strip()
        if kind not in kinds:
            kinds.append(kind)
        got = value or got
    if got is None and (given := _GIVEN.search(message)):
        got = given[1].strip().splitlines()[0]
    nested = re.search(r"val='(.*)'\)$", got or "")
    if nested:
        got = nested[1]
    if kinds == ["null"]:  # all else that fits are classes, and what is wrong with those is not said
        kinds = ["a class, {class_path: NAME, init_args: {...}}", "null"]
        got = next(iter(_NO_CLASS.findall(message)), got)
    if kinds and got is not None:
        return UsageError(_join(keys, ""), got, " or ".join(kinds[:4]), listing)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return UsageError(_join(keys, "") or "command", got or "this", (" ".join(lines)[:200]), listing)


def _innermost(message: str) -> str:
    """What is said of the deepest key: the lines below it that are indented further."""
    lines = message.splitlines()
    starts = [number for number, line in enumerate(lines) if "Parser key" in line]
    if len(starts) < 2:
        return message
    depth = len(lines[starts[-1]]) - len(lines[starts[-1]].lstrip())
    inside = []
    for line in lines[starts[-1] + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        inside.append(line)
    return "\n".join(inside)


def _join(keys: list[str], last: str) -> str:
    """The path of a key as it stands in a config: nested parsers report each level by itself."""
    path = ".init_args.".join(keys)
    return ".".join(part for part in (path, last) if part) if path else last


def _keys(parser: Any) -> list[str]:
    """All dotted keys the parser knows."""
    # .help and print_shtab are jsonargparse's own, and no keys of a config
    dests = [
        action.dest for action in parser._actions if action.dest not in ("help", "config", "print_shtab")
    ]
    return [dest for dest in dests if not dest.endswith(".help")]


def _arguments(class_path: str) -> list[str]:
    """Names of the constructor arguments of a class, if it is imported already; this imports nothing."""
    module, _, name = class_path.rpartition(".")
    names: list[str] = []
    kind = getattr(sys.modules.get(module), name, object)
    for base in kind.__mro__ if inspect.isclass(kind) else (kind,):
        call = base.__dict__.get("__init__") if inspect.isclass(base) else base
        if call is None or base is object:
            continue
        parameters = inspect.signature(call).parameters.values()
        names += [
            p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"
        ]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def _near_only(name: str, choices: Iterable[str]) -> list[str]:
    """The choices near ``name`` and no others: a list of everything would hide what matters."""
    return nearest(name, choices)


def _class_names(top: str) -> list[str]:
    """Short names of the classes that the config key ``top`` may name."""
    names = {path.rpartition(".")[2] for path in _class_paths(top) if is_allowed(path)}
    return sorted(names - set(_MADE_BY))


def _class_paths(top: str) -> list[str]:
    """Full names of the imported classes that fit the config key ``top``; of all kinds for an unknown key."""
    kinds = [bases for key, bases in _BASES.items() if top.startswith(key)] or list(_BASES.values())
    found = []
    for module, name in (base for bases in kinds for base in bases):
        root = getattr(sys.modules.get(module), name, None)
        queue = [root] if root else []
        while queue:
            kind = queue.pop()
            queue += kind.__subclasses__()
            if kind is not root and not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
                found.append(f"{kind.__module__}.{kind.__name__}")
    return found


_MADE_BY = {
    "Ensemble": "ensemble: 5",
    "GraphEnsemble": "ensemble: 5",
    "MeanVariance": "objective: GaussianNLL",
    "GraphMeanVariance": "objective: GaussianNLL",
}
_BASES = {
    "model": [("pdeflow.operators", "Operator")],
    "objective": [("pdeflow.training", "Objective"), ("pdeflow.training", "Loss")],
    "data": [("lightning.pytorch", "LightningDataModule")],
    "optimizer": [("torch.optim", "Optimizer")],
    "lr_scheduler": [("pdeflow.training", "Schedule"), ("torch.optim.lr_scheduler", "LRScheduler")],
    "trainer.callbacks": [("lightning.pytorch", "Callback")],
    "trainer.logger": [("lightning.pytorch.loggers", "Logger")],
    "trainer.strategy": [("lightning.pytorch.strategies", "Strategy")],
    "problem": [
        ("pdeflow.problems", "Problem"),
        ("pdeflow.problems", "Distribution"),
        ("pdeflow.problems.conditions", "Condition"),
    ],
    "solver": [("pdeflow.linalg", "Solver")],
    "preconditioner": [("pdeflow.linalg", "Preconditioner")],
}
