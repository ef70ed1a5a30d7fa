"""What turns a provider's row into a checked endpoint: the rules of rows, with the table of types.

Light to import: commands read a configuration with these rules and need nothing else of the router.
"""

from __future__ import annotations

from emr.control.rows import Leeway, Row, RowRules
from emr.lane.refusal import Refused
from emr.upstream.endpoint import Allow, Endpoint, check_endpoint
from emr.upstream.kinds import Kind
from emr.upstream.table import KINDS


def row_rules() -> RowRules:
    """What a provider's row must be: the table of types, and the rules for endpoints."""
    return RowRules(KINDS, check_row_endpoint)


def allowed(leeway: Leeway) -> Allow:
    """What a row's endpoint may be beyond the rules for its type."""
    adopted = Leeway.ADOPTED in leeway
    return Allow(http=Leeway.HTTP in leeway or adopted, private=Leeway.PRIVATE in leeway or adopted)


def check_row_endpoint(url: str, kind: Kind, leeway: Leeway) -> str:
    """The full URL of a row's endpoint. Raises ValueError with the reason it is refused."""
    try:
        endpoint = check_endpoint(url, kind, allowed(leeway))
    except Refused as refused:
        raise ValueError(refused.refusal.message) from None
    return f"{endpoint.scheme}://{endpoint.authority}{endpoint.target()}"


def endpoint_of(row: Row) -> Endpoint:
    """The endpoint of a row that was checked when it was made; Azure's with its version."""
    url = row.endpoint
    if row.api_version and "api-version=" not in url:
        url += f"{'&' if '?' in url else '?'}api-version={row.api_version}"
    return check_endpoint(url, KINDS[row.provider_type], allowed(row.leeway))
