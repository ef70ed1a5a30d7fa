"""emr, the Embeddings Router: many small embedding requests in, few provider calls out.

The way of a request, and the module in which each step lives:

    accept    emr.front.listener, emr.front.connection
    parse     emr.front.wire, emr.front.forms
    auth      emr.front.auth
    recall    emr.control.cache.recall
    lane      emr.lane.roster
    fill      emr.lane.fill
    pace      emr.lane.pace
    call      emr.upstream.caller
    split     emr.lane.split
    respond   emr.front.forms
"""

__version__ = "0.1.0"
