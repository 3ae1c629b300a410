"""The compliance suite, the closed loop and the fuzzer, installed so that plugins of other packages can run them."""
