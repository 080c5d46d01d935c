"""Chunks of course materials and their vectors, in generations.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from schemas.tables.retrieval import Vector

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("embedding_generations", "chunks", "material_embeddings", "embedding_failures", "embedded_materials")

# A text is read by whoever may read a material that has it, of which the material's own policy decides.
ISOLATED = {
    "embedding_generations": "true",
    "chunks": "EXISTS (SELECT FROM course_materials WHERE course_materials.id = material_id)",
    "material_embeddings": "EXISTS (SELECT FROM chunks JOIN embedding_generations AS made USING (chunker) "
    "WHERE made.id = generation_id AND chunks.content_hash = material_embeddings.content_hash)",
}


def upgrade() -> None:
    op.create_table(
        "embedding_generations",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_identity", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("chunker", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="building", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recall", sa.REAL(), nullable=True),
        sa.Column("index_built", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint(
            "status IN ('building', 'ready', 'active', 'retired')", name=op.f("ck_embedding_generations_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding_generations")),
    )
    op.create_index(
        "uq_embedding_generations_active",
        "embedding_generations",
        ["status"],
        unique=True,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("material_id", sa.Text(), nullable=False),
        sa.Column("chunker", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("heading_path", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("start_char", sa.Integer(), nullable=False),
        sa.Column("end_char", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["material_id"], ["course_materials.id"], name=op.f("fk_chunks_material_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("material_id", "chunker", "ordinal", name=op.f("uq_chunks_material_id_chunker_ordinal")),
    )
    op.create_index("ix_chunks_chunker_content_hash", "chunks", ["chunker", "content_hash"], unique=False)
    op.create_table(
        "material_embeddings",
        *_text_of_generation(),
        sa.Column("embedding", Vector(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        *_keys_of_generation("material_embeddings"),
    )
    op.create_table(
        "embedding_failures",
        *_text_of_generation(),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        *_keys_of_generation("embedding_failures"),
    )
    op.create_table(
        "embedded_materials",
        sa.Column("chunker", sa.Text(), nullable=False),
        sa.Column("material_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("chunker", "material_id", name=op.f("pk_embedded_materials")),
    )
    for table, condition in ISOLATED.items():
        op.execute(f"SELECT isolate_rows('{table}', $condition${condition}$condition$)")
    op.execute("SELECT grant_headrace_roles()")


def _text_of_generation() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
    )


def _keys_of_generation(table: str) -> tuple[sa.Constraint, ...]:
    return (
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["embedding_generations.id"],
            name=op.f(f"fk_{table}_generation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("generation_id", "content_hash", name=op.f(f"pk_{table}")),
    )


def downgrade() -> None:
    for table in reversed(ISOLATED):
        op.execute(f"DROP POLICY own_rows ON {table}")
    for table in reversed(TABLES):
        op.drop_table(table)
