"""The compliance suite and the closed loop, installed so that plugins of other packages can run them."""
