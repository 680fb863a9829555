package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// soak is people who come and go for a long time, while the server is stopped,
// killed, and left without a mail server, and what is held meanwhile.
type soak struct {
	options
	server *process
	app    *app
	mail   *mailbox
	admin  string
	size   func() (int64, error) // of the database

	// epoch is odd while there is trouble. What goes wrong then is the fault's,
	// and done again; what goes wrong at another time is the server's.
	epoch         atomic.Int64
	logins, steps atomic.Int64
	again         atomic.Int64
	wrongs        sync.Map // text: true
	samples       []sample
	began, told   time.Time
}

// sample is what is held at a time. Samples of one life of the server are
// compared with each other.
type sample struct {
	life                     int
	memory, files, routines  int64
	database, logins, faults int64
}

// runSoak ends without an error when nothing grew and nothing went wrong that
// no fault explains.
func runSoak(args []string) (err error) {
	s := &soak{}
	var engine string
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	flags.StringVar(&s.binary, "binary", "../../bin/sealpost", "the binary of Sealpost")
	flags.StringVar(&engine, "engine", "sqlite", "sqlite or postgres")
	flags.DurationVar(&s.lasts, "for", 30*time.Minute, "how long")
	flags.IntVar(&s.workers, "workers", 8, "people at once")
	flags.StringVar(&s.alg, "alg", "RS256", "of ID tokens")
	_ = flags.Parse(args)
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "sealpost-soak-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if err := os.Chmod(s.dir, 0o755); err != nil { // PostgreSQL runs as somebody else
		return err
	}
	file := filepath.Join(s.dir, "soak.db")
	database := "sqlite:" + file
	s.size = func() (n int64, err error) {
		for _, name := range []string{file, file + "-wal"} {
			if info, err := os.Stat(name); err == nil {
				n += info.Size()
			}
		}
		return n, nil
	}
	if engine == "postgres" {
		pg, err := startPostgres(s.dir)
		if err != nil {
			return err
		}
		defer pg.stop()
		if database, err = pg.database("soak"); err != nil {
			return err
		}
		s.size = func() (int64, error) { return pg.size("soak") }
	}
	if s.mail, err = openMailbox(); err != nil {
		return err
	}
	if s.admin, err = freeAddress(); err != nil {
		return err
	}
	if s.server, err = startSealpost(s.options, s.dir, database, s.mail, s.admin); err != nil {
		return err
	}
	defer func() { _ = s.server.stop() }()
	s.app = &app{base: s.server.url, mail: s.mail, run: "soak"}
	return s.run()
}

// lives are how often the server is started; between two, the first time it is
// asked to stop, the second it is killed.
const lives = 3

func (s *soak) run() error {
	fmt.Printf("%s for %s, %d people at once\n\n life  memory  files  goroutines  database    logins  steps  done again\n", s.binary, s.lasts, s.workers)
	s.began = time.Now()
	end := s.began.Add(s.lasts)
	var people sync.WaitGroup
	for range s.workers {
		people.Go(func() {
			for time.Now().Before(end) {
				s.person(end)
			}
		})
	}
	defer people.Wait()
	life := s.lasts / lives
	for n := range lives {
		if n > 0 {
			if err := s.restart(map[int]syscall.Signal{1: syscall.SIGTERM, 2: syscall.SIGKILL}[n]); err != nil {
				return err
			}
		}
		const perLife = 40
		for i := range perLife {
			time.Sleep(time.Until(s.began.Add(time.Duration(n)*life + time.Duration(i+1)*life/perLife)))
			s.withoutMail(i == perLife/2)
			if err := s.look(n); err != nil {
				return err
			}
		}
	}
	return s.judge()
}

// restart ends the server and starts it again where it was.
func (s *soak) restart(by syscall.Signal) (err error) {
	s.epoch.Add(1)
	defer s.epoch.Add(1)
	if by == syscall.SIGKILL {
		_ = s.server.cmd.Process.Kill()
	}
	if err := s.server.stop(); err != nil {
		return err
	}
	s.server, err = launch(s.server.url, "/readyz", nil, s.binary, "serve", "--config", filepath.Join(s.dir, "sealpost.json"))
	return err
}

// withoutMail has the mail server refuse everybody for a while.
func (s *soak) withoutMail(now bool) {
	if !now {
		return
	}
	s.epoch.Add(1)
	s.mail.refuses.Store(true)
	time.Sleep(3 * time.Second)
	s.mail.refuses.Store(false)
	time.Sleep(s.lasts / 200) // until what waits is sent
	s.epoch.Add(1)
}

