"""Operators of no family. They hold no linear weight, by the reason why.

A constant of theirs is a scale, a shift, a bound, an index, a table or a mask: nothing that mixes the entries of an
activation by stored numbers. Source: operator specifications of ai.onnx (opset 1 to 27), ai.onnx.ml (1 to 5) and the
documented contrib operators of com.microsoft. A test compares what is registered with the schemas that are installed.
"""

from __future__ import annotations

from onnxnull.graph.evaluable import EvaluationRule, evaluated
from onnxnull.operators.flatness import is_flat, keeps_entries
from onnxnull.operators.linear_use import holds_no_weight
from onnxnull.operators.range_rules import shaped_by_values

_MICROSOFT = "com.microsoft"

# Constants are masks, indices or tables.
holds_no_weight("NonMaxSuppression NonZero OneHot TfIdfVectorizer Unique")
evaluated("NonZero Unique", EvaluationRule(is_bounded=True))
evaluated("OneHot")
# The bodies are walked.
holds_no_weight(
    """
    ConcatFromSequence If ImageDecoder Loop Optional OptionalGetElement OptionalHasElement RegexFullMatch Scan
    SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence
    StringConcat StringNormalizer StringSplit
    """
)
# Onnxruntime only.
holds_no_weight("MemcpyFromHost MemcpyToHost")
# Of activations and labels.
holds_no_weight("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss")
holds_no_weight("Adagrad Adam Gradient Momentum", domain="ai.onnx.preview.training")
# Masks of the vocabulary; the bodies are walked.
holds_no_weight("BeamSearch GreedySearch Sampling WhisperBeamSearch", domain=_MICROSOFT)
# Masks, indices and tables.
holds_no_weight(
    """
    BifurcationDetector Inverse MurmurHash3 NGramHashMapping NGramRepeatBlock Range SampleOp Tokenizer Unique
    VarlenNGramHashMapping
    """,
    domain=_MICROSOFT,
)

is_flat("NonMaxSuppression")
keeps_entries("ConcatFromSequence", "NonZero", "OneHot", "SequenceAt", "SequenceConstruct", "SplitToSequence", "Unique")
shaped_by_values("NonZero", "Unique", operands=(0,))
shaped_by_values("Loop", operands=(0, 1))
shaped_by_values("NonMaxSuppression", operands=(0, 1, 2, 3, 4))
shaped_by_values("OneHot")
