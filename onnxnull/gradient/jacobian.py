"""A model as a differentiable function of one input, and its Jacobian at a point as a linear map."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.gradient.derivative import Derivative, primal, transposed, vjp
from onnxnull.gradient.linear_part import Linear
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import THREADS, Runner

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Model


class Function:
    """One output of a model as a function of one of its inputs, with derivatives. Sessions are made when they are needed.

    Args:
        feeds: an array for every input of the model. Their shapes are those that can be run; inputs that do not vary keep these
            values.
        output: a tensor of the main graph; None for the model's only floating-point output.
        input: None for the first floating-point input.
        precision: FLOAT64 or FLOAT32.

    Attributes:
        input, output: names.
        input_shape: of what varies.

    Raises:
        OnnxnullError: as `vjp`.
    """

    def __init__(
        self,
        model: Model | onnx.ModelProto,
        feeds: Mapping[str, np.ndarray],
        *,
        output: str | None = None,
        input: str | None = None,
        precision: Precision = Precision.FLOAT64,
        provider: Provider = Provider.CPU,
        threads: int = THREADS,
    ) -> None:
        shapes = {name: np.shape(array) for name, array in feeds.items()}
        chosen = None if output is None else [output]
        self._pullback = vjp(model, chosen, None if input is None else [input], shapes=shapes)
        if len(self._pullback.seeds) != 1:
            raise OnnxnullError(Code.DATA, f"the model has {len(self._pullback.seeds)} outputs", "name one of them")
        (self.output,) = self._pullback.seeds
        (self.input,) = self._pullback.results
        if self.input not in feeds:
            raise OnnxnullError(Code.DATA, f"input {self.input!r} gets no array")
        self.input_shape: Shape = tuple(np.shape(feeds[self.input]))
        self._others = {name: array for name, array in feeds.items() if name != self.input}
        self._precision, self._provider, self._threads = precision, provider, threads
        self._pulled_at: Array | None = None
        self._pushed_at: Array | None = None

    def value(self, x: Array) -> Array:
        """f(x), in float64."""
        return self._run(self._value, {self.input: x}, self.output)

    def pull(self, x: Array, cotangent: Array) -> tuple[Array, Array]:
        """(f(x), ȳᵀ ∂f/∂x) for a cotangent ȳ of the output's shape."""
        feeds = self._feeds(self._back, {self.input: x, self._pullback.seeds[self.output]: cotangent})
        found = self._back.run(feeds)
        return _double(found[self.output]), _double(found[self._pullback.results[self.input]])

    def push(self, x: Array, tangent: Array) -> Array:
        """∂f/∂x·ẋ for a tangent ẋ of the input's shape."""
        derivative, runner = self._pushforward, self._forth
        feeds = {**self._fixed(x), derivative.seeds[self.input]: tangent}
        return self._run(runner, feeds, derivative.results[self.output])

    def jacobian(self, x: Array) -> Jacobian:
        """∂f/∂x at x."""
        return Jacobian(self, np.array(x, dtype=np.float64), self.value(x).shape)

    def pull_at(self, x: Array, cotangent: Array) -> Array:
        """ȳᵀ ∂f/∂x alone: where x is the same array as the time before, f is not computed again."""
        if self._pulled_at is not x:
            self._linear_back.fix(self._fixed(x))
            self._pulled_at = x
        return _double(self._linear_back.run({self._pullback.seeds[self.output]: cotangent}))

    def push_at(self, x: Array, tangent: Array) -> Array:
        """∂f/∂x·ẋ, in the same way."""
        if self._pushed_at is not x:
            self._linear_forth.fix(self._fixed(x))
            self._pushed_at = x
        return _double(self._linear_forth.run({self._pushforward.seeds[self.input]: tangent}))

    @functools.cached_property
    def _linear_back(self) -> Linear:
        seed = self._pullback.seeds[self.output]
        return self._linear(self._pullback.proto, seed, self._pullback.results[self.input])

    @functools.cached_property
    def _linear_forth(self) -> Linear:
        derivative = self._pushforward
        return self._linear(derivative.proto, derivative.seeds[self.input], derivative.results[self.output])

    def _linear(self, proto: onnx.ModelProto, seed: str, result: str) -> Linear:
        return Linear(proto, [seed], result, precision=self._precision, provider=self._provider, threads=self._threads)

    @functools.cached_property
    def _value(self) -> Runner:
        return self._runner(primal(self._pullback))

    @functools.cached_property
    def _back(self) -> Runner:
        return self._runner(self._pullback.proto)

    @functools.cached_property
    def _pushforward(self) -> Derivative:
        return transposed(self._pullback)

    @functools.cached_property
    def _forth(self) -> Runner:
        return self._runner(self._pushforward.proto)

    def _fixed(self, x: Array) -> dict[str, np.ndarray]:
        """The point, and the cotangent of the output, of which forward mode may read the shape and nothing else."""
        return {**self._others, self.input: x, self._pullback.seeds[self.output]: np.zeros(self.output_shape)}

    @functools.cached_property
    def output_shape(self) -> Shape:
        """Of the output."""
        return self.value(np.zeros(self.input_shape)).shape

    def _runner(self, proto: onnx.ModelProto) -> Runner:
        return Runner(proto, self._precision, provider=self._provider, threads=self._threads)

    def _feeds(self, runner: Runner, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {**self._others, **arrays}
        return {name: given[name] for name in runner.inputs}

    def _run(self, runner: Runner, arrays: Mapping[str, np.ndarray], wanted: str) -> Array:
        return _double(runner.run(self._feeds(runner, arrays), [wanted])[wanted])


@dataclass(frozen=True, eq=False)
class Jacobian(LinearMap):
    """∂f/∂x at one point, one direction after the other. The shapes are those of the tensors with their batch axis."""

    function: Function
    point: Array
    target: Shape

    @property
    def input_shape(self) -> Shape:
        """Of the input."""
        return self.function.input_shape

    @property
    def output_shape(self) -> Shape:
        """Of the output."""
        return self.target

    def _apply(self, x: Array) -> Array:
        return np.stack([self.function.push_at(self.point, one) for one in x]) if len(x) else np.zeros((0, *self.target))

    def _adjoint(self, y: Array) -> Array:
        found = [self.function.pull_at(self.point, one) for one in y]
        return np.stack(found) if found else np.zeros((0, *self.input_shape))


@dataclass(frozen=True, eq=False)
class SampleJacobian(LinearMap):
    """∂f/∂x of one sample of a function that takes a batch of n samples and keeps them apart: n directions at once.

    Attributes:
        function: for input shape (n, *sample).
        point: the sample, without the batch axis.
        target: the output's shape of one sample.
    """

    function: Function
    point: Array
    target: Shape

    @classmethod
    def at(cls, function: Function, point: Array) -> SampleJacobian:
        """At a sample (*input_shape[1:]). Raises `ValueError` where the output's first axis is no batch."""
        count = function.input_shape[0]
        value = function.value(np.broadcast_to(point, function.input_shape))
        if value.shape[:1] != (count,):
            raise ValueError(f"an output of shape {value.shape} for a batch of {count}")
        return cls(function, np.asarray(point, dtype=np.float64), value.shape[1:])

    @property
    def input_shape(self) -> Shape:
        """Of a sample."""
        return self.function.input_shape[1:]

    @property
    def output_shape(self) -> Shape:
        """Of a sample's output."""
        return self.target

    def _apply(self, x: Array) -> Array:
        return self._in_batches(x, self.function.push, self.target)

    def _adjoint(self, y: Array) -> Array:
        return self._in_batches(y, lambda point, part: self.function.pull(point, part)[1], self.input_shape)

    def _in_batches(self, directions: Array, run: Callable[[Array, Array], Array], shape: Shape) -> Array:
        count = self.function.input_shape[0]
        points = np.broadcast_to(self.point, self.function.input_shape)
        found = np.empty((len(directions), *shape))
        for start in range(0, len(directions), count):
            part = directions[start : start + count]
            padded = np.zeros((count, *directions.shape[1:]))
            padded[: len(part)] = part
            found[start : start + len(part)] = run(points, padded)[: len(part)]
        return found


def _double(array: np.ndarray) -> Array:
    return np.asarray(array, dtype=np.float64)
