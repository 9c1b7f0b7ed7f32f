"""Reports as one HTML file that opens offline, at any width, light or dark: a page is made of texts, tables and plotly figures.

`Page(...).html()`; figures are plain plotly dictionaries from `report.plots`, coloured by the page's own theme. The room knows
nothing of networks.
"""

from ytwin.report.page import Block, Code, Drawing, Figure, Page, Section, Style, Table, Text

__all__ = ["Block", "Code", "Drawing", "Figure", "Page", "Section", "Style", "Table", "Text"]
