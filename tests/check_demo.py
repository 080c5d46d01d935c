"""Run by `make smoke` after `make demo`: what the demo left in the ledger is an analysis worth showing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sqlalchemy import text

from schemas.bills import MIN_QUOTE_WORDS
from tasks.ledger.session import open_ledger

LATEST = text("""
    SELECT bill_analyses.analysis, runs.status, runs.id, bills.text
    FROM bill_analyses JOIN runs ON runs.id = bill_analyses.run_id JOIN bills ON bills.id = bill_analyses.bill_id
    ORDER BY bill_analyses.id DESC LIMIT 1
""")


async def check(bill: str) -> list[str]:
    """What is wrong with the latest analysis; empty when nothing is."""
    async with open_ledger() as ledger, ledger.engine.connect() as connection:
        row = (await connection.execute(LATEST)).one()
    bill = " ".join(bill.split())
    impacts = [impact for impact in row.analysis["impacts"] if impact["supported"]]
    quotes = [item for impact in impacts for item in impact["evidence"] if item["located"]]
    sections = {item["section"] for item in quotes}
    faults = [f"not in the bill: {item['quote']!r}" for item in quotes if " ".join(item["quote"].split()) not in bill]
    faults += [f"too short: {item['quote']!r}" for item in quotes if len(item["quote"].split()) < MIN_QUOTE_WORDS]
    if len(impacts) < 2 or len(sections) < 2:
        faults.append(f"{len(impacts)} supported impacts from {len(sections)} sections; two from two are needed")
    if row.status != "completed":
        faults.append(f"run {row.id} is {row.status}")
    print(f"run {row.id}: {len(impacts)} supported impacts from {len(sections)} sections, {len(quotes)} located quotes")
    return faults


if __name__ == "__main__":
    found = asyncio.run(check(Path(sys.argv[1]).read_text()))
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)
