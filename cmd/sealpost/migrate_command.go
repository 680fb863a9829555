package main

import (
	"errors"
	"fmt"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Bring the schema up to date."`
	Status migrateStatus `cmd:"" help:"Say whether the schema is up to date. Exits with 1 when it is not."`
}

// Help is shown by sealpost migrate --help.
func (migrateCommand) Help() string {
	return `serve migrates by itself unless the setting migrate is false. A release before runs on the schema of the next.

  sealpost migrate status --config sealpost.yaml
  sealpost migrate up --config sealpost.yaml`
}

type migrateUp struct {
	settingsFlags
}

// Run brings the schema up to date.
func (c migrateUp) Run(p *process) error {
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	db, err := openStore(p.ctx, &s)
	if err != nil {
		return err
	}
	if err := db.Migrate(p.ctx); err != nil {
		return errors.Join(fmt.Errorf("migrate: %w", err), db.Close())
	}
	fmt.Fprintf(p.stdout, "%s is up to date\n", s.Database)
	return db.Close()
}

type migrateStatus struct {
	settingsFlags
}

// Run compares the schema with what this program wants.
func (c migrateStatus) Run(p *process) error {
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	if err := s.mustExist(); err != nil {
		return err
	}
	db, err := openStore(p.ctx, &s)
	if err != nil {
		return err
	}
	at, newest, err := schema(p.ctx, db)
	if newest > 0 {
		fmt.Fprintf(p.stdout, "database: %s\nschema:   %d of %d\n", s.Database, at, newest)
	}
	return errors.Join(err, db.Close())
}
