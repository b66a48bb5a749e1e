#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything of test_vxlan.py by IPv6, inside VXLAN over IPv4."""
import os, runpy

os.environ["FAMILY"] = "6"
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_vxlan.py"), run_name="__main__")
