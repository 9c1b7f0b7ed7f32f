"""Mutations of a YAML text at three levels: bytes, tokens, structure. Everything follows from the random stream it is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

import yaml

SEPARATOR = "\n---\n"


def _words(text: str) -> list[str]:
    return text.split()


TOKENS = (
    *_words(
        "- : ? , [ ] { } & * ! | > ' \" % @ ` # ~ = << --- ... &a *a *missing !!binary !!set !!int !<x> |+2 >- <<: /"
    ),
    *(
        "\n",
        "\t",
        "\r\n",
        "  ",
        "%YAML 1.1",
        "%TAG ! tag:x,2000:",
        "!!python/object/apply:os.system",
        "<<: *a",
        "\\x00",
    ),
    *('"\\ud800"', "\ufeff", "\u2028", "\x00", "\x85", "\ud800", "🦊", "9" * 50, "9" * 5000, '""', "''", "A" * 300),
    *_words("null true yes no on 0 -1 1 65535 65536 4294967296 1e3 0x10 0o17 010 1_000 .inf -.inf .nan 1.5 2024-09-01"),
    *_words("10:20:30 {} [] [[]] a_b -a a. 00:00:00:00:00:00 ff:ff:ff:ff:ff:ff 0a:58:0a:01:00:14"),
    *_words("10.0.0.1 10.0.0.0/24 10.0.0.1/24 0.0.0.0/0 ::/0 fd00::/64 ::1 256.1.1.1 10.1.0.1,fd00:1::1 224.0.0.1"),
    *_words("10.1.0.0/31 10.1.0.5/32 fe80::1%eth0 1.2.3.4,5.6.7.8 10.1.0.9..10.1.0.2 a-b fd00::-10.0.0.1 1/1/1"),
    *_words("vpc1 vpc2 ovn-cluster subnet1 node1 edge join shop roundRobin dpHash ipSrc ClusterIP None LoadBalancer"),
    *_words("cluster TCP SCTP Dual IPv6 List PodList Vpc Pod YusurService ConfigMap v1 kubeovn.io/v1"),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        80,
        65536,
        10**30,
        1.5,
        float("inf"),
        float("nan"),
        "",
        " ",
        "x",
        "80",
        "\x07",
        "\ud83e",
    ),
    *([], {}, [[]], [None], [{}], {"": ""}, {"a": {"b": {}}}, ["x"] * 5, [1, "x", None]),
    *_words("true None 10.1.0.20 10.1.0.0/24 fd00:1::1 10.96.0.10 10.1.0.20,fd00:1::20 fd00:1::5,fd00:1::6 200.0.0.7"),
    *_words("10.2.0.5 ::ffff:10.0.0.1 vpc1 vpc2 subnet2 node2 edge join http ClusterIP LoadBalancer cluster"),
    *_words("ovn-cluster roundRobin dpHash tpDst"),
)
_TARGET = "\n"


@cache
def corpus() -> tuple[str, ...]:
    """The documents to start from."""
    text = files("experiments.fuzz").joinpath("corpus.yaml").read_text(encoding="utf-8")
    return tuple(text.split(SEPARATOR))


def mutated(random: Random) -> str:
    """One mutated file: often the whole corpus with one document changed, so that what refers to it is tried too."""
    documents = list(corpus())
    index = random.randrange(len(documents))
    text = documents[index]
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        text = random.choice(MUTATIONS)(random, text)
    if random.random() < 0.05:
        text = bomb(random, text)  # last: it must not go off in here
    if random.random() < 0.6:
        documents[index] = text
        if random.random() < 0.1:
            random.shuffle(documents)
        if random.random() < 0.1:
            del documents[random.randrange(len(documents))]
        return SEPARATOR.join(documents)
    return text


# --- bytes -------------------------------------------------------------------------------------------------------------------


def flip_byte(random: Random, text: str) -> str:
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if data:
        data[random.randrange(len(data))] = random.randrange(256)
    return data.decode("utf-8", random.choice(("replace", "surrogateescape")))


def cut(random: Random, text: str) -> str:
    start = random.randrange(len(text) + 1)
    return text[:start] + text[start + random.choice((1, 2, 10, 100)) :]


def repeat(random: Random, text: str) -> str:
    start = random.randrange(len(text) + 1)
    piece = text[start : start + random.choice((1, 3, 20, 200))]
    return text[:start] + piece * random.choice((2, 3, 50)) + text[start:]


def truncate(random: Random, text: str) -> str:
    return text[: random.randrange(len(text) + 1)]


# --- tokens ------------------------------------------------------------------------------------------------------------------


def insert_token(random: Random, text: str) -> str:
    place = random.randrange(len(text) + 1)
    return (
        text[:place]
        + random.choice(("", " ", "\n"))
        + random.choice(TOKENS)
        + random.choice(("", " ", "\n"))
        + text[place:]
    )


def replace_word(random: Random, text: str) -> str:
    words = text.split(" ")
    words[random.randrange(len(words))] = random.choice(TOKENS)
    return " ".join(words)


def swap_words(random: Random, text: str) -> str:
    words = text.split(" ")
    one, two = random.randrange(len(words)), random.randrange(len(words))
    words[one], words[two] = words[two], words[one]
    return " ".join(words)


def indent_line(random: Random, text: str) -> str:
    lines = text.split(_TARGET)
    at = random.randrange(len(lines))
    lines[at] = random.choice((" ", "  ", "\t", "- ", "? ", "! ")) + lines[at]
    return _TARGET.join(lines)


def shuffle_lines(random: Random, text: str) -> str:
    lines = text.split(_TARGET)
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return _TARGET.join(lines)


def bomb(random: Random, text: str) -> str:
    """Depth, or aliases that grow."""
    size = random.choice((5, 70, 2000))
    kind = random.randrange(5)
    if kind == 0:
        return f"{text}\nx: " + "[" * size + "]" * random.choice((0, size))
    if kind == 1:
        return f"{text}\nx: " + "{a: " * size + "}" * random.choice((0, size))
    if kind == 2:
        return "- " * size + text
    if kind == 3:
        layers = ["&l0 [x, x, x, x, x, x, x, x]"]
        layers += [f"&l{i} [{', '.join([f'*l{i - 1}'] * 8)}]" for i in range(1, random.choice((3, 12)))]
        return f"{text}\nx:\n" + "".join(f"- {layer}\n" for layer in layers)
    layers = ["m0: &m0 {a: 1, b: 2}"]
    layers += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}], k{i}: *m{i - 1}}}" for i in range(1, random.choice((3, 30)))]
    return f"{text}\n" + "\n".join(layers)


# --- structure ---------------------------------------------------------------------------------------------------------------


def change_tree(random: Random, text: str) -> str:
    """Load, change some places of the tree, write it again as YAML or JSON."""
    try:
        tree = yaml.load(text, Loader=yaml.CSafeLoader)
    except Exception:  # PyYAML's constructors raise all sorts: IndexError of `!!int ''`, KeyError of `!!bool x`
        return replace_word(random, text)
    for _ in range(random.choice((1, 1, 2, 5))):
        _change(random, tree)
    try:
        if random.random() < 0.3:
            return json.dumps(tree, default=str, ensure_ascii=random.random() < 0.5)
        return yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True)
    except (yaml.YAMLError, ValueError, RecursionError, UnicodeError, TypeError):
        return replace_word(random, text)


def _places(tree: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a tree."""
    if depth > 20 or not isinstance(tree, dict | list):
        return []
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    return [place for key, value in items for place in [(tree, key), *_places(value, depth + 1)]]


def _change(random: Random, tree: Any) -> None:
    places = _places(tree)
    if not places:
        return
    container, key = random.choice(places)
    kind = random.randrange(8)
    if kind <= 2:
        container[key] = deepcopy(random.choice(VALUES))
    elif kind == 3:
        del container[key]
    elif kind == 4:
        other, other_key = random.choice(places)
        container[key] = (
            other[other_key] if not isinstance(other[other_key], dict | list) else deepcopy(random.choice(VALUES))
        )
    elif kind == 5 and isinstance(container, dict):
        renamed = f"{key}{random.choice(('s', '_', 'X'))}" if random.random() < 0.5 else random.choice(TOKENS)
        container[renamed] = container.pop(key)
    elif kind == 6 and isinstance(container, list):
        container.extend([container[key]] * random.choice((1, 2, 40)))
    else:
        container[key] = [container[key]] if random.random() < 0.5 else {"items": container[key], "kind": "List"}


MUTATIONS: tuple[Callable[[Random, str], str], ...] = (
    *(flip_byte, cut, repeat, truncate),
    *(insert_token, replace_word, swap_words, indent_line, shuffle_lines),
    *([change_tree] * 16),
)
