"""The four networks. Pictures are NCHW float32 in [0, 1]; B is the batch.

Weights of `Projection` are stored (inputs, outputs), the q×p of the paper, and used as x @ W. Convolutions keep the
(outputs, inputs / groups, height, width) of ONNX.
"""
# mypy: disable-error-code="misc"
# (torch is absent from the development environment: its Module is then Any, which strict mode will not subclass)

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu
from torch.nn.utils import fuse_conv_bn_eval


class Projection(nn.Module):
    """(..., q) to (..., p) through `weight` (q, p) and `bias` (p,)."""

    def __init__(self, q: int, p: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(q, p)))
        self.bias = nn.Parameter(torch.zeros(p))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """Multi-head self-attention over (B, tokens, width)."""

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.shape = (-1, tokens, heads, width // heads)
        self.joined = (-1, tokens, width)
        self.scale = (width // heads) ** -0.5
        self.query, self.key = Projection(width, width), Projection(width, width)
        self.value, self.output = Projection(width, width), Projection(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).reshape(self.shape).permute(0, 2, 1, 3)
        key = self.key(x).reshape(self.shape).permute(0, 2, 3, 1)
        value = self.value(x).reshape(self.shape).permute(0, 2, 1, 3)
        weights = torch.softmax(query @ key * self.scale, dim=-1)
        return self.output((weights @ value).permute(0, 2, 1, 3).reshape(self.joined))


class TransformerBlock(nn.Module):
    """Pre-norm block over (B, tokens, width)."""

    def __init__(self, tokens: int, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(tokens, width, heads)
        self.expand, self.contract = Projection(width, hidden), Projection(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.contract(gelu(self.expand(self.norm2(x))))


class Normalize(nn.Module):
    """Pictures in [0, 1] to about zero mean and unit variance."""

    CENTRE, SPREAD = 0.45, 0.25

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.CENTRE) / self.SPREAD


class DigitsViT(nn.Module):
    """(B, 3, 64, 64) to (B, 10). The stem is a 768×96 matrix on disjoint patches: 7/8 of a picture is in its kernel."""

    def __init__(self, width: int = 96, blocks: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.tokens = (-1, width, 16)
        self.patch_embedding = nn.Conv2d(3, width, 16, stride=16)
        self.normalize: nn.Module = Normalize()
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks = nn.ModuleList(TransformerBlock(16, width, heads, 2 * width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = Projection(width, 10)
        self.ink = Projection(width, 256)  # for training only

    def look(self, image: Tensor) -> Tensor:
        """The tokens (B, 16, width)."""
        x = self.patch_embedding(self.normalize(image)).reshape(self.tokens).permute(0, 2, 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def fold(self) -> None:
        """Let the stem do the normalisation; exact, for its patches have no padding."""
        if isinstance(self.normalize, Normalize):
            with torch.no_grad():
                self.patch_embedding.weight.div_(Normalize.SPREAD)
                self.patch_embedding.bias.sub_(Normalize.CENTRE * self.patch_embedding.weight.sum((1, 2, 3)))
            self.normalize = nn.Identity()

    def classify(self, tokens: Tensor) -> Tensor:
        return self.head(tokens.mean(dim=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.classify(self.look(image))


class ConvNorm(nn.Module):
    """Convolution and BatchNormalization, one convolution with a bias after `fold`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class SeparableBlock(nn.Module):
    """Halves the picture: depthwise 3×3 and pointwise 1×1, beside a 1×1 stride-2 shortcut; then a dense 3×3 if asked."""

    def __init__(self, inputs: int, outputs: int, *, dense: bool) -> None:
        super().__init__()
        self.depthwise = ConvNorm(inputs, inputs, 3, stride=2, groups=inputs)
        self.pointwise = ConvNorm(inputs, outputs, 1)
        self.shortcut = ConvNorm(inputs, outputs, 1, stride=2)
        self.dense = ConvNorm(outputs, outputs, 3) if dense else None

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.pointwise(relu(self.depthwise(x))) + self.shortcut(x))
        return x if self.dense is None else relu(x + self.dense(x))


class DigitsCNN(nn.Module):
    """(B, 3, 64, 64) to (B, 10). The stem's 27×16 patch matrix has nullity 11, yet no picture is in its kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.block1 = SeparableBlock(16, 32, dense=False)
        self.block2 = SeparableBlock(32, 48, dense=True)
        self.block3 = SeparableBlock(48, 64, dense=True)
        self.block4 = SeparableBlock(64, 96, dense=False)
        self.head = nn.Linear(96, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = relu(self.stem(image))
        for block in (self.block1, self.block2, self.block3, self.block4):
            x = block(x)
        return self.head(x.mean(dim=(2, 3)))


class DigitsSegmentation(nn.Module):
    """(B, 3, 96, 96) to mask logits (B, 2, 96, 96): background and digit.

    The stem's 147×24 matrix works on overlapping patches, with 24 of the 48 dimensions of each 4×4 cell of pixels:
    half of the picture's dimensions are in its kernel, and only half can be seen at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 7, stride=4, padding=3)
        self.encode1 = ConvNorm(24, 32, 3)
        self.encode2 = ConvNorm(32, 48, 3, stride=2)
        self.middle = ConvNorm(48, 48, 3)
        self.up1 = nn.ConvTranspose2d(48, 32, 2, stride=2)
        self.fuse = ConvNorm(32, 32, 3)
        self.detail = nn.Conv2d(24, 32, 1)
        self.up2 = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.refine = ConvNorm(16, 16, 3)
        self.up3 = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.smooth = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        seen = self.stem(image)
        fine = relu(self.encode1(relu(seen)))
        coarse = relu(self.encode2(fine))
        coarse = relu(coarse + self.middle(coarse))
        x = relu(self.fuse(relu(self.up1(coarse) + fine)) + self.detail(seen))
        x = relu(self.up2(x))
        return self.smooth(relu(self.up3(relu(x + self.refine(x)))))


class DigitsMLP(nn.Module):
    """(B, 1, 8, 8) to (B, 10): three fully connected layers, the first 64×32."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1, self.hidden2, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = relu(self.hidden1(image.flatten(1)))
        return self.head(relu(self.hidden2(x)))


def fold_norms(network: nn.Module) -> None:
    """Fold every normalisation of fixed scale into its convolution, in place; the network must be in eval mode."""
    for module in list(network.modules()):
        if isinstance(module, ConvNorm | DigitsViT):
            module.fold()
