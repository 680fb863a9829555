package main

import (
	"errors"
	"fmt"

	"github.com/sealpost/sealpost/storage/sqlite"
)

type backupCommand struct {
	settingsFlags
	To string `arg:"" name:"file" help:"The file to write. It must not exist."`
}

// Help is shown by sealpost backup --help.
func (backupCommand) Help() string {
	return `Copies the SQLite database into a file, while the server runs: what was committed before it began is in it. The
file is for the owner's eyes only, was read back and checked, and is a database of its own: to restore, stop the
server and put it in the place of the database. It is worth nothing without the secret; keep that elsewhere.
PostgreSQL has pg_dump; see docs/operations.md.

  sealpost backup --config sealpost.yaml /var/backups/sealpost-$(date +%F).db`
}

// Run writes the backup.
func (c backupCommand) Run(p *process) error {
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	if engine, _, _ := s.engine(); engine != "sqlite" {
		return usageError{errors.New(`backup is for SQLite; use: pg_dump, as docs/operations.md has it`)}
	}
	if err := s.mustExist(); err != nil {
		return err
	}
	db, err := openStore(p.ctx, &s)
	if err != nil {
		return err
	}
	if err := db.(*sqlite.DB).Backup(p.ctx, c.To); err != nil {
		return errors.Join(fmt.Errorf("backup: %w", err), db.Close())
	}
	fmt.Fprintf(p.stdout, "%s is in %s\n", s.Database, c.To)
	return db.Close()
}
