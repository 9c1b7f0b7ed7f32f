"""OVN's logical level: Southbound rows, and the expression and action language in which logical flows are written.

- `fields`: the symbol table as data; `addresses`: texts and numbers.
- `lexer`, `parse_match`, `parse_actions`: text to frozen trees (`tree`, `actions`), whose `str()` parses back.
  `parse_flow(match, actions, pipeline, table)` gives the match that a flow really has (its own and the `prerequisites` of its
  actions) and its actions. `meaning.evaluate` defines what a match means. `expr` gathers all that concerns matches.
- `state`: `PacketState`, the microflow that matches read and actions write.
- `compile`: a match as a Python predicate (`prepare(match, sets).matcher()`), and the keys to index it by.
- `southbound`, `dump`: rows with names instead of UUIDs, and how they are read.

The language is that of OVN 23.03; symbols of later releases are known where they are plain bits. Whatever else a text contains
is a `ParseError` (an `Unsupported`) that names the text and the place.
"""
