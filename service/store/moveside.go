package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// side is the source or the target of a move: one connection, without the time limits of a service.
type side struct {
	engine engine
	db     *sql.DB
	conn   *sql.Conn
	tx     *sql.Tx // in which the source is read; nil at the target
	origin origin  // of the source
	batch  int     // rows that are written at once, at most
}

// sourceSettings leave the file as it is, its mode of journaling included.
const sourceSettings = "mode=rw&_pragma=busy_timeout(5000)&_txlock=immediate"

// openSide connects. settings are those of SQLite.
func openSide(ctx context.Context, url, settings string) (*side, error) {
	s := &side{batch: batchRows}
	if IsPostgres(url) {
		c, err := postgresConfig(url)
		if err != nil {
			return nil, err
		}
		s.engine, s.db = postgres, stdlib.OpenDB(*c)
	} else {
		path, err := sqlitePath(url)
		if err != nil {
			return nil, err
		}
		name, err := dataSource(path)
		if err != nil {
			return nil, err
		}
		if s.db, err = sql.Open("sqlite", name+"?"+settings); err != nil {
			return nil, err
		}
	}
	var err error
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, errors.Join(storeError(err), s.db.Close())
	}
	return s, nil
}

func (s *side) close() error {
	if s.tx != nil {
		_ = s.tx.Rollback() // it changed nothing
	}
	return errors.Join(s.conn.Close(), s.db.Close())
}

// haveFile says whether there is a database of SQLite; one of PostgreSQL is always there.
func haveFile(url string) (bool, error) {
	if IsPostgres(url) {
		return true, nil
	}
	path, err := sqlitePath(url)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Size() > 0, err
}

// lookAt refuses a database that is not ours, or not complete, before anything in it is changed.
func lookAt(ctx context.Context, url string) error {
	if !IsPostgres(url) {
		path, err := sqlitePath(url)
		if err != nil {
			return err
		}
		return checkOurs(ctx, path)
	}
	s, err := openPostgres(url)
	if err != nil {
		return err
	}
	return errors.Join(s.checkPlace(ctx), s.Close())
}

// openUnlooked is openEngine for a database that was looked at before.
func openUnlooked(url string) (*Store, error) {
	if IsPostgres(url) {
		return openPostgres(url)
	}
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	return openSQLite(path)
}

// reads is where the side is read.
func (s *side) reads() querier {
	if s.tx != nil {
		return s.tx
	}
	return s.conn
}

func (s *side) sourceIsolation() *sql.TxOptions {
	if s.engine == postgres {
		return &sql.TxOptions{Isolation: sql.LevelRepeatableRead}
	}
	return nil
}

// checkVersion refuses a database whose tables are not those of this version. ErrOlder, ErrNewer.
func (s *side) checkVersion(ctx context.Context) error {
	names, err := s.tableNames(ctx)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("has no tables of pageflare-license: there is nothing to move")
	}
	var version int64
	if err := s.reads().QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
		return storeError(err)
	}
	newest, err := newestMigration()
	switch {
	case err != nil:
		return err
	case version < newest:
		return ErrOlder
	case version > newest:
		return ErrNewer
	}
	return nil
}

// notMoved are the tables that are about the database itself.
var notMoved = []string{"goose_db_version", "migration_lock", "engine_move"}

