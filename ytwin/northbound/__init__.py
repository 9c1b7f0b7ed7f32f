"""The ycloud-controller: a reconciled Snapshot in, OVN Northbound rows out. Pure.

`compile_northbound` builds the rows; `names` tells which object a row comes from and which rows an object has; `nbctl` prints a
script for stock ovn-nbctl, `jsonform` a stable JSON, `review` what a change does to the rows.
"""

from ytwin.northbound.compile import compile_northbound
from ytwin.northbound.names import object_of, rows_of
from ytwin.northbound.rows import Northbound, Row, RowKey

__all__ = ["Northbound", "Row", "RowKey", "compile_northbound", "object_of", "rows_of"]
