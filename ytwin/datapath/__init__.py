"""How often a packet goes through OVS's datapath on each chassis, and whether that chassis's datapath allows it. Pure.

`stays(walk)` counts a traced walk; `limits_of(configs)` says what each node's datapath allows; `limited(conversation, limits)`
gives the conversation as those datapaths let it happen; `programs(conversation, world)` says all that the datapaths do for its
packets; `judge_offload(programs, cards)` says which of it the nodes' cards take over; `render_passes` and `passes_to_json` print
the counts.

Logical flows do not know of this cost, and ovn-trace does not count it: a path can be right in every table and fail on the wire.
"""

from ytwin.datapath.costs import Recirculation
from ytwin.datapath.judge import Overrun, limited, overruns
from ytwin.datapath.limits import LIMITS, Limit, limits_of
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.passes import Entry, Stay, stays
from ytwin.datapath.programs import programs
from ytwin.datapath.render import passes_to_json, programs_to_json, render_passes

__all__ = [
    "LIMITS",
    "Entry",
    "Limit",
    "Overrun",
    "Recirculation",
    "Stay",
    "judge_offload",
    "limited",
    "limits_of",
    "overruns",
    "passes_to_json",
    "programs",
    "programs_to_json",
    "render_passes",
    "stays",
]
