package calf

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string, options *Options) *DB {
	t.Helper()
	db, err := Open(path, options)
	must(t, err)
	return db
}

func connect(t testing.TB, db *DB) *Conn {
	t.Helper()
	conn, err := db.Connect()
	must(t, err)
	return conn
}

// ask is the one value of a query.
func ask(t testing.TB, conn *Conn, sql string, args ...string) string {
	t.Helper()
	rows, err := conn.Exec(sql, args...)
	must(t, err)
	return *rows[0][0]
}

func TestTemporary(t *testing.T) {
	db := open(t, "", nil)
	conn := connect(t, db)
	if got := ask(t, conn, "select $1::int * 7 || current_user", "6"); got != "42postgres" {
		t.Error(got)
	}
	if rows, err := conn.Exec("select null, ''"); err != nil || rows[0][0] != nil || *rows[0][1] != "" {
		t.Error(rows, err)
	}
	_, err := conn.Exec("select 1/0")
	var refused *QueryError
	if !errors.As(err, &refused) || refused.SQLState != "22012" || !strings.Contains(refused.Text, "division") {
		t.Error(err)
	}
	conn.Close()
	dir := db.Directory()
	if _, err := os.Stat(dir); err != nil || !db.Healthy() {
		t.Error(err)
	}
	must(t, db.Close(Fast))
	if _, err := os.Stat(dir); !os.IsNotExist(err) || db.Healthy() || db.DSN() != "" {
		t.Error("still there: ", dir)
	}
}

func TestKeptAndShared(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data ü")
	one := open(t, dir, &Options{Settings: []string{"work_mem=9MB"}, Durability: Relaxed})
	two := open(t, dir, nil)
	conn := connect(t, one)
	_, err := conn.Exec("create table t as select 1 as n")
	must(t, err)
	conn.Close()
	must(t, one.Close(Fast))
	conn = connect(t, two)
	if got := ask(t, conn, "select n || current_setting('work_mem') || current_setting('synchronous_commit') from t"); got != "19MBoff" {
		t.Error(got)
	}
	conn.Close()
	must(t, two.Close(Smart))
}

func TestErrors(t *testing.T) {
	var refused *Error
	if _, err := Open("/etc", nil); !errors.As(err, &refused) || refused.Code != Foreign || !strings.Contains(refused.Text, "/etc") {
		t.Error(err)
	}
	db := open(t, "", nil)
	must(t, db.Close(Fast))
	if err := db.Close(Fast); !errors.As(err, &refused) || refused.Code != Misuse {
		t.Error(err)
	}
	if err := db.Listen("tcp:0"); !errors.As(err, &refused) || refused.Code != Misuse {
		t.Error(err)
	}
}

func TestListenAndRun(t *testing.T) {
	db := open(t, "", nil)
	must(t, db.Listen("tcp:0"))
	if !strings.HasPrefix(db.URI(), "postgresql://postgres@127.0.0.1:") {
		t.Error(db.URI())
	}
	must(t, db.Unlisten(""))
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	code, err := db.Run([]string{"psql", "-XAtc", "select 42"}, os.Stdin, out, os.Stderr)
	must(t, err)
	if said, err := os.ReadFile(out.Name()); err != nil || code != 0 || string(said) != "42\n" {
		t.Error(code, string(said), err)
	}
	must(t, db.Close(Fast))
}

// Go's runtime interrupts its threads with SIGURG, catches nil dereferences by SIGSEGV, profiles
// with SIGPROF and has a handler for nearly every signal: all at once, beside sessions.
func TestGoAtWork(t *testing.T) {
	const goroutines, rounds = 8, 40
	var work, others sync.WaitGroup
	var done atomic.Bool
	var caught atomic.Int64

	db := open(t, "", nil)
	must(t, pprof.StartCPUProfile(&bytes.Buffer{}))
	beside := func(f func()) {
		others.Add(1)
		go func() {
			defer others.Done()
			for !done.Load() {
				f()
			}
		}()
	}
	beside(runtime.GC) // stops the world, which needs the SIGURG
	beside(func() {
		for i, sum := 0, 0; i < 10_000_000; i++ { // without a call where it could be stopped
			sum += i
		}
	})
	beside(func() {
		if recovered(dereference) {
			caught.Add(1)
		}
	})
	for i := 0; i < goroutines; i++ {
		work.Add(1)
		go func(i int) {
			defer work.Done()
			conn, err := db.Connect()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for n := 0; n < rounds; n++ {
				rows, err := conn.Exec("select repeat($1, 1000), pg_sleep(0.001)", strconv.Itoa(i))
				if err != nil || *rows[0][0] != strings.Repeat(strconv.Itoa(i), 1000) {
					t.Error(err)
				}
				if !recovered(dereference) {
					t.Error("no panic")
				}
			}
		}(i)
	}
	work.Wait()
	done.Store(true)
	others.Wait()
	pprof.StopCPUProfile()
	if caught.Load() == 0 {
		t.Error("nothing was caught")
	}
	must(t, db.Close(Fast))
	if !recovered(dereference) {
		t.Error("no panic")
	}
}

func dereference() {
	var nothing *int
	*nothing = 1
}

// recovered says whether f panicked with a runtime.Error.
func recovered(f func()) (yes bool) {
	defer func() { _, yes = recover().(runtime.Error) }()
	f()
	return
}

func TestSignalsOfTheHost(t *testing.T) {
	db := open(t, "", nil)
	conn := connect(t, db)
	heard := make(chan os.Signal, 1)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGCHLD, syscall.SIGUSR1, 40} {
		signal.Notify(heard, sig)
		must(t, syscall.Kill(syscall.Getpid(), sig))
		if got := <-heard; got != sig {
			t.Error(got, sig)
		}
		signal.Stop(heard)
	}
	if said, err := exec.Command("echo", "yes").Output(); err != nil || string(said) != "yes\n" {
		t.Error(string(said), err)
	}
	if got := ask(t, conn, "select 'there'"); got != "there" {
		t.Error(got)
	}
	conn.Close()
	must(t, db.Close(Fast))
}

func Example() {
	db, err := Open("", nil)
	if err != nil {
		panic(err)
	}
	conn, err := db.Connect()
	if err != nil {
		panic(err)
	}
	rows, err := conn.Exec("select $1::int * 7", "6")
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(*rows[0][0] + "\n")
	conn.Close()
	db.Close(Fast)
	// Output: 42
}
