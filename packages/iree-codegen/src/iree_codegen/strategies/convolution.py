"""``convolution``: direct NCHW convolution with register tiles over output channels x positions. (being written)"""
