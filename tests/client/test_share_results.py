from __future__ import annotations

from workbench.client.share_results import NO_SHARES, ShareTable, share_of, table_of

TOKEN = "wbk_secret-secret-secret"
ANSWER = {
    "id": "s1",
    "label": "team-a",
    "models": ["digits"],
    "rate": 20.0,
    "row_rate": 2000.0,
    "quota": 500,
    "row_quota": None,
    "version": "2",
    "max_body": 1000,
    "metrics": True,
    "max_in_flight": 16,
    "created_at": 1.0,
    "expires_at": 2e9,
    "revoked_at": None,
}


def test_no_display_of_a_share_holds_its_token() -> None:
    share = share_of({**ANSWER, "url": "http://127.0.0.1:1", "token": TOKEN})
    assert share.token == TOKEN
    for shown in (repr(share), str(share), f"{share}", share._repr_html_()):
        assert TOKEN not in shown and "secret" not in shown
        assert "team-a" in shown and "20 requests/s, 2000 rows/s, 500 requests/day" in shown
        assert "1000 bytes at most" in shown


def test_a_share_s_link_is_shown() -> None:
    share = share_of({**ANSWER, "url": "http://127.0.0.1:1", "link": "http://127.0.0.1:1/share/claim#c"})
    assert share.token is None
    assert "share/claim#c" in repr(share) and "share/claim#c" in share._repr_html_()


def test_a_service_of_an_older_version_says_less() -> None:
    since_the_first = ("id", "label", "models", "rate", "max_in_flight", "created_at", "expires_at", "revoked_at")
    first = {name: ANSWER[name] for name in since_the_first}
    share = share_of({**first, "url": "http://127.0.0.1:1", "link": "http://127.0.0.1:1/share/claim#c"})
    assert (share.rate, share.row_rate, share.metrics) == (20.0, None, False)
    (row,) = table_of([{**first, "state": "holds", "requests": 7, "refused": 2, "in_flight": 0, "last_seen": None}])
    assert (row.requests, row.row_rate, row.quota, row.answered) == (7, None, None, 0)
    assert "team-a" in repr(ShareTable([row]))


def test_shares_are_a_table_and_a_frame() -> None:
    day = {"day_requests": 7, "day_rows": 9, "day_ends_at": 1.7e9}
    row = {
        **ANSWER,
        **day,
        "state": "holds",
        "requests": 7,
        "refused": 2,
        "in_flight": 0,
        "last_seen": None,
        "later": 1,
    }
    table = table_of([row, row])
    assert (
        "team-a" in repr(table)
        and "20/s, 2000 rows/s, 7 of 500/day" in repr(table)
        and "digits, version 2" in repr(table)
        and "<td" in table._repr_html_()
    )
    assert table[0].first_call_at is None  # a service of an older version does not say
    called = table_of([{**row, "first_call_at": 1.8e9}])
    assert "first call" in repr(called) and "2027-01-1" in repr(called)
    used = {**row, "errors": 3, "rows": 4000, "request_bytes": 5_000_000, "response_bytes": 600, "p50_s": 0.002}
    used = {**used, "p99_s": None, "answered": 5, "by_model": {"digits": {"answered": 5}}}
    for cell in ("4000", "5.0 MB", "0.6 kB", "2.0 ms"):
        assert cell in repr(table_of([used]))
    assert table_of([used])[0].by_model["digits"]["answered"] == 5
    assert list(table_of([used]).df["rows"]) == [4000]
    frame = table.df
    assert list(frame["label"]) == ["team-a"] * 2 and list(frame["requests"]) == [7, 7]
    assert repr(ShareTable([])) == NO_SHARES and "share" in ShareTable([])._repr_html_()
    assert list(ShareTable([]).df.columns) == list(frame.columns)
