"""Linear models of ai.onnx.ml (opset 1): LinearClassifier, LinearRegressor, SVMClassifier, SVMRegressor.

Their weights are attributes: `coefficients`, a row of as many numbers as there are features for each class or target. The
scores are X·coefficientsᵀ + intercepts, X (N, features) or (features,). A LinearClassifier has a row per intercept, and where
it has none (which the specification allows), a row per label; a LinearRegressor has `targets` rows. An SVM without support
vectors is linear too ("liblinear mode" in onnxruntime), whatever its kernel_type says: a row per label, one for the regressor.
With support vectors its kernel is not a product of X with one stored matrix, and it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant, Stored, known
from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import Range, anything, collapsed, constant, number
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import Matrix, Reshape
from onnxnull.operators.linear_use import LinearUse, Refusal, holds_no_weight, holds_weights, is_constant, shape_at
from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, lowers
from onnxnull.operators.range_rules import Operands, given, gives, output_type

_DOMAIN = "ai.onnx.ml"


@holds_weights("LinearClassifier", domain=_DOMAIN)
def linear_classifier(node: Node) -> Iterator[LinearUse]:
    """A row of coefficients per class (one for two classes, where there is one intercept)."""
    rows = len(node.attribute("intercepts", None) or ()) or _labels(node)
    yield from _coefficients(node, rows)


@holds_weights("LinearRegressor", domain=_DOMAIN)
def linear_regressor(node: Node) -> Iterator[LinearUse]:
    """A row of coefficients per target."""
    yield from _coefficients(node, int(node.attribute("targets", 1)))


@holds_weights("SVMClassifier", "SVMRegressor", domain=_DOMAIN)
def support_vector_machine(node: Node) -> Iterator[LinearUse]:
    """The coefficients of a machine without support vectors."""
    vectors = sum(node.attribute("vectors_per_class", None) or ()) + int(node.attribute("n_supports", 0))
    if vectors or node.attribute("support_vectors", None):
        kernel = node.attribute("kernel_type", "LINEAR")
        raise Refusal(
            Code.OPERATOR, f"a support vector machine ({kernel}): its kernel is evaluated on {vectors} support vectors"
        )
    yield from _coefficients(node, _labels(node) if node.op_type == "SVMClassifier" else 1)


def _labels(node: Node) -> int:
    return len(node.attribute("classlabels_ints", None) or node.attribute("classlabels_strings", None) or ())


def _coefficients(node: Node, rows: int) -> Iterator[LinearUse]:
    constant = attribute_constant(node, "coefficients")
    if constant is None or is_constant(node, 0):
        return
    features, rest = divmod(constant.size, rows) if rows > 0 else (0, 1)
    read = (shape_at(node, 0) or (None,))[-1]
    if rest or read not in (None, features):
        seen = f"{constant.size} coefficients in {rows} rows on {'?' if read is None else read} features"
        raise Refusal(Code.INVALID_MODEL, f"{node.op_type} with {seen}")
    yield LinearUse(
        constant=constant,
        activation=0,
        shape=(1, features, rows),
        arrange=partial(coefficient_rows, rows),
        linear_map=_scores_map,
        paper=True,
    )


def attribute_constant(node: Node, name: str) -> Constant | None:
    """An attribute of floats (float32, as ONNX stores them) as a constant; None where the node has none."""
    import onnx_ir as ir

    values = node.attribute(name, None)
    if not values:
        return None
    label = f"{node.name}.{name}"
    array = np.asarray(values, dtype=np.float32)
    return replace(known(array, label), root=Stored(label, ir.tensor(array, name=label)))


def coefficient_rows(rows: int, coefficients: np.ndarray) -> np.ndarray:
    """Rows of coefficients, one after the other, as a block (1, features, rows)."""
    return coefficients.reshape(rows, -1).T[None]


def _scores_map(blocks: np.ndarray, activation: tuple[int, ...]) -> LinearMap:
    """The scores (N, rows); a vector is a batch of one."""
    if len(activation) == 1:
        return Matrix(blocks[0], (1,)) @ Reshape(activation, (1, *activation))
    return Matrix(blocks[0], activation[:-1])


@lowers("LinearRegressor", domain=_DOMAIN)
def lowered_linear_regressor(site: Site, emit: Emitter) -> str:
    """X·coefficientsᵀ + intercepts; to double."""
    targets, post = int(site.attribute("targets", 1)), site.attribute("post_transform", "NONE")
    coefficients = np.asarray(site.attribute("coefficients", ()), dtype=np.float64)
    if post != "NONE" or coefficients.size % targets or site.rank(0) != 2:
        raise NotLowerableError(f"a regressor of {targets} targets with the transform {post} on {site.rank(0)} axes")
    product = emit.op("MatMul", site.inputs[0], emit.constant(coefficient_rows(targets, coefficients)[0]))
    intercepts = site.attribute("intercepts", None)
    return product if not intercepts else emit.add(product, np.asarray(intercepts, dtype=np.float64))


@gives("Scaler", domain=_DOMAIN)
def scaler(node: Node, of: Operands) -> Range:
    """(x − offset) · scale, one of each or one for each column."""
    offset, scale = (np.asarray(node.attribute(name, ()), np.float64) for name in ("offset", "scale"))
    if not offset.size or not scale.size:
        return anything(output_type(node))
    return arithmetic.multiplied(arithmetic.subtracted(collapsed(given(of, 0)), constant(offset)), constant(scale))


@gives("Binarizer", domain=_DOMAIN)
def binarizer(node: Node, of: Operands) -> Range:
    """1 above the threshold, else 0."""
    return arithmetic.less(number(float(node.attribute("threshold", 0.0))), given(of, 0))


# Scales, tables and trees.
holds_no_weight(
    """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
    """,
    domain=_DOMAIN,
)
