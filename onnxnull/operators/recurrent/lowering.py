"""RNN, GRU and LSTM to double: a Scan over time. The product with the input is taken for all times at once, before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, lowers

if TYPE_CHECKING:
    import onnx

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@lowers("RNN", "GRU", "LSTM")
def lowered_recurrent(site: Site, emit: Emitter) -> list[str]:
    """Each direction on its own, then stacked: Y (T, directions, N, hidden), the last hidden state, LSTM's last cell state."""
    x = site.inputs[0]
    late = bool(site.attribute("layout", 0))
    if late:
        x = emit.transpose(x, (1, 0, 2))
    direction = site.attribute("direction", "forward")
    reversals = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[direction]
    results = [_Direction(site, emit, x, number, backwards, late).scan() for number, backwards in enumerate(reversals)]
    stacked = [emit.concat([result[0] for result in results], 1)]
    stacked += [emit.concat([result[i] for result in results], 0) for i in range(1, len(results[0]))]
    if late:
        stacked = [emit.transpose(stacked[0], (2, 0, 1, 3)), *(emit.transpose(state, (1, 0, 2)) for state in stacked[1:])]
    return stacked


@dataclass(slots=True)
class _Direction:
    """One direction of a recurrent node; x is (T, N, input)."""

    site: Site
    emit: Emitter
    x: str
    number: int
    backwards: int
    late: bool

    def scan(self) -> list[str]:
        """Y (T, 1, N, hidden) and the final states (1, N, hidden)."""
        emit, site = self.emit, self.site
        product = emit.op("MatMul", self.x, emit.transpose(self.rows(1), (1, 0)))
        if site.input(3) is not None:
            product = emit.add(product, self.bias())
        states = [self.initial(5), *([self.initial(6)] if site.op_type == "LSTM" else [])]
        mask = self.mask()
        scanned = [product, *([] if mask is None else [mask])]
        body = self.body(len(states), mask is not None)
        results = emit.ops(
            "Scan",
            *states,
            *scanned,
            outputs=len(states) + 1,
            body=body,
            num_scan_inputs=len(scanned),
            scan_input_directions=[self.backwards] * len(scanned),
            scan_output_directions=[self.backwards],
        )
        final = [emit.op("Unsqueeze", state, emit.integers(0)) for state in results[:-1]]
        return [emit.op("Unsqueeze", results[-1], emit.integers(1)), *final]

    def body(self, states: int, masked: bool) -> onnx.GraphProto:
        """One step in time: states and W·x + b in, states and the hidden state out."""
        from onnx import TensorProto, helper

        emit = self.emit
        outer, emit.nodes = emit.nodes, []
        before = [emit.name("state") for _ in range(states)]
        product, mask = emit.name("product"), emit.name("mask") if masked else None
        steps: dict[str, Callable[..., list[str]]] = {"RNN": self.rnn, "GRU": self.gru, "LSTM": self.lstm}
        after = steps[self.site.op_type](product, *before)
        shown = after[0]
        if mask is not None:
            after = [emit.op("Where", mask, new, old) for new, old in zip(after, before, strict=True)]
            shown = emit.op("Where", mask, shown, emit.constant(0.0))
        outputs = [emit.op("Identity", name) for name in (*after, shown)]
        nodes, emit.nodes = emit.nodes, outer
        double = TensorProto.DOUBLE
        state = [None, self.hidden]  # Scan wants to know the rank
        inputs = [helper.make_tensor_value_info(name, double, state) for name in before]
        inputs.append(helper.make_tensor_value_info(product, double, [None, None]))
        if mask is not None:
            inputs.append(helper.make_tensor_value_info(mask, TensorProto.BOOL, [None, 1]))
        results = [helper.make_tensor_value_info(name, double, state) for name in outputs]
        return helper.make_graph(nodes, "step", inputs, results)

    def rnn(self, product: str, hidden: str) -> list[str]:
        """f(W·x + R·h + b)."""
        total = self.emit.add(product, self.emit.op("MatMul", hidden, self.recurrence(0, 1)))
        return [self.activation(0, total)]

    def gru(self, product: str, hidden: str) -> list[str]:
        """z, r = f(W·x + R·h + b); n = g(W·x + R·(r ⊙ h) + b), or g(W·x + b + r ⊙ (R·h + b')); (1 − z) ⊙ n + z ⊙ h."""
        emit = self.emit
        x_z, x_r, x_n = self.gates(product)
        h_zr = emit.op("MatMul", hidden, self.recurrence(0, 2))
        update = self.activation(0, emit.add(x_z, self.gate(h_zr, 0)))
        reset = self.activation(0, emit.add(x_r, self.gate(h_zr, 1)))
        if self.site.attribute("linear_before_reset", 0):
            inner = emit.op("MatMul", hidden, self.recurrence(2, 3))
            if self.site.input(3) is not None:
                inner = emit.add(inner, self.bias_rows(5, 6))
            inner = emit.mul(reset, inner)
        else:
            inner = emit.op("MatMul", emit.mul(reset, hidden), self.recurrence(2, 3))
        new = self.activation(1, emit.add(x_n, inner))
        return [emit.add(emit.mul(emit.sub(1.0, update), new), emit.mul(update, hidden))]

    def lstm(self, product: str, hidden: str, cell: str) -> list[str]:
        """i, o, f = f(W·x + R·h + P ⊙ c + b); c' = f ⊙ c + i ⊙ g(W·x + R·h + b); h' = o ⊙ h(c'); o sees c' through P."""
        emit = self.emit
        i, o, f, c = self.gates(emit.add(product, emit.op("MatMul", hidden, self.recurrence(0, 4))))
        entering = self.activation(0, self.peep(i, cell, 0))
        if self.site.attribute("input_forget", 0):
            forgetting = emit.sub(1.0, entering)
        else:
            forgetting = self.activation(0, self.peep(f, cell, 2))
        after = emit.add(emit.mul(forgetting, cell), emit.mul(entering, self.activation(1, c)))
        leaving = self.activation(0, self.peep(o, after, 1))
        return [emit.mul(leaving, self.activation(2, after, clipped=False)), after]

    def peep(self, gate: str, cell: str, number: int) -> str:
        if self.site.input(7) is None:
            return gate
        peephole = self.emit.reshape(self.part(self.site.inputs[7]), (-1,))
        weights = self.emit.slice(peephole, 0, number * self.hidden, (number + 1) * self.hidden)
        return self.emit.add(gate, self.emit.mul(weights, cell))

    @property
    def hidden(self) -> int:
        """Entries of the hidden state."""
        shape = self.site.shape(2)
        size = self.site.attribute("hidden_size", None) or (shape[2] if shape is not None else None)
        if size is None:
            raise NotLowerableError("the size of the hidden state is not known")
        return int(size)

    def part(self, name: str) -> str:
        return self.emit.slice(name, 0, self.number, self.number + 1)

    def rows(self, index: int) -> str:
        """W or R of this direction, (gates·hidden, inputs)."""
        return self.emit.reshape(self.part(self.site.inputs[index]), (_GATES[self.site.op_type] * self.hidden, -1))

    def recurrence(self, start: int, stop: int) -> str:
        """Rᵀ for some gates, (hidden, gates·hidden)."""
        rows = self.emit.slice(self.rows(2), 0, start * self.hidden, stop * self.hidden)
        return self.emit.transpose(rows, (1, 0))

    def bias_rows(self, start: int, stop: int) -> str:
        flat = self.emit.reshape(self.part(self.site.inputs[3]), (-1,))
        return self.emit.slice(flat, 0, start * self.hidden, stop * self.hidden)

    def bias(self) -> str:
        """The biases of W and R together; a GRU's R bias of the last gate stays apart where it is inside the reset."""
        gates = _GATES[self.site.op_type]
        ours, theirs = self.bias_rows(0, gates), self.bias_rows(gates, 2 * gates)
        if self.site.op_type == "GRU" and self.site.attribute("linear_before_reset", 0):
            zero = self.emit.constant(np.zeros(self.hidden))
            theirs = self.emit.concat([self.bias_rows(3, 5), zero])
        return self.emit.add(ours, theirs)

    def gates(self, product: str) -> list[str]:
        return [self.gate(product, number) for number in range(_GATES[self.site.op_type])]

    def gate(self, product: str, number: int) -> str:
        return self.emit.slice(product, 1, number * self.hidden, (number + 1) * self.hidden)

    def initial(self, index: int) -> str:
        """The initial state (N, hidden); zeros where it is left out."""
        emit = self.emit
        name = self.site.input(index)
        if name is None:
            shape = emit.concat([emit.shape(self.x, 1, 2), emit.integers(self.hidden)])
            return emit.op("Expand", emit.constant(0.0), shape)
        if self.late:
            name = emit.transpose(name, (1, 0, 2))
        return emit.op("Squeeze", self.emit.slice(name, 0, self.number, self.number + 1), emit.integers(0))

    def mask(self) -> str | None:
        """(T, N, 1): whether a sequence goes on at that time; None where all do."""
        emit, lengths = self.emit, self.site.input(4)
        if lengths is None:
            return None
        zero, one = emit.constant(np.array(0)), emit.constant(np.array(1))
        times = emit.op("Range", zero, emit.op("Squeeze", emit.shape(self.x, 0, 1)), one)
        ends = emit.op("Reshape", emit.op("Cast", lengths, to=7), emit.integers(1, -1, 1))
        return emit.op("Less", emit.op("Reshape", times, emit.integers(-1, 1, 1)), ends)

    def activation(self, number: int, x: str, *, clipped: bool = True) -> str:
        """The node's activation number `number` of this direction, after its `clip`."""
        emit, site = self.emit, self.site
        clip = site.attribute("clip", 0.0)
        if clip and clipped:
            x = emit.op("Min", emit.op("Max", x, emit.constant(-clip)), emit.constant(float(clip)))
        default = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[site.op_type]
        names = site.attribute("activations", None) or default * 2
        name = names[self.number * len(default) + number]
        if name.lower() in ("sigmoid", "tanh", "relu"):
            return emit.op(name.capitalize(), x)
        if name.lower() == "softsign":
            return emit.div(x, emit.add(emit.op("Abs", x), 1.0))
        raise NotLowerableError(f"activation {name}")
