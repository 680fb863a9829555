package sqlite

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestBackup copies the database while somebody writes to it.
func TestBackup(t *testing.T) {
	db := migrated(t)
	start(t, db, 1)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := db.exec(t.Context(), `UPDATE attempts SET tries = tries WHERE 1`); err != nil {
				stopped <- err
				return
			}
		}
	}()
	file := filepath.Join(t.TempDir(), "backup with a name?.db")
	err := db.Backup(t.Context(), file)
	close(stop)
	if err := errors.Join(err, <-stopped); err != nil {
		t.Fatal(err)
	}
	if mode := fileMode(t, file); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
	if beside, err := filepath.Glob(filepath.Dir(file) + "/*"); err != nil || len(beside) != 1 {
		t.Errorf("beside it lie %v, %v", beside, err)
	}
	place := filepath.Join(t.TempDir(), "restored.db")
	if err := os.Rename(file, place); err != nil {
		t.Fatal(err)
	}
	restored := open(t, place)
	if at, newest, err := restored.SchemaVersion(t.Context()); err != nil || at != newest {
		t.Errorf("schema %d of %d, %v", at, newest, err)
	}
	var attempts int
	if err := restored.reader.QueryRow(`SELECT count(*) FROM attempts`).Scan(&attempts); err != nil || attempts != 1 {
		t.Errorf("%d attempts, %v", attempts, err)
	}
	if err := db.Backup(t.Context(), place); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that exists: %v", err)
	}
}

// TestBackupThatFailsLeavesNoFile damages a page of the database.
func TestBackupThatFailsLeavesNoFile(t *testing.T) {
	db := migrated(t)
	start(t, db, 1)
	var page, size int64
	if err := errors.Join(
		db.reader.QueryRow(`SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'`).Scan(&page),
		db.reader.QueryRow(`PRAGMA page_size`).Scan(&size), db.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(db.file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, int(size)), (page-1)*size)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := open(t, db.file).Backup(t.Context(), file); err == nil {
		t.Error("a damaged database was backed up without a word")
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}