// tableNames is the tables of the database, in alphabetical order.
func (s *side) tableNames(ctx context.Context) ([]string, error) {
	text := `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	if s.engine == postgres {
		text = `SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()`
	}
	names, err := column(ctx, s.reads(), text)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(notMoved, name) })
	slices.Sort(names)
	return names, nil
}

// columnsOf is the columns of a table, in alphabetical order.
func (s *side) columnsOf(ctx context.Context, table string) ([]string, error) {
	text := `SELECT name FROM pragma_table_info($1)`
	if s.engine == postgres {
		text = `SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1`
	}
	names, err := column(ctx, s.reads(), text, table)
	slices.Sort(names)
	return names, err
}

// column is the texts that a query returns.
func column(ctx context.Context, q querier, text string, args ...any) (list []string, err error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, storeError(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, storeError(err)
		}
		list = append(list, one)
	}
	return list, storeError(rows.Err())
}

// movedTable is a table as a move sees it.
type movedTable struct {
	name    string
	columns []string
	key     []keyColumn
}

type keyColumn struct {
	name string
	text bool
}

// sameTables is the tables of both sides, those that others refer to first. They must be the same: a
// table that is missing on one side would be lost without a word.
func sameTables(ctx context.Context, from, to *side) ([]movedTable, error) {
	lite := from
	if lite.engine == postgres {
		lite = to
	}
	for i, s := range []*side{from, to} {
		other := []*side{to, from}[i]
		names, err := s.tableNames(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			mine, err := s.columnsOf(ctx, name)
			if err != nil {
				return nil, err
			}
			theirs, err := other.columnsOf(ctx, name)
			if err != nil {
				return nil, err
			}
			if !slices.Equal(mine, theirs) {
				return nil, fmt.Errorf("table %s has the columns %v on one side and %v on the other: both must be as this version makes them",
					name, mine, theirs)
			}
		}
	}
	return lite.tables(ctx)
}

// tables reads how the tables of a SQLite database are made.
func (s *side) tables(ctx context.Context) ([]movedTable, error) {
	names, err := s.tableNames(ctx)
	if err != nil {
		return nil, err
	}
	var list []movedTable
	placed := map[string]bool{}
	for len(list) < len(names) {
		before := len(list)
		for _, name := range names {
			if placed[name] {
				continue
			}
			parents, err := column(ctx, s.reads(), `SELECT "table" FROM pragma_foreign_key_list($1)`, name)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(parents, func(parent string) bool { return !placed[parent] && parent != name }) {
				continue
			}
			t, err := s.table(ctx, name)
			if err != nil {
				return nil, err
			}
			list, placed[name] = append(list, t), true
		}
		if len(list) == before {
			return nil, errors.New("tables refer to each other in a circle: no order of copying them is right")
		}
	}
	return list, nil
}

func (s *side) table(ctx context.Context, name string) (t movedTable, err error) {
	t.name = name
	rows, err := s.reads().QueryContext(ctx, `SELECT name, upper(type) = 'TEXT', pk > 0 FROM pragma_table_info($1) ORDER BY pk, cid`, name)
	if err != nil {
		return t, storeError(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c keyColumn
		var key bool
		if err := rows.Scan(&c.name, &c.text, &key); err != nil {
			return t, storeError(err)
		}
		t.columns = append(t.columns, c.name)
		if key {
			t.key = append(t.key, c)
		}
	}
	if len(t.key) == 0 && rows.Err() == nil {
		return t, fmt.Errorf("table %s has no primary key, and rows without one have no order", name)
	}
	return t, storeError(rows.Err())
}

// rowsFrom reads a table in the order of its key, which is the same on both engines: that of bytes.
func (s *side) rowsFrom(ctx context.Context, t movedTable, skip int64) (*sql.Rows, error) {
	var order []string
	for _, c := range t.key {
		if c.text && s.engine == postgres {
			c.name += ` COLLATE "C"`
		}
		order = append(order, c.name)
	}
	return s.reads().QueryContext(ctx, `SELECT `+strings.Join(t.columns, ", ")+` FROM `+t.name+
		` ORDER BY `+strings.Join(order, ", ")+` LIMIT $1 OFFSET $2`, int64(math.MaxInt64), skip)
}

func (s *side) count(ctx context.Context, table string) (n int64, err error) {
	err = s.reads().QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&n)
	return n, storeError(err)
}

// rowReader reads rows of any table.
type rowReader struct {
	rows   *sql.Rows
	values []any
	into   []any
	ended  bool
}

func newRowReader(rows *sql.Rows, columns int) *rowReader {
	r := &rowReader{rows: rows, values: make([]any, columns), into: make([]any, columns)}
	for i := range r.values {
		r.into[i] = &r.values[i]
	}
	return r
}

// next returns the values of the next row, good until the next call; nil when there are no more.
func (r *rowReader) next() ([]any, error) {
	if !r.rows.Next() {
		r.ended = true
		return nil, r.rows.Err()
	}
	return r.values, r.rows.Scan(r.into...)
}

// A batch is durable at the target as a whole; it is bounded by both.
const (
	batchRows  = 20_000
	batchBytes = 8 << 20
)

// batch hands out rows until the batch is full.
type batch struct {
	*rowReader
	limit, rows, bytes int
}

func (b *batch) next() ([]any, error) {
	if b.rows >= b.limit || b.bytes >= batchBytes {
		return nil, nil
	}
	values, err := b.rowReader.next()
	if values == nil || err != nil {
		return nil, err
	}
	b.rows++
	for _, v := range values {
		switch v := v.(type) {
		case string:
			b.bytes += len(v)
		case []byte:
			b.bytes += len(v)
		}
		b.bytes += 8
	}
	return values, nil
}

// copyTo copies the rows of a table behind the first skip ones.
func (s *side) copyTo(ctx context.Context, to *side, t movedTable, skip int64, copied func(int64)) error {
	rows, err := s.rowsFrom(ctx, t, skip)
	if err != nil {
		return err
	}
	defer rows.Close()
	r := newRowReader(rows, len(t.columns))
	for !r.ended {
		b := &batch{rowReader: r, limit: to.batch}
		if err := to.insert(ctx, t, b); err != nil {
			return err
		}
		copied(int64(b.rows))
	}
	return rows.Close()
}

// notText says which text PostgreSQL does not take, which SQLite does: one with a zero byte, or that is
// not UTF-8. The service writes none.
func notText(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == "22021" { // character_not_in_repertoire
		return fmt.Errorf("a text is not one that PostgreSQL can hold (%s; %s): change it in the source", said.Message, said.Where)
	}
	return err
}

// insert writes a batch, all or nothing.
func (s *side) insert(ctx context.Context, t movedTable, b *batch) error {
	if s.engine == postgres {
		return s.conn.Raw(func(driverConn any) error {
			_, err := driverConn.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromFunc(b.next))
			return err
		})
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		places := make([]string, len(t.columns))
		for i := range places {
			places[i] = fmt.Sprintf("$%d", i+1)
		}
		insert, err := tx.PrepareContext(ctx, `INSERT INTO `+t.name+` (`+strings.Join(t.columns, ", ")+`) VALUES (`+strings.Join(places, ", ")+`)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for {
			values, err := b.next()
			if values == nil || err != nil {
				return err
			}
			if _, err := insert.ExecContext(ctx, values...); err != nil {
				return err
			}
		}
	})
}

