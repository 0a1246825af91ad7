"""How large a quantized network is: bits, entropy, bytes on disk, multiply-adds; table, JSON and picture."""

from compsrt_plugin.analysis.sizes.account import Account, account_for
from compsrt_plugin.analysis.sizes.layers import LayerSize, Sizes
from compsrt_plugin.analysis.sizes.operations import Product, count_products

__all__ = ["Account", "LayerSize", "Product", "Sizes", "account_for", "count_products"]
