"""What a compiled training call holds: XLA's program, or TensorFlow's graph.

For JAX and TensorFlow. A training call is `layer(z, training=True)` with the gradient
of its sum and of the layer's losses.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

SORTS = re.compile(r"^(sort|topk|top_k|topkv2|kthvalue|approxtopk)$")
HOST_CALLS = re.compile(r"callback|pyfunc|infeed|outfeed|^send$|^recv$|^print")
REDUCTIONS = {"reduce", "reduce-window"}  # XLA's
REDUCTIONS |= {"all", "any", "max", "mean", "min", "prod", "sum"}  # of a graph
# They take no pass over memory of their own.
_FREE_IN_XLA = {
    "bitcast",
    "call",
    "conditional",
    "constant",
    "get-tuple-element",
    "iota",
    "parameter",
    "tuple",
    "while",
}
_FREE_IN_A_GRAPH = {
    "case",
    "const",
    "expanddims",
    "identity",
    "identityn",
    "if",
    "noop",
    "partitionedcall",
    "placeholder",
    "readvariableop",
    "reshape",
    "shape",
    "squeeze",
    "statefulpartitionedcall",
    "statelesscase",
    "statelessif",
    "statelesswhile",
    "stopgradient",
    "stridedslice",
    "while",
}
_BRANCHES = {"if", "statelessif", "case", "statelesscase", "while", "statelesswhile"}


class Operation(NamedTuple):
    """One instruction, or one node of a graph."""

    name: str  # in lower case; of a custom call, its target
    size: int  # elements of its largest result
    inputs: tuple[int, ...]  # elements of what it takes
    kernel: bool  # whether it is one by itself, not a part of a fusion
    always: bool  # whether it runs in every batch, not in a branch or loop


class Counts(NamedTuple):
    """Of what runs in every batch."""

    kernels: int
    passes: int  # kernels that take or return a tensor as large as the activations
    reductions: int  # over such tensors


def counts(operations: list[Operation], activations: int) -> Counts:
    always = [o for o in operations if o.always]
    return Counts(
        sum(o.kernel for o in always),
        sum(o.kernel and max(o.size, *o.inputs, 0) >= activations for o in always),
        sum(
            o.name in REDUCTIONS and max(*o.inputs, 0, 0) >= activations for o in always
        ),
    )


def xla_operations(layer: Any, shape: tuple[int, ...]) -> list[Operation]:
    """Of the program that XLA makes for this machine."""
    make = {"jax": _text_of_jax, "tensorflow": _text_of_tensorflow}
    return list(_instructions(make[keras.backend.backend()](layer, shape)))


def _text_of_jax(layer: Any, shape: tuple[int, ...]) -> str:
    import jax

    layer.build(shape)

    def step(x: Any, state: Any) -> Any:
        def loss(x: Any) -> Any:
            trainable, others = state
            y, after, added = layer.stateless_call(
                trainable, others, x, training=True, return_losses=True
            )
            return keras.ops.sum(y) + sum(added), after

        return jax.grad(loss, has_aux=True)(x)

    trainable = [v.value for v in layer.trainable_variables]
    state = trainable, [v.value for v in layer.non_trainable_variables]
    z = jax.ShapeDtypeStruct(shape, "float32")
    return jax.jit(step).lower(z, state).compile().as_text()


def _step_of_tensorflow(layer: Any, shape: tuple[int, ...], **options: Any) -> Any:
    import tensorflow as tf

    layer.build(shape)

    @tf.function(autograph=False, **options)
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y) + tf.add_n([0.0, *layer.losses])
        return tape.gradient(loss, x)

    return step


def _text_of_tensorflow(layer: Any, shape: tuple[int, ...]) -> str:
    import tensorflow as tf

    step = _step_of_tensorflow(layer, shape, jit_compile=True)
    return step.experimental_get_compiler_ir(tf.zeros(shape))(stage="optimized_hlo")


_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$"
)
_SHAPE = re.compile(r"\b[a-z]+\d*\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|\w+_computations?)=(?:\{([^}]*)\}|%?([\w.-]+))"
)


def _instructions(text: str) -> Iterator[Operation]:
    """Those that `ENTRY` comes to."""
    bodies: dict[str, list] = {}
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            body = bodies.setdefault(found[2], [])
            if found[1]:
                entry = found[2]
        elif found := _INSTRUCTION.match(line):
            body.append(found.groups())
    yield from _instructions_of(entry, bodies, kernel=True, always=True)


def _instructions_of(
    name: str, bodies: dict[str, list], kernel: bool, always: bool
) -> Iterator[Operation]:
    sizes = {label: _size(shape) for label, shape, _, _ in bodies[name]}
    for label, _, opcode, rest in bodies[name]:
        arguments = re.findall(r"%([\w.-]+)", rest.split(")")[0])
        inputs = tuple(sizes[a] for a in arguments if a in sizes)
        shown = opcode
        if opcode == "custom-call":
            shown = re.search(r'custom_call_target="([^"]*)"', rest)[1].lower()
        is_kernel = kernel and opcode not in _FREE_IN_XLA
        yield Operation(shown, sizes[label], inputs, is_kernel, always)
        in_branch = opcode in ("conditional", "while")
        inside = kernel and (in_branch or opcode == "call")
        for several, one in _CALLED.findall(rest):
            for called in re.findall(r"[\w.-]+", several or one):
                yield from _instructions_of(
                    called, bodies, inside, always and not in_branch
                )


def _size(shape: str) -> int:
    """Elements of the largest part."""
    parts = [filter(None, part.split(",")) for part in _SHAPE.findall(shape)]
    return max((math.prod(map(int, part)) for part in parts), default=0)


def graph_operations(layer: Any, shape: tuple[int, ...]) -> list[Operation]:
    """Of TensorFlow's graph, which runs as it is without XLA."""
    import tensorflow as tf

    function = _step_of_tensorflow(layer, shape).get_concrete_function(
        tf.TensorSpec(shape)
    )
    graph = function.graph.as_graph_def(add_shapes=True)
    functions = {f.signature.name: f for f in graph.library.function}
    return list(_nodes(graph.node, functions, always=True))


def _nodes(nodes: Any, functions: dict[str, Any], always: bool) -> Iterator[Operation]:
    sizes = {node.name: _size_of_node(node) for node in nodes}
    for node in nodes:
        name = node.op.lower()
        inputs = tuple(sizes.get(i.split(":")[0], 0) for i in node.input)
        yield Operation(
            name, sizes[node.name], inputs, name not in _FREE_IN_A_GRAPH, always
        )
        for attribute in node.attr.values():
            called = [attribute.func, *attribute.list.func]
            for function in [f.name for f in called if f.name]:
                yield from _nodes(
                    functions[function].node_def,
                    functions,
                    always and name not in _BRANCHES,
                )


def _size_of_node(node: Any) -> int:
    shapes = node.attr["_output_shapes"].list.shape
    return max((math.prod(d.size for d in s.dim) for s in shapes), default=0)


WAYS = {
    "jax, XLA": xla_operations,
    "tensorflow, XLA": xla_operations,
    "tensorflow, graph": graph_operations,
}
