"""Account for the size of a quantized network: bits, entropy, bytes on disk, multiply-adds; table, JSON and chart."""

from compsrt_plugin.analysis.sizes.account import Account, account_for
from compsrt_plugin.analysis.sizes.layer_sizes import CodeSizes, LayerSize
from compsrt_plugin.analysis.sizes.operations import Product, count_products

__all__ = ["Account", "CodeSizes", "LayerSize", "Product", "account_for", "count_products"]
