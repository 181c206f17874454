"""The encoder run fast: folded norms, convolution in the frequency domain, poolings without feature maps."""
