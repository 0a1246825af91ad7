"""Quantization specs: one frozen dataclass per tensor (`QuantSpec`), one per network (`NetworkSpec`).

    s = (u - l) / (2^bits - 1) + alpha        scale; alpha = 0 without scalar decomposition
    Z = l + beta                              zero point; beta = 0 without scalar decomposition

(CompSRT, arXiv 2601.21069; with alpha = beta = 0 the quantizer of 2DQuant, arXiv 2406.06649.) `quant.fake` has the
formulas of codes and values.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.quant.fake import CODES
from compsrt_plugin.quant.transforms import TRANSFORMS

GRANULARITIES = ("per_tensor", "per_channel", "per_token")
OF_WEIGHTS, OF_ACTIVATIONS = ("per_tensor", "per_channel"), ("per_tensor", "per_token")
TRUNK_POINTWISE = ("conv", "linear")
MIN_BITS, MAX_BITS = 2, 8


@dataclass(frozen=True)
class QuantSpec:
    """How one tensor is quantized.

    Attributes:
        bits: code width, 2 to 8.
        transform: name of the domain in which the tensor is quantized, a key of `quant.transforms.TRANSFORMS`; the
            transform runs along the last axis.
        granularity: `per_tensor` has one (l, u). `per_channel` has one for each row of a weight matrix. `per_token`
            has one, as a fraction of the largest magnitude of each vector (token) of an activation in its domain;
            per-token scales are computed when the token is quantized and are not stored. (ZeroQuant, arXiv
            2206.01861, uses the minimum and maximum of the token; here the fraction is searched and trained.)
        search: name of the bound search, a key of `quant.bounds.search.BOUND_SEARCHES`.
        scalar_decomposition: whether alpha and beta are trained in addition to l and u.
        codes: name of the code mode, a key of `quant.fake.CODES`.
        aligned_zero_point: whether Z is a multiple of a quarter of the scale. A pruned weight, 0, then lies on the
            same fine grid as the others, and an integer product needs no second sum for the mask.

    Raises:
        CompSRTError: a value is not allowed; the message names the field.
    """

    bits: int = 4
    transform: str = "hadamard"
    granularity: str = "per_tensor"
    search: str = "dobi"
    scalar_decomposition: bool = True
    codes: str = "strict"
    aligned_zero_point: bool = False

    def __post_init__(self) -> None:
        _check_bits("bits", self.bits)
        for name, allowed in (("transform", TRANSFORMS), ("granularity", GRANULARITIES), ("codes", CODES)):
            if getattr(self, name) not in allowed:
                raise unknown_name(name, getattr(self, name), allowed)
        for name in ("scalar_decomposition", "aligned_zero_point"):
            if not isinstance(getattr(self, name), bool):
                raise CompSRTError(f"{name} is {getattr(self, name)!r}", allowed="true or false")
        if self.granularity == "per_token" and not CODES[self.codes].bounded:
            found = f"granularity is 'per_token' and codes is {self.codes!r}"
            raise CompSRTError(found, hint="take granularity: per_tensor, or codes: strict")
        if not isinstance(self.search, str):
            raise CompSRTError(f"search is {self.search!r}", allowed="the name of a bound search")

    @property
    def levels(self) -> int:
        """Number of codes that `bits` bits can represent."""
        return 2**self.bits

    def without_token_scale(self) -> QuantSpec:
        """Return the spec with `per_tensor` instead of `per_token`, for an operand whose product sums over tokens.

        Scales inside that sum would prevent an integer product. The operand v of attention is one.
        """
        return dataclasses.replace(self, granularity="per_tensor") if self.granularity == "per_token" else self

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for YAML and JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QuantSpec:
        """Build a spec from plain values.

        Raises:
            CompSRTError: a field is unknown (the message suggests the nearest) or a value is not allowed.
        """
        _refuse_unknown("quantizer field", values, {f.name for f in dataclasses.fields(cls)})
        return cls(**values)


@dataclass(frozen=True)
class NetworkSpec:
    """How a whole network is quantized.

    Attributes:
        weight: spec of all linear weights.
        activation: spec of all linear inputs and attention operands.
        conv_bits: bits of convolution weights, with one scale per output channel; None keeps full precision.
        overrides: name pattern (shell style, `layers.0.*.fc2` or `*.attn.map`) to the fields that differ there, or
            `{"keep": True}` for full precision. A pattern is compared with the name of the layer and with that of the
            quantizer (`….fc2.input`, `….fc2.weight`, `….attn.map`). If several patterns match, each field comes from
            the last pattern that has it, and the last pattern alone decides about `keep`.
        conv_input_bits: bits of the inputs of quantized convolutions, with one scale per tensor; None keeps full
            precision.
        trunk_pointwise: how a 1x1 convolution between two k x k ones is quantized: `conv`, or `linear` as in files
            that were written before the choice existed.
        image_sums: granularity of operands with per-token scales whose product sums over the pixels of the image, as q
            and k of attention between channels: `per_token`, or `per_tensor` as in files that were written before the
            choice existed. There each channel is divided by its norm over all pixels, so that its values shrink as the
            image grows, and bounds of their own fit one size only.
        raised: name (not pattern) of an activation quantizer to its bits; takes precedence over everything else.
            `quant.sensitivity` finds the activations that need more bits.
        matched: patterns of `overrides` that `resolve` has matched so far; `convert` refuses a pattern that never
            matches.
    """

    weight: QuantSpec = field(default_factory=QuantSpec)
    activation: QuantSpec = field(default_factory=QuantSpec)
    conv_bits: int | None = 8
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conv_input_bits: int | None = None
    trunk_pointwise: str = "conv"
    image_sums: str = "per_token"
    raised: Mapping[str, int] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for role, spec in (("weight", self.weight), ("activation", self.activation)):
            if spec.granularity not in _granularities_of(role):
                raise unknown_name(f"{role}: granularity", spec.granularity, _granularities_of(role))
        if self.trunk_pointwise not in TRUNK_POINTWISE:
            raise unknown_name("trunk_pointwise", self.trunk_pointwise, TRUNK_POINTWISE)
        if self.image_sums not in OF_ACTIVATIONS:
            raise unknown_name("image_sums", self.image_sums, OF_ACTIVATIONS)
        self.conv_spec()
        self.conv_input_spec()
        if self.conv_input_bits is not None and self.conv_bits is None:
            raise CompSRTError(
                f"conv_input_bits is {self.conv_input_bits} and conv_bits is null",
                hint="inputs are quantized where weights are: set conv_bits: 8 or conv_input_bits: null",
            )
        if not isinstance(self.raised, Mapping):
            raise CompSRTError(f"raised is {self.raised!r}", allowed="a mapping from quantizer names to bits")
        for name, bits in self.raised.items():
            _check_bits(f"raised[{name!r}]", bits)
        if not isinstance(self.overrides, Mapping):
            raise CompSRTError(f"overrides is {self.overrides!r}", allowed="a mapping from layer-name patterns")
        allowed = {"keep", *(f.name for f in dataclasses.fields(QuantSpec))}
        for pattern, values in self.overrides.items():
            if not isinstance(values, Mapping):
                raise CompSRTError(
                    f"override {pattern!r} is {values!r}", allowed="a mapping such as {bits: 4} or {keep: true}"
                )
            if not isinstance(pattern, str):
                raise CompSRTError(f"override {pattern!r} is not text", allowed="a layer-name pattern", hint="quote it")
            _refuse_unknown(f"key in override {pattern!r}", values, allowed)
            if values.get("keep") not in (None, True, False):
                raise CompSRTError(f"override {pattern!r}: keep is {values['keep']!r}", allowed="true or false")
            try:
                QuantSpec.from_dict({k: v for k, v in values.items() if k != "keep"})
            except CompSRTError as error:
                raise CompSRTError(f"override {pattern!r}: {error}") from error

    def resolve(self, role: str, layer: str, place: str | None = None) -> QuantSpec | None:
        """Return the spec of one quantizer, or None if the tensor stays in full precision.

        Args:
            role: `weight`, `activation`, `conv` or `conv_input`.
            layer: dotted name of the layer.
            place: dotted name of the quantizer; None compares patterns with the name of the layer only.

        Raises:
            CompSRTError: overrides set a value that this tensor does not allow; the message names the patterns.
        """
        specs = {"weight": self.weight, "conv": self.conv_spec(), "conv_input": self.conv_input_spec()}
        spec = specs.get(role, self.activation)
        if role == "conv_input" and spec is None:
            return None
        keep = spec is None
        chosen: dict[str, tuple[Any, str]] = {}  # field -> its value and the pattern that sets it
        for pattern, values in self.matching(layer, place):
            self.matched.add(pattern)
            keep = values.get("keep", False)
            # the last axis of a convolution's input is a row of pixels, so transforms and per-token scales do not apply
            left_out = {"keep", "transform", "granularity"} if role == "conv_input" else {"keep"}
            elsewhere = values.get("granularity") not in _granularities_of(role) and role != "conv"
            if elsewhere and fnmatch.fnmatchcase(layer, pattern):
                left_out.add("granularity")  # the pattern means the other tensor of the layer (weight or input)
            chosen.update({field: (value, pattern) for field, value in values.items() if field not in left_out})
        if keep:
            return None
        if place is not None and place in self.raised:
            chosen["bits"] = (self.raised[place], place)
        if "granularity" in chosen and chosen["granularity"][0] not in _granularities_of(role):
            value, pattern = chosen["granularity"]
            raise unknown_name(f"override {pattern!r}: granularity", value, _granularities_of(role))
        try:
            return dataclasses.replace(spec or self.weight, **{field: value for field, (value, _) in chosen.items()})
        except CompSRTError as error:
            patterns = " and ".join(dict.fromkeys(repr(pattern) for _, pattern in chosen.values()))
            raise CompSRTError(f"override {patterns}, at {place or layer}: {error}") from error

    def resolve_linear(self, layer: str) -> tuple[QuantSpec, QuantSpec] | None:
        """Return the specs of weight and input of a linear layer, or None if an override keeps either."""
        weight = self.resolve("weight", layer, f"{layer}.weight")
        activation = self.resolve("activation", layer, f"{layer}.input")
        return None if weight is None or activation is None else (weight, activation)

    def matching(self, layer: str, place: str | None = None) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the overrides that match the name of a layer or of a quantizer (`place`); later ones win."""
        names = [name for name in (layer, place) if name is not None]
        return [
            (pattern, values)
            for pattern, values in self.overrides.items()
            if any(fnmatch.fnmatchcase(name, pattern) for name in names)
        ]

    def names(self, layer: str) -> bool:
        """Return whether an override matches this layer and does not keep it in full precision."""
        found = self.matching(layer)
        self.matched.update(pattern for pattern, _ in found)
        return bool(found) and not found[-1][1].get("keep")

    def keeping_first(self) -> NetworkSpec:
        """Return the spec in which `keep` takes precedence over all other overrides, as in the first packed files."""
        last = {pattern: values for pattern, values in self.overrides.items() if values.get("keep")}
        others = {pattern: values for pattern, values in self.overrides.items() if pattern not in last}
        return dataclasses.replace(self, overrides={**others, **last})

    def with_bits(self, bits: Mapping[str, int]) -> NetworkSpec:
        """Return the spec with other bits for the named activation quantizers."""
        return dataclasses.replace(self, raised={**self.raised, **bits})

    def conv_spec(self) -> QuantSpec | None:
        """Return the spec of convolution weights: min-max bounds per output channel, no transform."""
        return _plain("conv_", self.conv_bits, "per_channel")

    def conv_input_spec(self) -> QuantSpec | None:
        """Return the spec of the inputs of quantized convolutions: min-max bounds per tensor, no transform."""
        return _plain("conv_input_", self.conv_input_bits, "per_tensor")

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values for YAML and JSON."""
        return {
            "weight": self.weight.to_dict(),
            "activation": self.activation.to_dict(),
            "conv_bits": self.conv_bits,
            "conv_input_bits": self.conv_input_bits,
            "trunk_pointwise": self.trunk_pointwise,
            "image_sums": self.image_sums,
            "raised": dict(self.raised),
            "overrides": {pattern: dict(values) for pattern, values in self.overrides.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Build a spec from the output of `to_dict` or a part of it.

        A missing `trunk_pointwise` or `image_sums` means an old file, so `linear` and `per_tensor`.

        Raises:
            CompSRTError: a key is unknown or a value is not allowed; the message names it.
        """
        _refuse_unknown("network spec key", values, {f.name for f in dataclasses.fields(cls) if f.init})
        parts: dict[str, Any] = {"trunk_pointwise": "linear", "image_sums": "per_tensor", **values}
        for name in ("weight", "activation"):
            if name in parts:
                try:
                    parts[name] = QuantSpec.from_dict(parts[name])
                except CompSRTError as error:
                    raise CompSRTError(f"{name}: {error}") from error
        return cls(**parts)


def _check_bits(name: str, bits: Any) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise CompSRTError(f"{name} is {bits!r}", allowed=f"integers {MIN_BITS} to {MAX_BITS}")


def _granularities_of(role: str) -> tuple[str, ...]:
    return OF_WEIGHTS if role in ("weight", "conv") else OF_ACTIVATIONS


def _plain(prefix: str, bits: int | None, granularity: str) -> QuantSpec | None:
    if bits is None:
        return None
    try:
        return QuantSpec(bits, "none", granularity, "minmax", scalar_decomposition=False)
    except CompSRTError as error:
        raise CompSRTError(f"{prefix}{error}, or null for full precision") from error


def _refuse_unknown(kind: str, values: Mapping[str, Any], allowed: set[str]) -> None:
    if not isinstance(values, Mapping):
        raise CompSRTError(f"found {values!r} instead of fields", allowed="a mapping such as {bits: 4}")
    for name in values:
        if name not in allowed:
            raise unknown_name(kind, name, allowed)
