package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Backup writes a copy of the database into a new file, for the owner's eyes
// only: what was committed when it began. Readers and writers go on meanwhile.
// The copy was read back and is on disk when Backup returns nil; otherwise there
// is no file. A file that exists is an error, whatever is in it.
func (db *DB) Backup(ctx context.Context, file string) (err error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	// SQLite would make the file for everyone to read; into an empty one it writes.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := db.copyInto(ctx, path); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if err := sound(ctx, path); err != nil {
		return err
	}
	return flush(path)
}

// copyInto copies on a connection of its own: readers may not write, not even
// another file, and the writer has other things to do.
func (db *DB) copyInto(ctx context.Context, path string) (err error) {
	copier, err := newPool(db.file, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copier.Close()) }()
	_, err = copier.ExecContext(ctx, `VACUUM INTO ?1`, path)
	return err
}

// sound reads all of a database that nobody else uses and says what is wrong with it.
func sound(ctx context.Context, path string) (err error) {
	name := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/"), RawQuery: "mode=ro&immutable=1"}
	copied, err := sql.Open("sqlite", name.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	var found string
	if err := copied.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&found); err != nil {
		return fmt.Errorf("read the copy: %w", err)
	}
	if found != "ok" {
		return fmt.Errorf("the copy is damaged, and so may be the database: %s", found)
	}
	return nil
}

// flush puts a file and its name on disk.
func flush(path string) error {
	for _, name := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
