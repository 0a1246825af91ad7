"""`CompSRTSwinIR` as an ONNX graph, for images of any height, width and batch size."""

from __future__ import annotations

from typing import Any

from basicsr.archs.swinir_arch import RSTB, SwinIR, SwinTransformerBlock
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx.graph import Graph
from compsrt_plugin.onnx.quantized import add_quantizer, convolution, linear, matmul
from compsrt_plugin.onnx.weights import WeightWriter
from compsrt_plugin.onnx.windows import Size, crop, reflect_to_windows, windows
from compsrt_plugin.quant import QuantConv2d

BATCH, PADDED = "batch", ("padded_height", "padded_width")  # names of dynamic axes


def swinir_model(network: Any, about: dict[str, str], names: tuple[str, str], weights: WeightWriter) -> Any:
    """Return the `onnx.ModelProto` of a frozen network.

    Input and output are (batch, channels, height, width), RGB in 0 to 1 (the output is not clipped). Height
    and width can be any number from 1: the graph pads to whole windows by reflection, as `basicsr test` does, and
    crops the result.

    Args:
        network: a `CompSRTSwinIR`, frozen, in eval mode. Quantizers that are off are left out.
        about: metadata, key -> text.
        names: of input and output.
        weights: writes the weights of quantized layers.

    Raises:
        CompSRTError: the network has absolute position embeddings, or an `img_size` below the window size; both fix
            the image size.
    """
    size_of_windows = {block.window_size for block in network.modules() if isinstance(block, SwinTransformerBlock)}
    if network.ape or size_of_windows - {network.window_size}:
        raise CompSRTError(
            "this network works at one image size only (ape, or img_size below window_size)",
            allowed="ape: false and img_size of at least window_size for ONNX",
        )
    first: Any = network.conv_first
    channels = first.weight_shape[1] if isinstance(first, QuantConv2d) else first.in_channels
    graph = Graph()
    image, before, size = reflect_to_windows(graph, names[0], network.window_size)
    graph.shaped(image, BATCH, channels, *PADDED)
    x = graph.op("Sub", image, graph.constant(network.mean))
    x = graph.op("Mul", x, graph.constant(network.img_range))
    x = _Body(graph, network, image, size, weights).forward(x)
    x = graph.op("Add", graph.op("Div", x, graph.constant(network.img_range)), graph.constant(network.mean))
    scale = network.upscale if network.upsampler else 1
    return graph.model(
        {names[0]: [BATCH, channels, "height", "width"]},
        {names[1]: (crop(graph, x, before, scale), [BATCH, channels, f"{scale}*height", f"{scale}*width"])},
        about,
    )


