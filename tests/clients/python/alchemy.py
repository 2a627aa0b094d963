#!/usr/bin/python3
"""alchemy.py URI - SQLAlchemy: tables, relations, sessions in threads that share a pool, reflection"""
import concurrent.futures
import sys

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert

uri = sys.argv[1]
engine = sa.create_engine(uri, future=True, pool_size=5, max_overflow=5, pool_pre_ping=True)
Base = orm.declarative_base()

tags = sa.Table("tags_of_books", Base.metadata,
                sa.Column("book", sa.ForeignKey("books.id"), primary_key=True),
                sa.Column("tag", sa.ForeignKey("tags.id"), primary_key=True))


class Author(Base):
    __tablename__ = "authors"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(100), unique=True, nullable=False)
    books = orm.relationship("Book", back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.Text, index=True)
    facts = sa.Column(JSONB, server_default="{}")
    prices = sa.Column(ARRAY(sa.Numeric(8, 2)))
    sold = sa.Column(sa.Integer, nullable=False, server_default="0")
    author_id = sa.Column(sa.ForeignKey("authors.id", ondelete="cascade"), nullable=False)
    author = orm.relationship(Author, back_populates="books")
    tags = orm.relationship("Tag", secondary=tags)


class Tag(Base):
    __tablename__ = "tags"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String, unique=True)


Base.metadata.drop_all(engine)
Base.metadata.create_all(engine)
inspector = sa.inspect(engine)
assert set(inspector.get_table_names()) >= {"authors", "books", "tags", "tags_of_books"}
assert inspector.get_foreign_keys("books")[0]["options"] == {"ondelete": "CASCADE"}

with orm.Session(engine) as session, session.begin():
    funny, long = Tag(name="funny"), Tag(name="long")
    for a in range(20):
        author = Author(name=f"author {a}")
        author.books = [Book(title=f"book {a}.{b}", facts={"pages": a * 10 + b}, prices=[b, b + 0.5],
                             tags=[funny, long][: b % 3]) for b in range(10)]
        session.add(author)

with orm.Session(engine) as session:
    query = sa.select(Author).options(orm.selectinload(Author.books).joinedload(Book.tags)).order_by(Author.id)
    authors = session.scalars(query).unique().all()
    assert len(authors) == 20 and sum(len(b.tags) for a in authors for b in a.books) == 20 * (3 * 0 + 3 * 1 + 3 * 2)
    thick = session.scalar(sa.select(sa.func.count()).where(Book.facts["pages"].as_integer() >= 100))
    assert thick == 100, thick
    ranked = session.execute(sa.select(Book.title, sa.func.rank().over(partition_by=Book.author_id, order_by=Book.id.desc()))
                             .where(Book.prices.any(9.5))).all()
    assert len(ranked) == 20
    session.delete(authors[0])
    session.commit()
    assert session.scalar(sa.select(sa.func.count(Book.id))) == 190

with engine.begin() as conn:  # "on conflict"
    statement = insert(Tag).values([{"name": "funny"}, {"name": "new"}])
    conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"name": statement.excluded.name + "!"}))
    assert conn.scalars(sa.select(Tag.name).order_by(Tag.name)).all() == ["funny!", "long", "new"]

with orm.Session(engine) as session:
    try:
        session.add(Author(name="author 1"))
        session.commit()
        raise SystemExit("twice")
    except sa.exc.IntegrityError as e:
        assert e.orig.pgcode == "23505"
        session.rollback()


def sell(i):
    with orm.Session(engine) as session, session.begin():
        book = session.scalars(sa.select(Book).where(Book.title == "book 5.5").with_for_update()).one()
        book.sold += 1


with concurrent.futures.ThreadPoolExecutor(20) as threads:  # more than the pool has connections
    list(threads.map(sell, range(200)))
with orm.Session(engine) as session:
    assert session.scalar(sa.select(Book.sold).where(Book.title == "book 5.5")) == 200
assert engine.pool.size() == 5

# a connection that the server ended is noticed and replaced (pool_pre_ping)
with engine.connect() as conn:
    pid = conn.scalar(sa.text("select pg_backend_pid()"))
with engine.connect() as conn:
    others = conn.execute(sa.text("select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                                  " where usename = current_user and pid <> pg_backend_pid()")).all()
    assert others and all(ended for ended, in others)
for _ in range(10):
    with engine.connect() as conn:
        assert conn.scalar(sa.text("select 1")) == 1
engine.dispose()
