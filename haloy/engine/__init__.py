"""What runs containers: the calls we use, and Docker behind them."""