// change runs f in a transaction.
func (s *side) change(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return storeError(err)
	}
	if s.engine == postgres {
		_, err = tx.ExecContext(ctx, noLimits)
	}
	if err == nil {
		err = f(tx)
	}
	if err != nil {
		_ = tx.Rollback() // what failed first is what there is to say
		return storeError(err)
	}
	return storeError(tx.Commit())
}

// tableSum is what is compared of a table.
type tableSum struct {
	rows int64
	hash [sha256.Size]byte
}

// sum reads a whole table.
func (s *side) sum(ctx context.Context, t movedTable, read func(int64)) (sum tableSum, err error) {
	if s.tx == nil && s.engine == postgres {
		moment := &side{engine: s.engine, conn: s.conn}
		if moment.tx, err = s.conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}); err != nil {
			return sum, err
		}
		defer func() { _ = moment.tx.Rollback() }() // it changed nothing
		if _, err := moment.tx.ExecContext(ctx, noLimits); err != nil {
			return sum, err
		}
		return moment.sum(ctx, t, read)
	}
	rows, err := s.rowsFrom(ctx, t, 0)
	if err != nil {
		return sum, err
	}
	defer rows.Close()
	h, r := sha256.New(), newRowReader(rows, len(t.columns))
	var line []byte
	for {
		values, err := r.next()
		if err != nil {
			return sum, err
		}
		if values == nil {
			break
		}
		if line, err = hashRow(h, line, t, values); err != nil {
			return sum, err
		}
		if sum.rows++; sum.rows%batchRows == 0 {
			read(batchRows)
		}
	}
	read(sum.rows % batchRows)
	h.Sum(sum.hash[:0])
	return sum, rows.Close()
}

// hashRow adds the values of a row to a hash, each with its kind and its length, so that no two rows
// are written the same. line is used again.
func hashRow(h hash.Hash, line []byte, t movedTable, values []any) ([]byte, error) {
	line = line[:0]
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			line = append(line, 0)
		case int64:
			line = binary.BigEndian.AppendUint64(append(line, 1), uint64(v))
		case string:
			line = binary.BigEndian.AppendUint64(append(line, 2), uint64(len(v)))
			line = append(line, v...)
		case []byte:
			line = binary.BigEndian.AppendUint64(append(line, 3), uint64(len(v)))
			line = append(line, v...)
		default:
			return line, fmt.Errorf("column %s has a value of type %T, which no database of this version has", t.columns[i], v)
		}
	}
	_, _ = h.Write(line) // a hash never fails
	return line, nil
}