class _Body:
    """The network between its two normalizations; `size` is the size of `image`, a multiple of the window."""

    def __init__(self, graph: Graph, network: SwinIR, image: str, size: Size, weights: WeightWriter) -> None:
        self.graph, self.network, self.size, self.weights = graph, network, size, weights
        sides = [graph.op("Unsqueeze", side, graph.integers(0)) for side in (size.height, size.width)]
        self.batch = graph.op("Shape", image, start=0, end=1)
        self.as_tokens = graph.op("Concat", self.batch, graph.integers(-1, network.embed_dim), axis=0)
        self.as_map = graph.op("Concat", graph.integers(0, network.embed_dim), *sides, axis=0)

    def forward(self, x: str) -> str:
        """Return the upscaled image, or the restored image without an upsampler."""
        network = self.network
        first = self.conv("conv_first", x)
        features = self.tokens(first)
        if network.patch_embed.norm is not None:
            features = self.norm(network.patch_embed.norm, features)
        for number, layer in enumerate(network.layers):
            assert isinstance(layer, RSTB)
            features = self.group(layer, f"layers.{number}", features)
        features = self.map(self.norm(network.norm, features))
        deep = self.graph.op("Add", self.conv("conv_after_body", features), first)
        if network.upsampler == "pixelshuffledirect":
            return self.conv("upsample", deep)
        if network.upsampler == "pixelshuffle":
            return self.conv("conv_last", self.conv("upsample", self.conv("conv_before_upsample", deep)))
        if network.upsampler == "nearest+conv":
            deep = self.conv("conv_before_upsample", deep)
            for name in ("conv_up1", "conv_up2"):
                deep = self.leaky(self.conv(name, self.twice(deep)), network.lrelu)
            return self.conv("conv_last", self.leaky(self.conv("conv_hr", deep), network.lrelu))
        return self.graph.op("Add", x, self.conv("conv_last", deep))

    def conv(self, name: str, x: str) -> str:
        """Return the output of a convolution or of a sequence of convolutions and other layers."""
        return self._convolutions(self.network.get_submodule(name), name, x)

    def _convolutions(self, module: nn.Module, name: str, x: str) -> str:
        if isinstance(module, nn.Sequential):
            for number, part in enumerate(module):
                x = self._convolutions(part, f"{name}.{number}", x)
            return x
        if isinstance(module, nn.PixelShuffle):
            return self.graph.op("DepthToSpace", x, blocksize=module.upscale_factor, mode="CRD")
        if isinstance(module, nn.LeakyReLU):
            return self.leaky(x, module)
        return convolution(self.graph, module, x, name, self.weights)

    def leaky(self, x: str, module: nn.LeakyReLU) -> str:
        """Return the output of a leaky ReLU."""
        return self.graph.op("LeakyRelu", x, alpha=module.negative_slope)

    def linear(self, layer: nn.Module, x: str, name: str) -> str:
        """Return the output of a linear layer for rows (n, in_features)."""
        return linear(self.graph, layer, x, name, self.weights)

    def rows(self, x: str) -> str:
        """Return tokens (..., c) as rows (n, c): runtimes add the bias within a product of two axes."""
        width = self.network.embed_dim
        return self.graph.shaped(self.graph.op("Reshape", x, self.graph.integers(-1, width)), "rows", width)

    def twice(self, x: str) -> str:
        """Return x with each pixel repeated twice in both directions."""
        scales = self.graph.constant([1.0, 1.0, 2.0, 2.0])
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.graph.op("Resize", x, "", scales, **modes)

    def tokens(self, x: str) -> str:
        """Return a map (b, c, h, w) as tokens (b, h w, c)."""
        flat = self.graph.op("Reshape", x, self.graph.integers(0, self.network.embed_dim, -1))
        self.graph.shaped(flat, BATCH, self.network.embed_dim, "tokens")
        return self.graph.op("Transpose", flat, perm=[0, 2, 1])

    def map(self, x: str) -> str:
        """Return tokens (b, h w, c) as a map (b, c, h, w)."""
        x = self.graph.op("Reshape", self.graph.op("Transpose", x, perm=[0, 2, 1]), self.as_map)
        return self.graph.shaped(x, BATCH, self.network.embed_dim, *PADDED)

    def norm(self, module: nn.LayerNorm, x: str) -> str:
        """Return the layer norm over channels."""
        graph = self.graph
        weight, bias = graph.constant(module.weight, "norm"), graph.constant(module.bias, "norm")
        return graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=module.eps)

    def group(self, layer: RSTB, name: str, x: str) -> str:
        """Return the output of a residual Swin group for tokens."""
        y = x
        for number, block in enumerate(layer.residual_group.blocks):
            assert isinstance(block, SwinTransformerBlock)
            y = self.block(block, f"{name}.residual_group.blocks.{number}", y)
        return self.graph.op("Add", self.tokens(self.conv(f"{name}.conv", self.map(y))), x)

    def block(self, block: SwinTransformerBlock, name: str, x: str) -> str:
        """Return the output of a Swin block for tokens."""
        x = self.graph.op("Add", x, self.attention(block, f"{name}.attn", self.norm(block.norm1, x)))
        y = self.linear(block.mlp.fc1, self.rows(self.norm(block.norm2, x)), f"{name}.mlp.fc1")
        y = self.linear(block.mlp.fc2, self.graph.op("Gelu", y), f"{name}.mlp.fc2")
        y = self.graph.op("Reshape", y, self.as_tokens)
        return self.graph.op("Add", x, self.graph.shaped(y, BATCH, "tokens", self.network.embed_dim))

    def attention(self, block: SwinTransformerBlock, name: str, x: str) -> str:
        """Return the output of window attention for tokens (b, h w, c)."""
        graph = self.graph
        attention: Any = block.attn  # a QuantWindowAttention
        place = windows(graph, self.size, block.window_size, block.shift_size)
        heads, width, n = attention.num_heads, self.network.embed_dim, block.window_size**2
        head = width // heads
        x = self.rows(graph.shaped(graph.op("Gather", x, place.tokens, axis=1), BATCH, "windows", n, width))
        split = graph.op("Concat", self.batch, graph.integers(-1, n, heads, head), axis=0)
        q, k, v = (
            graph.op("Transpose", graph.op("Reshape", part, split), perm=[0, 1, 3, 2, 4])
            for part in (self.linear(getattr(attention.qkv, p), x, f"{name}.qkv.{p}") for p in "qkv")
        )
        q = graph.op("Mul", q, graph.constant(attention.scale))
        y = matmul(graph, q, k, (attention.q_quantizer, attention.k_quantizer), head)
        y = graph.op("Add", y, self.position_bias(attention, name))
        if place.mask is not None:
            y = graph.shaped(graph.op("Add", y, place.mask), BATCH, "windows", heads, n, n)
        y = graph.op("Softmax", y, axis=-1)
        y = add_quantizer(graph, attention.map_quantizer, y, n)
        y = graph.op("MatMul", y, add_quantizer(graph, attention.v_quantizer, v, head))
        y = self.linear(attention.proj, self.rows(graph.op("Transpose", y, perm=[0, 1, 3, 2, 4])), f"{name}.proj")
        y = graph.shaped(graph.op("Reshape", y, self.as_tokens), BATCH, "tokens", width)
        return graph.shaped(graph.op("Gather", y, place.places, axis=1), BATCH, "tokens", width)

    def position_bias(self, attention: Any, name: str) -> str:
        """Return the bias (heads, n, n), looked up in the graph, since the table is 18 times smaller."""
        table = self.graph.constant(attention.relative_position_bias_table.T, f"{name}.position_table")
        return self.graph.op("Gather", table, self.graph.indices(attention.relative_position_index), axis=1)
