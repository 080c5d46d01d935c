"""Words of chunks, for BM25.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("term_segments", "term_postings", "term_documents", "term_deletions")

# A chunk is read by whoever may read its material. Postings hold words of all chunks and numbers, and no text.
ISOLATED = {"term_documents": "EXISTS (SELECT FROM course_materials WHERE course_materials.id = material_id)"}

# However a chunk goes, by a cascade too, the statistics say so in the same transaction.
LIST_DELETED_TERMS = """
CREATE FUNCTION list_deleted_terms() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO term_deletions (number, chunker, length) SELECT number, chunker, length FROM gone;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER list_deleted AFTER DELETE ON term_documents REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION list_deleted_terms()
"""


def upgrade() -> None:
    op.create_table(
        "term_segments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("chunker", sa.Text(), nullable=False),
        sa.Column("analyzer", sa.Text(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_term_segments")),
    )
    op.create_index(op.f("ix_term_segments_chunker"), "term_segments", ["chunker"], unique=False)
    op.create_table(
        "term_postings",
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("segment_id", sa.BigInteger(), nullable=False),
        sa.Column("postings", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["term_segments.id"], name=op.f("fk_term_postings_segment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("term", "segment_id", name=op.f("pk_term_postings")),
    )
    op.create_index("ix_term_postings_segment_id", "term_postings", ["segment_id"], unique=False)
    # Compressing numbers saves little and would have to be undone in every query.
    op.execute("ALTER TABLE term_postings ALTER COLUMN postings SET STORAGE EXTERNAL")
    op.create_table(
        "term_documents",
        sa.Column("number", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("material_id", sa.Text(), nullable=False),
        sa.Column("chunker", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name=op.f("fk_term_documents_chunk_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_term_documents")),
        sa.UniqueConstraint("chunk_id", name=op.f("uq_term_documents_chunk_id")),
    )
    op.create_index(
        "ix_term_documents_material_id_chunker", "term_documents", ["material_id", "chunker", "number"], unique=False
    )
    op.create_table(
        "term_deletions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chunker", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_term_deletions")),
    )
    op.create_index(op.f("ix_term_deletions_chunker"), "term_deletions", ["chunker"], unique=False)
    op.execute(LIST_DELETED_TERMS)
    op.execute(TRIGGER)
    for table, condition in ISOLATED.items():
        op.execute(f"SELECT isolate_rows('{table}', $condition${condition}$condition$)")
    op.execute("SELECT grant_headrace_roles()")


def downgrade() -> None:
    for table in ISOLATED:
        op.execute(f"DROP POLICY own_rows ON {table}")
    for table in reversed(TABLES):
        op.drop_table(table)
    op.execute("DROP FUNCTION list_deleted_terms()")
