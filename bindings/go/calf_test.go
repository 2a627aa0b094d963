package calf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
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
	"time"
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

func refusedAs(t testing.TB, err error, code Code) {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != code || refused.Text == "" {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	db := open(t, "", nil)
	must(t, db.Close(Fast))
	_, err := db.Run([]string{"psql", "-V"}, os.Stdin, os.Stdout, os.Stderr)
	refusedAs(t, err, Misuse)
	refusedAs(t, db.Signal(syscall.SIGINT), Misuse)
	refusedAs(t, db.Snapshot(filepath.Join(t.TempDir(), "copy")), Misuse)
	_, err = db.Wire()
	refusedAs(t, err, Misuse)
}

func TestOptions(t *testing.T) {
	scratch := t.TempDir()
	must(t, os.WriteFile(filepath.Join(scratch, "one.control"), []byte("default_version = '1'\n"), 0600))
	must(t, os.WriteFile(filepath.Join(scratch, "one--1.sql"), []byte("create function one() returns int return 1;\n"), 0600))
	var lock sync.Mutex
	var lines []string
	options := &Options{Superuser: "anna", ICULocale: "sv", ExtensionPath: scratch, Listen: []string{"tcp:0"},
		Log: func(line string) {
			lock.Lock()
			defer lock.Unlock()
			lines = append(lines, line)
		}}
	db := open(t, "", options)
	if !strings.HasPrefix(db.URI(), "postgresql://anna@127.0.0.1:") {
		t.Error(db.URI())
	}
	conn := connect(t, db)
	for _, sql := range []string{"create extension one", "do $$ begin raise log 'hello, log'; end $$"} {
		_, err := conn.Exec(sql)
		must(t, err)
	}
	if got := ask(t, conn, "select current_user || one() || string_agg(c, '' order by c) from unnest('{z,ä,ö}'::text[]) c"); got != "anna1zäö" {
		t.Error(got)
	}
	conn.Close()
	must(t, db.Close(Fast))
	lock.Lock()
	if !strings.Contains(strings.Join(lines, "\n"), "hello, log") {
		t.Error(lines)
	}
	lock.Unlock()
	_, err := Open("", &Options{ExtensionPath: filepath.Join(scratch, "absent")})
	refusedAs(t, err, Misuse)
	_, err = Open("", &Options{Listen: []string{"nowhere"}})
	refusedAs(t, err, Misuse)
}

func TestLookAndLinger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	look := func(want State) Status {
		t.Helper()
		status, err := Look(path)
		must(t, err)
		if status.State != want {
			t.Error(status, want)
		}
		return status
	}
	if status := look(Absent); status != (Status{}) {
		t.Error(status)
	}
	db := open(t, path, &Options{Linger: time.Hour})
	status := look(Opened)
	if status.PID != os.Getpid() || status.Stock || status.URI != "" || time.Since(status.Since).Abs() > 10*time.Minute {
		t.Error(status)
	}
	mine, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	file, err := mine.(*net.TCPListener).File()
	must(t, err)
	must(t, mine.Close())
	must(t, db.Listen(filepath.Join(filepath.Dir(path), "s")))
	must(t, db.Listen("fd:"+strconv.Itoa(int(file.Fd()))))
	if status = look(Opened); status.URI != db.URI() || !strings.Contains(status.SocketURI, "?host=") {
		t.Error(status)
	}
	must(t, db.Close(Fast)) // it lingers
	look(Opened)
	must(t, open(t, path, nil).Close(Immediate))
	look(Crashed)
	must(t, open(t, path, nil).Close(Fast))
	look(Closed)
	must(t, file.Close())
	_, err = Look(filepath.Dir(path))
	refusedAs(t, err, Foreign)
}

func TestCopies(t *testing.T) {
	scratch := t.TempDir()
	path, copied, cloned := filepath.Join(scratch, "data"), filepath.Join(scratch, "copy"), filepath.Join(scratch, "clone")
	db := open(t, path, nil)
	conn := connect(t, db)
	_, err := conn.Exec("create table t as select 42 as n")
	must(t, err)
	must(t, db.Snapshot(copied))
	refusedAs(t, Clone(path, cloned), Held)
	conn.Close()
	must(t, db.Close(Fast))
	must(t, Clone(copied, cloned))
	db = open(t, cloned, nil)
	conn = connect(t, db)
	if got := ask(t, conn, "select n from t"); got != "42" {
		t.Error(got)
	}
	conn.Close()
	must(t, db.Close(Fast))
}

func TestSignalAndHurry(t *testing.T) {
	db := open(t, "", nil)
	conn := connect(t, db)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	ended := make(chan int)
	go func() {
		code, _ := db.Run([]string{"psql", "-Xc", "select pg_sleep(1000)"}, null, null, null)
		ended <- code
	}()
	for ask(t, conn, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'") != "1" {
	}
	must(t, Signal(syscall.SIGINT))    // nobody's
	must(t, db.Signal(syscall.SIGINT)) // psql cancels its query
	if code := <-ended; code != 1 {
		t.Error(code)
	}
	refusedAs(t, db.Signal(0), Misuse)
	closed := make(chan error)
	go func() { closed <- db.Close(Smart) }() // waits for conn
	for db.Healthy() {
	}
	must(t, db.Close(Fast))
	must(t, <-closed)
	if _, err := conn.Exec("select 1"); err == nil {
		t.Error("the session is still there")
	}
	conn.Close()
}

func TestWire(t *testing.T) {
	db := open(t, "", nil)
	w, err := db.Wire()
	must(t, err)
	if sent, received, err := w.Exchange(nil, make([]byte, 1), 0); sent != 0 || received != 0 || err != nil {
		t.Error(sent, received, err)
	}
	talk := func(in []byte) []byte {
		t.Helper()
		var answer []byte
		for len(in) > 0 || !bytes.HasSuffix(answer, []byte("Z\x00\x00\x00\x05I")) {
			var out [100]byte
			sent, received, err := w.Exchange(in, out[:], -1)
			must(t, err)
			in, answer = in[sent:], append(answer, out[:received]...)
		}
		return answer
	}
	sized := func(content string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(content)+4)), content...)
	}
	talk(sized("\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"))
	answer := talk(append([]byte("Q"), sized("select 'forty-' || 'two'\x00")...))
	if !bytes.Contains(answer, []byte("forty-two")) {
		t.Error(string(answer))
	}
	must(t, db.Close(Fast))
	for err = nil; err == nil; {
		_, _, err = w.Exchange(nil, make([]byte, 100), -1)
	}
	refusedAs(t, err, Ended)
	must(t, w.Close())
	refusedAs(t, w.Close(), Misuse)
}

func TestPlainFunctions(t *testing.T) {
	if features := strings.Join(Features(), " "); !strings.Contains(features, "zlib") || !strings.Contains(Version(), "PostgreSQL") {
		t.Error(features, Version())
	}
	if dir, err := DataDir("com", "acme", "notes"); err != nil || !strings.HasSuffix(dir, "/acme/notes") {
		t.Error(dir, err)
	}
	_, err := DataDir("", "", "a/b")
	refusedAs(t, err, Misuse)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	code, err := Run([]string{"pg_controldata", "-V"}, null, null, null)
	if code != 0 || err != nil {
		t.Error(code, err)
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
