"""Operators that were reviewed and hold no linear weight, by the reason why.

A constant of theirs is a scale, a shift, a bound, an index, a table or a mask: nothing that mixes the entries of an
activation by stored numbers. Source: operator specifications of ai.onnx (opset 1 to 27), ai.onnx.ml (1 to 5) and the
documented contrib operators of com.microsoft. A test compares these lists with the schemas that are installed.
"""

from __future__ import annotations

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil
    Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf
    IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink
    Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum SwiGLU Swish Tan Tanh ThresholdedRelu Where Xor
"""  # a constant operand scales or shifts each entry on its own: a diagonal
_NORMALIZATION = """
    BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization MeanVarianceNormalization
    RMSNormalization Softmax LogSoftmax Hardmax
"""  # the learned constants scale and shift channels
_MOVEMENT = """
    CenterCropPad Col2Im Compress Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape ReverseSequence
    Scatter ScatterElements ScatterND Slice SpaceToDepth Split Squeeze TensorScatter Tile Transpose Trilu Unsqueeze
"""  # entries are moved, copied or dropped; a table that is gathered from is a look-up, not a weight
_FIXED_LINEAR = """
    AveragePool GlobalAveragePool Resize Upsample DFT STFT CumSum ReduceMean ReduceSum RotaryEmbedding
"""  # linear, by a rule and not by stored weights (a window of STFT scales samples)
_NONLINEAR = """
    ArgMax ArgMin CumProd Det GlobalLpPool GlobalMaxPool LpPool MaxPool MaxUnpool NonMaxSuppression NonZero OneHot ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMin ReduceProd ReduceSumSquare TopK Unique TfIdfVectorizer
"""  # of activations; constants are masks, indices or tables
_GENERATORS = """
    AffineGrid Bernoulli BlackmanWindow Constant ConstantOfShape EyeLike HammingWindow HannWindow MelWeightMatrix Multinomial
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Shape Size
"""
_CONTROL_AND_CONTAINERS = """
    ConcatFromSequence If Loop Optional OptionalGetElement OptionalHasElement Scan SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence ImageDecoder RegexFullMatch StringConcat
    StringNormalizer StringSplit
"""  # the bodies are walked
_QUANTIZERS = "DequantizeLinear DynamicQuantizeLinear QuantizeLinear"
_LEGACY = """
    Affine Crop DynamicSlice GRUUnit ImageScaler MemcpyFromHost MemcpyToHost ParametricSoftplus Scale ScaledTanh
    SimplifiedLayerNormalization
"""  # onnxruntime only
_LOSSES = "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss"

_MACHINE_LEARNING = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder Normalizer
    OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
_TRAINING = "Adagrad Adam Gradient Momentum"

_MICROSOFT = """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BitmaskBiasDropout BitmaskDropout
    BranchwiseRMSNorm DequantizeBFP DequantizeLinear DequantizeWithOrder EmbedLayerNormalization ExpandDims FastGelu GatedAdd
    GatedRMSNorm GatherBlockQuantized GatherND Gelu GemmaRotaryEmbedding GroupNorm Inverse Irfft IsAllFinite LinearAttentionGate
    MRotaryEmbedding MaxpoolWithMask MulInteger MurmurHash3 NGramHashMapping NGramRepeatBlock NhwcMaxPool
    PackedSparseAttentionIndexer Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
    QOrderedGelu QOrderedLayerNormalization QuantizeBFP QuantizeLinear QuantizeWithOrder QuickGelu Range ReduceSumInteger
    RelativePositionBias RemovePadding RestorePadding Rfft RotaryEmbedding SampleOp ScaledSiLU SkipGroupNorm
    SkipLayerNormalization SkipSimplifiedLayerNormalization SparseAttentionIndexer Tokenizer TorchEmbedding Trilu UnfoldTensor
    Unique VarlenNGramHashMapping
"""

_MICROSOFT_SEARCHES = "BeamSearch GreedySearch Sampling WhisperBeamSearch"  # masks of the vocabulary; the bodies are walked
_MICROSOFT_DISTANCES = "CDist DynamicTimeWarping"  # from constant points: every change of the input is seen
_MICROSOFT_DIAGONALS = "ComplexMul ComplexMulConj"  # complex numbers, entry by entry

_BY_DOMAIN = {
    "": (
        _ELEMENTWISE,
        _NORMALIZATION,
        _MOVEMENT,
        _FIXED_LINEAR,
        _NONLINEAR,
        _GENERATORS,
        _CONTROL_AND_CONTAINERS,
        _QUANTIZERS,
        _LEGACY,
        _LOSSES,
    ),
    "ai.onnx.ml": (_MACHINE_LEARNING,),
    "ai.onnx.preview.training": (_TRAINING,),
    "com.microsoft": (_MICROSOFT, _MICROSOFT_SEARCHES, _MICROSOFT_DISTANCES, _MICROSOFT_DIAGONALS),
}

NO_LINEAR_WEIGHT = frozenset(
    (domain, name) for domain, groups in _BY_DOMAIN.items() for group in groups for name in group.split()
)
"""(domain, op type) of the reviewed operators."""
