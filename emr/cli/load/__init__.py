"""The load engine of `emr bench`.

work      what is asked: texts, and requests as bytes
link      one connection, one request at a time
engine    when requests are sent: closed loop or open loop
check     whether every vector is the fake's own
results   what came of it, in counts and percentiles
"""
