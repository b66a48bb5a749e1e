#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything of test_sockets.py by IPv6, on nodes that have both families."""
import os, runpy

os.environ["FAMILY"] = "6"
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_sockets.py"), run_name="__main__")
