"""A scenario of the simulator over real sockets: `emr serve`, `emr fake`, and the same callers.

plan    the scenario as flags of `emr fake` and as a configuration of emr
kinds   `emr serve` whose first guesses about a provider are the scenario's
wire    requests and answers on keep-alive connections
world   the simulator's callers on these, in real time
run     the processes, and what they left, as the simulator's own `Run`
judge   two runs side by side
"""
