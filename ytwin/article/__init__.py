"""The article's section 3.2 on the twin: its tables and claims as data, its testbed as a topology, and what the twin says.

`reproduce(benches, profiles) -> Reproduction` calibrates on the cells that the protocol names, predicts the others, and says how
sure that is; a `bench` is the testbed in one mode, built and traced. `render` and `page` print it.
"""

from ytwin.article.bench import bench, clients_of, in_mode, topology_files
from ytwin.article.reproduce import Reproduction, reproduce
from ytwin.article.tables import Mode, Role, article_tables

__all__ = [
    "Mode",
    "Reproduction",
    "Role",
    "article_tables",
    "bench",
    "clients_of",
    "in_mode",
    "reproduce",
    "topology_files",
]
