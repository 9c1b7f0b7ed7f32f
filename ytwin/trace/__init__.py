"""One packet through the logical flows, chassis by chassis, with conntrack; the reply; the second packet. Pure."""
