"""The fake provider of `emr fake`, the tests, the demo and the bench: one implementation.

A request goes through it so:

    service     bytes of emr's own HTTP server in and out, timers, the control routes
    provider    what a call gets and when: faults, limits, capacity, latency (no clock, no I/O)
    forms       the APIs it speaks, a file each: reading, strict refusals, words, answers
    quota       the limits of an account, of the models of counting in `limits`
    capacity    servers with a line before them, and permits
    damage      what the faults of `faults` do to a good answer
    schedule    which `settings` hold at a time
    vectors     every vector, a function of its text: `vector_of`, `expected_json`, ...
    tally       what it counted
"""
