// Package calf is PostgreSQL inside the Go process.
//
//	db, err := calf.Open("./data", nil) // "" is a temporary database
//	conn, err := db.Connect()
//	rows, err := conn.Exec("select $1::int * 7", "6")
//	fmt.Println(*rows[0][0])
//	conn.Close()
//	db.Close(calf.Fast)
//
// Everything here is a thin layer over calf.h and libpq, which are the manuals: results, threads,
// errors by name.
package calf

/*
#cgo LDFLAGS: -lcalf
#include <calf.h>
#include <libpq-fe.h>
#include <stdlib.h>

void calfLog(void *context, char *line);
*/
import "C"

import (
	"os"
	"runtime/cgo"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Code says what was refused.
type Code int

const (
	Misuse Code = iota + 1
	Held
	Foreign
	Major
	Access
	Install
	Failed
	System
	Ended
)

// Error is what calf refused, in a sentence.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

func check(code C.int, err *C.struct_calf_error) error {
	if code == C.CALF_OK {
		return nil
	}
	return &Error{Code(code), C.GoString(&err.text[0])}
}

// Durability is what a crash of the process or of the machine can lose.
type Durability int

const (
	Durable Durability = iota
	Relaxed
	None
)

// Mode is how a database is closed.
type Mode int

const (
	Fast Mode = iota
	Smart
	Immediate
)

// Options are calf.h's; leave out what you do not care for.
type Options struct {
	Durability    Durability
	Settings      []string // "name=value"
	LogFile       string
	Encoding      string
	Locale        string
	NoChecksums   bool
	Superuser     string
	ICULocale     string
	Log           func(line string) // instead of LogFile; must not call calf
	Linger        time.Duration
	ExtensionPath string   // "dir:dir"
	Listen        []string // addresses as for DB.Listen
}

// text is s for C, nil for "".
func text(s string) *C.char {
	if s == "" {
		return nil
	}
	return C.CString(s)
}

// list is a NULL-terminated array for C, to be given to freeList.
func list(texts []string) **C.char {
	array := (**C.char)(C.calloc(C.size_t(len(texts)+1), C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	for i, s := range texts {
		unsafe.Slice(array, len(texts))[i] = C.CString(s)
	}
	return array
}

func freeList(array **C.char, n int) {
	for _, s := range unsafe.Slice(array, n) {
		C.free(unsafe.Pointer(s))
	}
	C.free(unsafe.Pointer(array))
}

// calfLog is what calf calls; context points to a cgo.Handle of the function.
//
//export calfLog
func calfLog(context unsafe.Pointer, line *C.char) {
	(*(*cgo.Handle)(context)).Value().(func(string))(C.GoString(line))
}

// DB is an open data directory.  Any goroutine may use it; Close gives it back.
type DB struct{ handle *C.calf_db }

// Open opens the data directory path, created when absent; "" is a temporary database.
func Open(path string, options *Options) (*DB, error) {
	var err C.struct_calf_error
	var db DB
	if options == nil {
		options = &Options{}
	}
	o := (*C.struct_calf_options)(C.calloc(1, C.sizeof_struct_calf_options))
	defer C.free(unsafe.Pointer(o))
	o.size = C.sizeof_struct_calf_options
	o.durability = C.enum_calf_durability(options.Durability)
	o.linger_ms = C.int(options.Linger.Milliseconds())
	if options.NoChecksums {
		o.no_checksums = 1
	}
	name := text(path)
	defer C.free(unsafe.Pointer(name))
	for to, s := range map[**C.char]string{
		&o.log_file: options.LogFile, &o.encoding: options.Encoding, &o.locale: options.Locale,
		&o.superuser: options.Superuser, &o.icu_locale: options.ICULocale, &o.extension_path: options.ExtensionPath,
	} {
		*to = text(s)
		defer C.free(unsafe.Pointer(*to))
	}
	o.settings, o.listen = list(options.Settings), list(options.Listen)
	defer freeList(o.settings, len(options.Settings))
	defer freeList(o.listen, len(options.Listen))
	if options.Log != nil { // it stays: others of the process may share the database when this one is closed
		o.log = (*[0]byte)(C.calfLog)
		o.log_context = C.malloc(C.size_t(unsafe.Sizeof(cgo.Handle(0))))
		*(*cgo.Handle)(o.log_context) = cgo.NewHandle(options.Log)
	}
	if e := check(C.calf_open(name, o, &db.handle, &err), &err); e != nil {
		return nil, e
	}
	return &db, nil
}

// Close gives the handle back.  Called once more meanwhile, by another goroutine, it hurries the first.
func (db *DB) Close(mode Mode) error {
	var err C.struct_calf_error
	return check(C.calf_close(db.handle, C.enum_calf_close_mode(mode), &err), &err)
}

// Healthy says whether the database accepts sessions.
func (db *DB) Healthy() bool { return C.calf_healthy(db.handle) == 1 }

// DSN is for connections of libpq in this process; "" when closed.
func (db *DB) DSN() string { return C.GoString(C.calf_dsn(db.handle)) }

var listeners sync.Mutex // calf_uri's result is only good until the next of those who hold this

// URI is for other processes and drivers, of the address that was listened on last; else "".
func (db *DB) URI() string {
	listeners.Lock()
	defer listeners.Unlock()
	return C.GoString(C.calf_uri(db.handle))
}

// Directory is the absolute path; "" when closed.
func (db *DB) Directory() string { return C.GoString(C.calf_directory(db.handle)) }

// Listen lets other processes, and drivers that speak the protocol themselves, in: URI is for them.
// The address is a directory, "tcp:PORT", "tcp:ADDRESS:PORT" or "fd:N" (a socket that listens).
func (db *DB) Listen(address string) error {
	var err C.struct_calf_error
	name := C.CString(address)
	defer C.free(unsafe.Pointer(name))
	listeners.Lock()
	defer listeners.Unlock()
	return check(C.calf_listen(db.handle, name, &err), &err)
}

// Unlisten is the opposite; "" is all addresses.
func (db *DB) Unlisten(address string) error {
	var err C.struct_calf_error
	name := text(address)
	defer C.free(unsafe.Pointer(name))
	listeners.Lock()
	defer listeners.Unlock()
	return check(C.calf_unlisten(db.handle, name, &err), &err)
}

// Run runs one of PostgreSQL's programs and returns its exit code.
func (db *DB) Run(argv []string, stdin, stdout, stderr *os.File) (int, error) {
	return run(db.handle, argv, stdin, stdout, stderr)
}

// Run runs one of PostgreSQL's programs without a database (pg_controldata ...) and returns its exit code.
func Run(argv []string, stdin, stdout, stderr *os.File) (int, error) {
	return run(nil, argv, stdin, stdout, stderr)
}

func run(handle *C.calf_db, argv []string, stdin, stdout, stderr *os.File) (int, error) {
	var err C.struct_calf_error
	var code C.int
	args := list(argv)
	defer freeList(args, len(argv))
	fds := [3]C.int{C.int(stdin.Fd()), C.int(stdout.Fd()), C.int(stderr.Fd())}
	e := check(C.calf_run(handle, args, &fds[0], &code, &err), &err)
	return int(code), e
}

// Signal gives a signal to all programs that Run runs on the database just now.
func (db *DB) Signal(sig syscall.Signal) error {
	var err C.struct_calf_error
	return check(C.calf_run_signal(db.handle, C.int(sig), &err), &err)
}

// Signal gives a signal to all programs that run without a database just now.
func Signal(sig syscall.Signal) error {
	var err C.struct_calf_error
	return check(C.calf_run_signal(nil, C.int(sig), &err), &err)
}

// Snapshot copies the open database, while sessions go on.
func (db *DB) Snapshot(path string) error {
	var err C.struct_calf_error
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return check(C.calf_snapshot(db.handle, name, &err), &err)
}

// Clone copies a closed data directory.
func Clone(from, to string) error {
	var err C.struct_calf_error
	source, target := C.CString(from), C.CString(to)
	defer C.free(unsafe.Pointer(source))
	defer C.free(unsafe.Pointer(target))
	return check(C.calf_clone(source, target, &err), &err)
}

// State is what Look finds a data directory in.
type State int

const (
	Absent State = iota
	Closed
	Crashed
	Opened
)

// Status is what Look saw.  What follows State is of an Opened directory; zero is unknown, or nowhere.
type Status struct {
	State          State
	PID            int
	Stock          bool // a stock PostgreSQL server has it open
	Since          time.Time
	URI, SocketURI string
}

// Look says who has a data directory open, this process or another; nothing is changed.
func Look(path string) (Status, error) {
	var err C.struct_calf_error
	var s C.struct_calf_status
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if e := check(C.calf_look(name, &s, &err), &err); e != nil {
		return Status{}, e
	}
	status := Status{State: State(s.state), PID: int(s.pid), Stock: s.stock != 0,
		URI: C.GoString(&s.uri[0]), SocketURI: C.GoString(&s.socket_uri[0])}
	if s.since != 0 {
		status.Since = time.Unix(int64(s.since), 0)
	}
	return status, nil
}

// DataDir is the directory for an application's own data, not created; qualifier and organisation may be "".
func DataDir(qualifier, organisation, application string) (string, error) {
	var err C.struct_calf_error
	var buf [4096]C.char
	qualified, org, app := text(qualifier), text(organisation), C.CString(application)
	defer C.free(unsafe.Pointer(qualified))
	defer C.free(unsafe.Pointer(org))
	defer C.free(unsafe.Pointer(app))
	e := check(C.calf_data_dir(qualified, org, app, &buf[0], C.size_t(len(buf)), &err), &err)
	return C.GoString(&buf[0]), e
}

// Features are the optional parts that were built into PostgreSQL: "icu", "openssl" ...
func Features() (names []string) {
	for at := C.calf_features(); *at != nil; at = (**C.char)(unsafe.Add(unsafe.Pointer(at), unsafe.Sizeof(*at))) {
		names = append(names, C.GoString(*at))
	}
	return
}

// Wire is a session of which you get the bytes, of PostgreSQL's protocol; one goroutine at a time.
type Wire struct{ handle *C.calf_wire }

// Wire begins such a session.
func (db *DB) Wire() (*Wire, error) {
	var err C.struct_calf_error
	var w Wire
	if e := check(C.calf_wire_open(db.handle, &w.handle, &err), &err); e != nil {
		return nil, e
	}
	return &w, nil
}

// Exchange sends from in and receives into out, and says how many bytes of each, as soon as anything
// moved or timeout is over; a negative one never is.
func (w *Wire) Exchange(in, out []byte, timeout time.Duration) (sent, received int, e error) {
	var err C.struct_calf_error
	n, m, ms := C.size_t(len(in)), C.size_t(len(out)), C.int(-1)
	if timeout >= 0 {
		ms = C.int(timeout.Milliseconds())
	}
	if n == 0 {
		in = []byte{0} // so that there is an address
	}
	if m == 0 {
		out = []byte{0}
	}
	e = check(C.calf_wire_exchange(w.handle, unsafe.Pointer(&in[0]), &n, unsafe.Pointer(&out[0]), &m, ms, &err), &err)
	return int(n), int(m), e
}

// Close ends the session.
func (w *Wire) Close() error {
	var err C.struct_calf_error
	return check(C.calf_wire_close(w.handle, &err), &err)
}

// Version is calf's and PostgreSQL's.
func Version() string { return C.GoString(C.calf_version()) }

// Conn is a session, by libpq.  One goroutine at a time may use it.
type Conn struct{ conn *C.PGconn }

// QueryError is what PostgreSQL refused; SQLState is "" when the connection failed.
type QueryError struct{ SQLState, Text string }

func (e *QueryError) Error() string { return e.Text }

// Connect begins a session.
func (db *DB) Connect() (*Conn, error) {
	dsn := C.CString(db.DSN())
	defer C.free(unsafe.Pointer(dsn))
	c := &Conn{C.PQconnectdb(dsn)}
	if C.PQstatus(c.conn) != C.CONNECTION_OK {
		defer c.Close()
		return nil, &QueryError{"", C.GoString(C.PQerrorMessage(c.conn))}
	}
	return c, nil
}

// Close ends the session.
func (c *Conn) Close() {
	C.PQfinish(c.conn)
	c.conn = nil
}

// Exec runs one statement, with args for $1 and so on; the values are text, nil is NULL.
func (c *Conn) Exec(sql string, args ...string) ([][]*string, error) {
	query, values := C.CString(sql), list(args)
	defer C.free(unsafe.Pointer(query))
	defer freeList(values, len(args))
	res := C.PQexecParams(c.conn, query, C.int(len(args)), nil, values, nil, nil, 0)
	defer C.PQclear(res)
	switch C.PQresultStatus(res) {
	case C.PGRES_TUPLES_OK, C.PGRES_COMMAND_OK:
	default:
		return nil, &QueryError{C.GoString(C.PQresultErrorField(res, 'C')), C.GoString(C.PQerrorMessage(c.conn))}
	}
	rows := make([][]*string, C.PQntuples(res))
	for i := range rows {
		rows[i] = make([]*string, C.PQnfields(res))
		for j := range rows[i] {
			if C.PQgetisnull(res, C.int(i), C.int(j)) == 0 {
				value := C.GoString(C.PQgetvalue(res, C.int(i), C.int(j)))
				rows[i][j] = &value
			}
		}
	}
	return rows, nil
}
