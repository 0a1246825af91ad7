"""Analyze quantized networks. Each part answers one question:

sizes         How many bits, bytes and operations does each layer of a packed file take?    `basicsr report`
sensitivity   Which activations' quantization harms the output most?                        `basicsr report`
profile       Where do time and memory go, by the engine, PyTorch and other runtimes?       `basicsr profile`
tensors       What do the transforms do to each tensor, and where does quantization hurt?   `basicsr analyze`
paired        Is a difference between pairs significant?                 used by `tensors` and `basicsr compare`
"""
