package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/token"
)

// The scripts in testdata/script run the program as a person does, one subject each. Beside the
// commands of testscript they have those below.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts(func(*testscript.Env) {}, "testdata/script/*.txtar"))
}

// The scripts on PostgreSQL are those in testdata/postgres, which are about it, and those of
// testdata/script whose subject is what a command finds and changes in the database: pages,
// conditions, what ends with what, the order of lines. The others are about files, arguments and
// settings, and would find the same as on SQLite.
func TestScriptsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts(func(e *testscript.Env) {
		e.Setenv("LICENSE_DATABASE_URL", postgrestest.Empty(e.T().(testing.TB)))
		e.Setenv("LICENSE_KEY", zeroKey)
	}, "testdata/postgres/*", "testdata/script/account*", "testdata/script/a[dpu]*", "testdata/script/key*",
		"testdata/script/machine*", "testdata/script/policy.*", "testdata/script/revoke*", "testdata/script/token*"))
}

func scripts(setup func(*testscript.Env), patterns ...string) testscript.Params {
	var files []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.FromSlash(p))
		if err != nil || len(found) == 0 {
			panic("no script is called " + p)
		}
		files = append(files, found...)
	}
	return testscript.Params{
		Files: files, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			name, value, _ := strings.Cut(quickExit, "=")
			e.Setenv(name, value)
			e.Values[serviceOfScript] = new(*running)
			setup(e)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "start": startService, "quit": quitService, "api": callAPI, "get": getMember, "members": wantMembers,
			"perm": wantPerm, "folder": wantFolder, "lifetime": wantLife, "alter": alterDatabase, "spoil": spoilFile,
		},
	}
}

const serviceOfScript = "service"

// usage fails when a script uses a command wrongly.
func usage(ts *testscript.TestScript, right bool, text string) {
	if !right {
		ts.Fatalf("usage: %s", text)
	}
}

// exits STATUS PROGRAM ARGUMENT…: the program ends with that very status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "exits STATUS PROGRAM ARGUMENT…")
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit = %d, want %s", got, args[0])
	}
}

// start ARGUMENT…: serve runs and listens at $ADDR.
func startService(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "start ARGUMENT…")
	path, err := exec.LookPath(program)
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve"}, args...)...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), []string{quickExit}
	for _, name := range knownSettings() {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	r, err := start(cmd)
	ts.Check(err)
	ts.Defer(r.kill)
	ts.Setenv("ADDR", r.addr)
	*ts.Value(serviceOfScript).(**running) = r
}

// quit SIGNAL: the service ends with status 0, and its log is in the file log.
func quitService(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt}
	usage(ts, !neg && len(args) == 1 && signals[args[0]] != nil, "quit TERM|INT")
	r := *ts.Value(serviceOfScript).(**running)
	exit, log, err := r.stop(signals[args[0]])
	ts.Check(err)
	if exit != exitOK {
		ts.Fatalf("exit after SIG%s = %d, want 0; log:\n%s", args[0], exit, log)
	}
	ts.Check(os.WriteFile(ts.MkAbs("log"), []byte(log), 0o600))
}

// api STATUS[:CODE] METHOD PATH [FILE]: the running service answers with that status to the bearer
// token in the file; the body is in the file answer.
func callAPI(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 3 || len(args) == 4), "api STATUS[:CODE] METHOD PATH [FILE]")
	bearer := ""
	if len(args) == 4 {
		bearer = strings.TrimSpace(ts.ReadFile(args[3]))
	}
	r := *ts.Value(serviceOfScript).(**running)
	status, body, err := r.call(context.Background(), args[1], args[2], bearer)
	ts.Check(err)
	// what a command changes holds for a running server within a second: it is asked until then
	want, code, _ := strings.Cut(args[0], ":")
	differs := func() bool {
		return strconv.Itoa(status) != want || !strings.Contains(body, `"code":"`+code)
	}
	if code == "" {
		differs = func() bool { return strconv.Itoa(status) != want }
	}
	for end := time.Now().Add(time.Second); differs() && time.Now().Before(end); {
		status, body, err = r.call(context.Background(), args[1], args[2], bearer)
		ts.Check(err)
	}
	if differs() {
		ts.Fatalf("%s %s = %d %s, want %s", args[1], args[2], status, body, args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs("answer"), []byte(body), 0o600))
}

// get FILE PATH NAME: $NAME is the value at the path of a JSON document; the file NAME holds it
// too.
func getMember(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "get FILE PATH NAME")
	v, err := member(ts.ReadFile(args[0]), args[1])
	ts.Check(err)
	ts.Setenv(args[2], v)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(v+"\n"), 0o600))
}

// members FILE NAME…: the JSON object, or each of a list or page of objects, has exactly these
// members.
func wantMembers(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "members FILE NAME…")
	var list []map[string]any
	if text := ts.ReadFile(args[0]); strings.HasPrefix(text, "[") {
		ts.Check(json.Unmarshal([]byte(text), &list))
	} else {
		list = make([]map[string]any, 1)
		ts.Check(json.Unmarshal([]byte(text), &list[0]))
		if _, ok := list[0]["items"]; ok { // a page
			var page struct {
				Items []map[string]any `json:"items"`
				Next  string           `json:"next_cursor"`
			}
			ts.Check(strictly(text, &page))
			list = page.Items
		}
	}
	want := slices.Sorted(slices.Values(args[1:]))
	for _, object := range list {
		if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, want) {
			ts.Fatalf("members of %s = %q, want %q", args[0], got, want)
		}
	}
}

// strictly reads a JSON document that has no other members than v.
func strictly(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// perm MODE FILE: the permissions of a file.
func wantPerm(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "perm MODE FILE")
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s = %s, want %s", args[1], got, args[0])
	}
}

// folder DIR NAME…: the folder holds exactly these files.
func wantFolder(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "folder DIR NAME…")
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := slices.Sorted(slices.Values(args[1:])); !slices.Equal(got, want) {
		ts.Fatalf("%s holds %q, want %q", args[0], got, want)
	}
}

// lifetime FILE DURATION: how long the license token in the file lives, from its iat to its exp.
func wantLife(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "lifetime FILE DURATION")
	want, err := time.ParseDuration(args[1])
	ts.Check(err)
	claims, err := token.Decode(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	if got := claims.Lifetime(); got != want {
		ts.Fatalf("lifetime of the token = %s, want %s", got, want)
	}
}

// spoil FILE FROM TO: noise stands in the place of these bytes.
func spoilFile(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "spoil FILE FROM TO")
	from, err := strconv.Atoi(args[1])
	ts.Check(err)
	to, err := strconv.Atoi(args[2])
	ts.Check(err)
	noise := make([]byte, to-from)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt(noise, int64(from))
	ts.Check(errors.Join(err, f.Close()))
}

// alter DATABASE SQL: what a script cannot bring about: the passing of time, a newer version. On
// PostgreSQL it is the one database that there is.
func alterDatabase(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "alter DATABASE SQL")
	driver, name := "sqlite", ts.MkAbs(args[0])
	if url := ts.Getenv("LICENSE_DATABASE_URL"); store.IsPostgres(url) {
		driver, name = "pgx", url
	}
	db, err := sql.Open(driver, name)
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(errors.Join(err, db.Close()))
}
