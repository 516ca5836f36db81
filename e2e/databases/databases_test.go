//go:build e2e

package databases_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// The tests of PostgreSQL, each on each server: those whose names begin so.
func TestEveryServerThatIsPromised(t *testing.T) {
	t.Parallel()
	debian := start(t, "")
	pooler, err := debian.Pool(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, pooler.Stop()) })
	packages := []string{"../../service/store", "../../service"}
	programs := compile(t, packages)
	const simple = "&default_query_exec_mode=simple_protocol"
	for name, flags := range map[string][]string{
		"PostgreSQL 14":              {"-postgres", start(t, "postgres-14").URL("postgres")},
		"PostgreSQL 18":              {"-postgres", start(t, "postgres-18").URL("postgres")},
		"PgBouncer":                  {"-postgres", pooler.URL("postgres"), "-postgres-pooled"},
		"PgBouncer, simple protocol": {"-postgres", pooler.URL("postgres") + simple, "-postgres-pooled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, program := range programs {
				cmd := exec.CommandContext(t.Context(), program, "-test.run", "^TestPostgres", "-test.timeout", "8m")
				cmd.Args = append(cmd.Args, flags...)
				cmd.Dir = packages[i]
				out, err := cmd.CombinedOutput()
				if err != nil || bytes.Contains(out, []byte("no tests to run")) {
					t.Errorf("%s: %v\n%s", packages[i], err, out)
				}
			}
		})
	}
}

// compile makes the test programs of packages.
func compile(t *testing.T, packages []string) (programs []string) {
	t.Helper()
	dir := t.TempDir()
	for _, p := range packages {
		program := filepath.Join(dir, filepath.Base(p)+".test")
		out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, p).CombinedOutput()
		if err != nil {
			t.Fatalf("compile the tests of %s: %v\n%s", p, err, out)
		}
		programs = append(programs, program)
	}
	return programs
}

// start starts a server of a package of e2e/postgres; without a name Debian's.
func start(t *testing.T, name string) *postgrestest.Server {
	t.Helper()
	var o postgrestest.Options
	if name != "" {
		o.Bin = readable(t, filepath.Join("..", "postgres", "node_modules", name, "native"))
	}
	s, err := postgrestest.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop(context.Background())) })
	return s
}

// readable is the folder bin of an installation, at a place where the user of the server can read
// it: the folder of this repository may be closed to others.
func readable(t *testing.T, native string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pageflare-postgres-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	must(t, os.CopyFS(dir, os.DirFS(native)))
	return filepath.Join(dir, "bin")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
