"""Input nullity: the dimension of the kernel of a convolution on its whole input tensor."""
