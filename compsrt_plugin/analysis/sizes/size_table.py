"""Write the size account as text: one line per layer, sums, and facts about the whole."""

from __future__ import annotations

from collections.abc import Sequence

from compsrt_plugin.analysis.sizes.account import Account
from compsrt_plugin.analysis.sizes.layer_sizes import CodeSizes, LayerSize
from compsrt_plugin.report.columns import align

_HEADINGS = ("layer", "w/a bits", "pruned", "bits/w", "entropy", "bytes", "MACs", "BitOPs")


def size_text(account: Account) -> str:
    """Return the account as aligned columns, without a final newline.

    `bits/w` is theoretical, including the mask, and `entropy` that of an ideal code; both are per code, like
    `bits_per_weight` in the JSON. `bytes` are those in the file, including bounds, scales and bias.
    """
    counts = {product.name: (product.macs, product.bitops) for product in account.products}
    own = {layer.name for layer in account.layers}
    attention = [product for product in account.products if product.name not in own]
    rows = [_row(layer, counts[layer.name]) for layer in account.layers]
    sums: list[tuple[str, ...]] = []
    for kind in ("linear", "convolution"):
        members = [counts[layer.name] for layer in account.layers if layer.kind == kind]
        if members:
            sums.append(_sum_row(f"all {kind}", account.of_kind(kind), members))
    if attention:
        operations = [(product.macs, product.bitops) for product in attention]
        sums.append(("attention and what is not quantized", *[""] * 5, *_operations(operations)))
    sums += [(name, *[""] * 4, f"{size:,}", "", "") for name, size in account.others.items()]
    everything = _sum_row("all", account.total, [(p.macs, p.bitops) for p in account.products])
    sums.append((*everything[:5], f"{account.bytes:,}", *everything[6:]))
    lines = align([_HEADINGS, *rows, *sums])
    rule = "-" * max(map(len, lines))
    split = 1 + len(rows)
    facts = [*_facts(account), *_arithmetic(account)]
    return "\n".join([lines[0], rule, *lines[1:split], rule, *lines[split:], rule, *facts])


def _facts(account: Account) -> list[str]:
    totals, ratios = account.to_dict()["totals"], account.to_dict()["compression"]
    height, width = account.size
    return [
        f"file         {account.bytes:,} bytes, {account.float_bytes:,} in 32 bits: "
        f"{ratios['by_file']:.2f} times smaller",
        f"by count     {ratios['by_count']:.2f} times smaller: theoretical bits of codes and masks, and 32 for each",
        f"             of the {account.parameters - account.total.weights:,} parameters that are not quantized",
        f"operations   {totals['macs'] / 1e9:.2f} G multiply-adds ({totals['float_macs'] / 1e9:.2f} G unpruned) "
        f"on {height} x {width} pixels",
        f"             BitOPs = MACs x bits x bits: {totals['bitops'] / 1e9:,.0f} G; as papers count, in 32-bit "
        f"operations: {totals['bitops_32bit'] / 1e9:.3f} G",
    ]


def _arithmetic(account: Account) -> list[str]:
    """Return lines about the quantized share of the multiply-adds, and the unquantized layers by reason."""
    shares = account.shares
    lines = [
        f"arithmetic   {shares['both']:.1%} of the multiply-adds have both operands quantized, {shares['weights']:.1%} "
        f"the weights alone, {shares['neither']:.1%} neither"
    ]
    total = max(1, sum(product.macs for product in account.products))
    macs = {product.name: product.macs for product in account.products}
    for why in dict.fromkeys(account.kept.values()):
        names = [name for name, reason in account.kept.items() if reason == why]
        share = sum(macs.get(name, 0) for name in names) / total
        lines.append(f"             kept: {len(names)} layers, {share:.1%} of the multiply-adds: {why}")
    return lines


def _row(layer: LayerSize, operations: tuple[int, int]) -> tuple[str, ...]:
    bits = f"{layer.bits}/{layer.activation_bits or 32}"
    return (layer.name, bits, *_rates(layer.sizes), f"{layer.sizes.bytes:,}", *_operations([operations]))


def _sum_row(name: str, sizes: CodeSizes, operations: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    return (name, "", *_rates(sizes), f"{sizes.bytes:,}", *_operations(operations))


def _rates(sizes: CodeSizes) -> tuple[str, str, str]:
    return f"{sizes.pruned_share:.1%}", f"{sizes.bits_per_weight:.2f}", f"{sizes.entropy_bits_per_weight:.2f}"


def _operations(counts: Sequence[tuple[int, int]]) -> tuple[str, str]:
    macs, bitops = (sum(values) for values in zip(*counts))
    return short(macs), short(bitops)


def short(count: float) -> str:
    """Return a large count with three digits.

    >>> short(15_728_640), short(4_350_000_000), short(999)
    ('15.7 M', '4.35 G', '999')
    """
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:g}"
