"""Export small torch networks with both of torch's exporters, so that `harmless_rewrites.py` can compare the pairs.

    python scripts/torch_exports.py FOLDER

Writes NAME.torchscript.onnx and NAME.dynamo.onnx. Needs torch and onnxscript (pip install torch onnxscript).
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):  # type: ignore[misc]
    """Convolutions with BatchNormalization and a residual, then pooling, Flatten and Dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.inner = nn.Sequential(
            nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(functional.relu(x + self.inner(x)))


class Gated(nn.Module):  # type: ignore[misc]
    """Squeeze and excitation with HardSigmoid; SiLU, GroupNorm, upsampling of both kinds, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.up, self.last = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.silu(self.norm(self.first(x)))
        scale = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = functional.max_pool2d(x * scale, 2)
        wide = functional.interpolate(x, scale_factor=2, mode="nearest")
        return functional.interpolate(self.last(torch.cat([self.up(x), wide], 1)), scale_factor=2, mode="bilinear")


class Block(nn.Module):  # type: ignore[misc]
    """LayerNorm, attention written out, Gelu: x/√d in one place, x·(1/√d) in the other."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.first, self.second = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(self.first(x)).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / (width // self.heads) ** 0.5
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)
        x = x + self.out(mixed)
        return x + self.mlp(self.second(x))


class Patches(nn.Module):  # type: ignore[misc]
    """A small vision transformer: patches, a class token, positions, two blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        self.position, self.blocks = nn.Parameter(torch.randn(1, 17, 16)), nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Fused(nn.Module):  # type: ignore[misc]
    """torch's own fused attention and encoder layer, with tanh Gelu."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (f(x).unflatten(-1, (4, 4)).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        return functional.gelu(self.norm(mixed + x), approximate="tanh")


class Words(nn.Module):  # type: ignore[misc]
    """An embedding, powers written as Pow and as Mul, RMS normalization, Softmax and a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.scale, self.out = nn.Embedding(50, 16), nn.Parameter(torch.rand(16)), nn.Linear(16, 16, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        return self.out(x * torch.sigmoid(1.702 * x)).log_softmax(-1)


def networks() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Name → a network with random weights and statistics, and an input."""
    image, tokens = torch.rand(1, 3, 32, 32), torch.randint(0, 50, (1, 7))
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(3072, 32), nn.ReLU(), nn.Linear(32, 32), nn.LeakyReLU(), nn.Linear(32, 5))
    found: dict[str, tuple[nn.Module, torch.Tensor]] = {
        "mlp": (mlp, image),
        "residual": (Residual(), image),
        "gated": (Gated(), image),
        "block": (Block(), torch.randn(1, 9, 16)),
        "patches": (Patches(), image),
        "fused": (Fused(), torch.randn(1, 9, 16)),
        "words": (Words(), tokens),
    }
    for network, _ in found.values():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    return found


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    for name, (network, example) in networks().items():
        network.eval()
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        for open_batch in (False, True):
            stem = f"torch_{name}{'_batch' if open_batch else ''}"
            torch.onnx.export(
                network,
                (example,),
                str(folder / f"{stem}.torchscript.onnx"),
                dynamo=False,
                opset_version=17,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "batch"}} if open_batch else None,
            )
            torch.onnx.export(
                network,
                (torch.cat([example] * 2) if open_batch else example,),
                str(folder / f"{stem}.dynamo.onnx"),
                dynamo=True,
                external_data=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_shapes=(batch,) if open_batch else None,
                verbose=False,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
