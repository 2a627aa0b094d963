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
*/
import "C"

import (
	"os"
	"sync"
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
	Durability  Durability
	Settings    []string // "name=value"
	LogFile     string
	Encoding    string
	Locale      string
	NoChecksums bool
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

// DB is an open data directory.  Any goroutine may use it; Close gives it back.
type DB struct{ handle *C.calf_db }

// Open opens the data directory path, created when absent; "" is a temporary database.
func Open(path string, options *Options) (*DB, error) {
	var err C.struct_calf_error
	var db DB
	if options == nil {
		options = &Options{}
	}
	name, settings := text(path), list(options.Settings)
	defer C.free(unsafe.Pointer(name))
	defer freeList(settings, len(options.Settings))
	o := (*C.struct_calf_options)(C.calloc(1, C.sizeof_struct_calf_options))
	o.size = C.sizeof_struct_calf_options
	o.durability = C.enum_calf_durability(options.Durability)
	o.settings = settings
	o.log_file, o.encoding, o.locale = text(options.LogFile), text(options.Encoding), text(options.Locale)
	if options.NoChecksums {
		o.no_checksums = 1
	}
	defer func() {
		C.free(unsafe.Pointer(o.log_file))
		C.free(unsafe.Pointer(o.encoding))
		C.free(unsafe.Pointer(o.locale))
		C.free(unsafe.Pointer(o))
	}()
	if e := check(C.calf_open(name, o, &db.handle, &err), &err); e != nil {
		return nil, e
	}
	return &db, nil
}

// Close gives the handle back.
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
	var err C.struct_calf_error
	var code C.int
	args := list(argv)
	defer freeList(args, len(argv))
	fds := [3]C.int{C.int(stdin.Fd()), C.int(stdout.Fd()), C.int(stderr.Fd())}
	e := check(C.calf_run(db.handle, args, &fds[0], &code, &err), &err)
	return int(code), e
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
