"""Products in the code of foreign networks: `probe` and `discovery` find them once, `interception` quantizes them.

`linears` does the same for weights that code passes to `F.linear`, `trunk` recognizes 1x1 convolutions of a trunk,
`identity` checks that a product is the one found at conversion.
"""