// person signs in, comes back, refreshes, is asked for, and goes.
func (s *soak) person(end time.Time) {
	b := newBrowser(s.app.base)
	var t tokens
	step := func(name string, do func() error) bool {
		before := s.epoch.Load()
		err := do()
		switch {
		case err == nil:
			s.steps.Add(1)
		case before%2 == 1 || before != s.epoch.Load():
			s.again.Add(1)
			time.Sleep(100 * time.Millisecond) // as one waits before trying again
		default:
			s.wrongs.Store(name+": "+err.Error(), true)
		}
		return err == nil && time.Now().Before(end)
	}
	on := step("login", func() (err error) {
		if t, err = s.app.login(b); err == nil {
			s.logins.Add(1)
		}
		return err
	})
	for i := 0; i < 6 && on; i++ {
		on = step("silent", func() error { return s.app.silent(b) }) &&
			step("refresh", func() (err error) {
				t, err = s.app.token(b, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}})
				return err
			}) &&
			step("userinfo", func() error {
				_, err := b.must(200, "GET", "/userinfo", nil, "Authorization", "Bearer "+t.Access)
				return err
			})
	}
}

func (s *soak) look(life int) error {
	now := sample{life: life, memory: s.server.memory(), logins: s.logins.Load(), faults: s.again.Load()}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.server.cmd.Process.Pid))
	if err != nil {
		return fmt.Errorf("the server has ended: %w", err)
	}
	now.files = int64(len(files))
	if now.routines, err = s.gauge("go_goroutines"); err != nil {
		return err
	}
	if now.database, err = s.size(); err != nil {
		return err
	}
	s.samples = append(s.samples, now)
	if time.Since(s.told) > s.lasts/30 {
		s.told = time.Now()
		fmt.Printf("%5d %5d MB %6d %11d %6.1f MB %9d %6d %11d\n", life+1, now.memory>>20, now.files, now.routines, float64(now.database)/1e6, now.logins, s.steps.Load(), now.faults)
	}
	return nil
}

// gauge reads a metric of the server's.
func (s *soak) gauge(name string) (int64, error) {
	response, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var body strings.Builder
	if _, err := io.Copy(&body, response.Body); err != nil {
		return 0, err
	}
	for line := range strings.Lines(body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// judge compares, in each life, the second quarter with the last; and the
// growth of the database for each login in the second life with the last.
func (s *soak) judge() error {
	var errs []error
	s.wrongs.Range(func(text, _ any) bool {
		errs = append(errs, errors.New(text.(string)))
		return true
	})
	mean := func(of []sample, value func(sample) int64) (n int64) {
		for _, it := range of {
			n += value(it)
		}
		return n / int64(len(of))
	}
	per := len(s.samples) / lives
	for life := range lives {
		of := s.samples[life*per : (life+1)*per]
		for _, v := range []struct {
			name  string
			value func(sample) int64
			slack int64
		}{
			{"memory, in MB,", func(s sample) int64 { return s.memory >> 20 }, 10},
			{"open files", func(s sample) int64 { return s.files }, 10},
			{"goroutines", func(s sample) int64 { return s.routines }, 20},
		} {
			early, late := mean(of[per/4:per/2], v.value), mean(of[per-per/4:], v.value)
			fmt.Printf("life %d: %s %d, then %d\n", life+1, v.name, early, late)
			if late > early+early/5+v.slack {
				errs = append(errs, fmt.Errorf("life %d: %s grew from %d to %d", life+1, v.name, early, late))
			}
		}
	}
	perLogin := func(from, to sample) float64 {
		return float64(to.database-from.database) / float64(max(1, to.logins-from.logins))
	}
	early, late := perLogin(s.samples[per-1], s.samples[2*per-1]), perLogin(s.samples[2*per-1], s.samples[len(s.samples)-1])
	fmt.Printf("database: %.0f bytes a login, then %.0f\n", early, late)
	if late > early*1.5 {
		errs = append(errs, fmt.Errorf("a login takes %.0f bytes, and took %.0f", late, early))
	}
	if s.logins.Load() < int64(s.workers) {
		errs = append(errs, fmt.Errorf("only %d logins", s.logins.Load()))
	}
	if len(errs) == 0 {
		fmt.Println("ends clean")
	}
	return errors.Join(errs...)
}
